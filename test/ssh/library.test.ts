import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { HYBRID, serverOffer } from '../../src/ssh/key-exchange.ts'
import { type Insides, SSH2_VERSION, ssh2Library } from '../../src/ssh/library.ts'
import { login, testDoor, userKey } from './support.ts'

test('the library, is the one version whose insides are known', () => {
  const manifest = createRequire(import.meta.url)('../../package.json') as { dependencies: Record<string, string> }
  assert.equal(ssh2Library().version, SSH2_VERSION)
  assert.equal(manifest.dependencies.ssh2, SSH2_VERSION, 'ssh2 is pinned exactly: its private fields are used (src/ssh/library.ts)')
})

test('private parts of the library, are where src/ssh/library.ts says', async () => {
  const { IncomingClient, KexInit, Client } = ssh2Library()
  assert.equal(typeof IncomingClient, 'function')
  assert.equal(typeof KexInit, 'function')
  const offer = serverOffer(true).common
  assert.deepEqual(offer.lists.kex.array.includes(HYBRID), false)
  assert.ok((offer.lists as unknown as { all: Buffer }).all.includes(HYBRID), 'what is sent names the hybrid exchange')
  const at = testDoor()
  const key = userKey()
  at.identity.allow(key)
  const client = (await login(at.dial(), { key })) as InstanceType<typeof Client> & Insides
  const { _protocol: protocol } = client
  for (const name of ['_offer', '_kex', '_handlers', '_authsQueue', '_packetRW', '_cipher'] as const)
    assert.ok(protocol[name] !== undefined, `protocol.${name} is gone`)
  assert.equal(protocol._kex?.type, '25519')
  assert.match(protocol._kex?.negotiated.kex ?? '', /^curve25519-sha256/)
  assert.ok(Buffer.isBuffer(protocol._kex?.sessionID))
  for (const name of ['computeSecret', 'convertPublicKey', 'getPublicKey'] as const) assert.equal(typeof protocol._kex?.[name], 'function')
  for (const name of ['CHANNEL_OPEN_CONFIRMATION', 'CHANNEL_DATA', 'CHANNEL_WINDOW_ADJUST', 'CHANNEL_OPEN'])
    assert.equal(typeof protocol._handlers[name], 'function', name)
  const { write } = protocol._packetRW
  assert.deepEqual([typeof write.allocStart, typeof write.alloc, typeof write.finalize], ['number', 'function', 'function'])
  assert.equal(typeof client._chanMgr.get, 'function')
  assert.equal(typeof client._chanMgr._count, 'number')
  for (const name of ['parse', 'disconnect', 'rekey', 'channelOpenFail', 'cleanup'] as const) assert.equal(typeof protocol[name], 'function', name)
  client.end()
  await once(client, 'close')
  at.door.close()
})

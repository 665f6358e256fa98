import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { connect, createNode, serve } from '../../src/index.ts'
import { hasCode } from '../transport/support.ts'

let folder = ''
const kept = { state: process.env.XDG_STATE_HOME, temporary: process.env.TMPDIR }
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kith-duplex-'))
  process.env.XDG_STATE_HOME = join(folder, 'state')
  process.env.TMPDIR = folder
})
after(async () => {
  for (const [name, value] of [
    ['XDG_STATE_HOME', kept.state],
    ['TMPDIR', kept.temporary],
  ] as const) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  await rm(folder, { recursive: true, force: true })
})

const listen = ['tcp://127.0.0.1:0']

test('connect and serve: a ticket, then the DID and the name; each stream plain, each peer proved; half-close both ways', async () => {
  await using server = await serve({ home: join(folder, 'server'), name: 'desk', listen }, async (stream, { peer }) => {
    const asked = await text(stream)
    stream.end(`${peer} asked ${asked}`)
  })
  const client = await createNode({ home: join(folder, 'client'), listen })
  try {
    for (const target of [await server.invite(), server.did, 'desk']) {
      const stream = await connect(target, { node: client })
      assert.equal(stream.peer, server.did)
      stream.end(target)
      assert.equal(await text(stream), `${client.did} asked ${target}`)
    }
    const [{ did } = { did: '' }] = client.peers.list()
    assert.equal(did, server.did)
    // A ticket that is spent names a peer that is known: no second pairing.
    const again = await connect(await server.invite(), { node: client })
    again.end()
    await text(again)
    await assert.rejects(connect('nobody', { node: client }), hasCode('PEER_UNKNOWN'))
    await assert.rejects(text(await connect(server.did, { node: client, protocol: 'other/1' })), hasCode('PROTOCOL_UNKNOWN'))
    await assert.rejects(connect(server.did, { node: client, home: folder }), TypeError)
    await assert.rejects(connect('kith1nonsense', { node: client }), hasCode('INVITE_INVALID'))
    await assert.rejects(connect(server.did, { node: client, signal: AbortSignal.abort(new Error('no')) }), /no/)
    await server.close()
    await assert.rejects(connect(server.did, { node: client, signal: AbortSignal.timeout(5_000) }))
  } finally {
    await client.close()
  }
})

test('an identity for one connection, gone with it, also when the connection fails', async (t) => {
  const before = await readdir(folder)
  const server = await serve({ listen }, (stream) => void stream.end('once'))
  t.after(() => server.close())
  const stream = await connect(await server.invite())
  stream.end()
  assert.equal(await text(stream), 'once')
  if (!stream.closed) await once(stream, 'close')
  await assert.rejects(connect(server.did), hasCode('PEER_UNREACHABLE'))
  await server.close()
  await server.close()
  // Its node closes behind the stream.
  while ((await readdir(folder)).length > before.length) await new Promise(setImmediate)
})

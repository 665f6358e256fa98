import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import type { Announcement, Discovery } from '../../src/mesh/discovery.ts'
import { Presence } from '../../src/mesh/presence.ts'
import type { Listener } from '../../src/transport/types.ts'
import { testDevice, testIdentity } from './fixtures.ts'

test('presence, the machine gets another address, is announced anew and told to those who are linked', async () => {
  const clock = manualClock()
  const device = testDevice(testIdentity('alice'), 'alice')
  const announced: (readonly string[])[] = []
  const discovery: Discovery = {
    name: 'test',
    onPeer: () => {},
    start: async ({ urls }: Announcement) => void announced.push(urls),
    announce: async ({ urls }: Announcement) => void announced.push(urls),
    stop: async () => {},
  }
  let interfaces = ['127.0.0.1', '192.0.2.1']
  let moves = 0
  const presence = new Presence({
    clock,
    logger: silentLogger,
    discoveries: [discovery],
    interfaces: () => interfaces,
    self: () => ({ did: device.did, linkKey: device.linkSigner.publicKey, name: 'alice' }),
    onFound: () => {},
    onMoved: () => {
      moves++
    },
  })
  await presence.listening({ addresses: ['tcp://0.0.0.0:4433'], close: async () => {} } as unknown as Listener, 'tcp://0.0.0.0:4433')
  await presence.start()
  await clock.run(60_000)
  assert.deepEqual([announced, moves], [[['tcp://192.0.2.1:4433']], 0], 'nothing is said while nothing changes')
  interfaces = ['192.0.2.1', '127.0.0.1']
  await clock.run(60_000)
  assert.equal(moves, 0, 'the order is no change')
  interfaces = ['127.0.0.1', '198.51.100.7']
  await clock.run(15_000)
  assert.deepEqual([announced.slice(1), moves], [[['tcp://198.51.100.7:4433']], 1])
  await presence.stop()
  assert.equal(clock.pending, 0)
})

test('presence, an address that holds a token, is told to nobody on the network', async () => {
  const device = testDevice(testIdentity('alice'), 'alice')
  const announced: (readonly string[])[] = []
  const said = async ({ urls }: Announcement): Promise<void> => void announced.push(urls)
  const presence = new Presence({
    clock: manualClock(),
    logger: silentLogger,
    discoveries: [{ name: 'test', onPeer: () => {}, start: said, announce: said, stop: async () => {} }],
    interfaces: () => ['192.0.2.1'],
    self: () => ({ did: device.did, linkKey: device.linkSigner.publicKey, name: 'alice' }),
    onFound: () => {},
    onMoved: () => {},
  })
  const addresses = ['wss://0.0.0.0:443/token', 'tls://0.0.0.0:443']
  await presence.listening({ addresses, close: async () => {} } as unknown as Listener, 'wss://0.0.0.0:443')
  await presence.start()
  assert.deepEqual(announced, [['tls://192.0.2.1:443']])
  assert.deepEqual(presence.addresses, ['wss://192.0.2.1:443/token', 'tls://192.0.2.1:443'])
  await presence.stop()
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { base58Encode } from '../../src/core/base58.ts'
import { publicKeyOfSeed, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import { formatDid } from '../../src/identity/did.ts'
import { createLaboratory, line, type Machine, noLaboratory, until } from '../shows/laboratory.ts'
import { startAvahi } from '../support/avahi.ts'

/** The real daemon and the real avahi on one network, and two daemons that find each other again. */
const AVAHI_TOOLS = [
  '/usr/sbin/avahi-daemon',
  '/usr/bin/avahi-browse',
  '/usr/bin/avahi-publish-service',
  '/usr/bin/dbus-daemon',
  '/usr/bin/unshare',
  '/usr/bin/python3',
]
/** Prints the port of each datagram or connection that comes. */
const LISTEN = `
import socket, sys, select
sockets = []
for port in map(int, sys.argv[1:]):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        s = socket.socket(socket.AF_INET, kind); s.bind(('0.0.0.0', port))
        if kind == socket.SOCK_STREAM: s.listen()
        sockets.append(s)
print('ready', flush=True)
while True:
    for s in select.select(sockets, [], [])[0]:
        s.recv(2048) if s.type == socket.SOCK_DGRAM else s.accept()[0].close()
        print(s.getsockname()[1], flush=True)
`

interface Found {
  readonly did: string | null
  readonly addresses: readonly string[]
}
const peersOf = async (machine: Machine): Promise<readonly Found[]> => (await machine.kith<{ peers: Found[] }>(['network', 'peers'])).peers
const anyKey = () => publicKeyOfSeed(randomSeed(systemRandom))
const stranger = (): string => formatDid(anyKey())

test('daemon and avahi on one network, each lists the other; only peers of the address book are dialled', {
  skip: await noLaboratory(...AVAHI_TOOLS),
  timeout: 90_000,
}, async (t) => {
  const laboratory = await createLaboratory(t)
  const { folder } = laboratory
  const printer = await laboratory.machine('printer')
  const desk = await laboratory.machine('desk')
  await startAvahi(folder, (command, args) => printer.spawn(command, args))
  const knocks: string[] = []
  const ears = printer.spawn('python3', ['-c', LISTEN, '4400', '4401'])
  await line(ears, (text) => text === 'ready')
  ears.stdout?.on('data', (text: Buffer) => knocks.push(...text.toString().split('\n')))

  const [unknown, friend] = [stranger(), stranger()]
  const node = await desk.up()
  await desk.kith(['peers', 'add', friend, 'quic://192.0.2.99:1', '--name', 'friend'])
  const services = [
    printer.spawn('avahi-publish-service', ['Unknown node', '_icn._udp', '4400', 'version=0.1.0', `did=${unknown}`]),
    printer.spawn('avahi-publish-service', ['Friend', '_icn._udp', '4401', 'version=0.1.0', `did=${friend}`, `key=${base58Encode(anyKey())}`]),
  ]
  const found = await until(
    () => peersOf(desk),
    (peers) => [unknown, friend].every((did) => peers.some((peer) => peer.did === did)),
    200,
  )
  assert.deepEqual(found.find(({ did }) => did === unknown)?.addresses, ['quic://192.0.2.1:4400'])
  assert.ok(!found.some(({ did }) => did === node.did), 'its own record is not a peer')
  await until(
    async () => knocks,
    (all) => all.includes('4401'),
    50,
  )
  assert.ok(!knocks.includes('4400'), 'a stranger that was found is not dialled')

  const browse = (): Promise<string> => printer.exec('avahi-browse', '-rtp', '_icn._udp')
  const listed = await until(browse, (text) => text.includes(node.did))
  const entry = listed.split('\n').find((text) => text.startsWith('=') && text.includes(node.did))
  assert.match(entry ?? '', /^=;eth0;IPv4;kith-[0-9a-f]{16};_icn\._udp;local;kith-[0-9a-f]{16}\.local;192\.0\.2\.2;4433;/)
  assert.ok(entry?.includes('"name=desk"') && entry.includes('"u0='))

  services[0]?.kill()
  await until(
    () => peersOf(desk),
    (peers) => !peers.some(({ did }) => did === unknown),
    200,
  )
  await desk.kith(['down'])
  await until(browse, (text) => !text.includes(node.did))
})

interface Peer {
  readonly state: string
  readonly path: { readonly address: string } | null
}

test('paired machines, one of which gets another address while both run, find each other again', {
  skip: await noLaboratory(),
  timeout: 90_000,
}, async (t) => {
  const laboratory = await createLaboratory(t)
  const desk = await laboratory.machine('desk')
  const laptop = await laboratory.machine('laptop')
  await desk.up()
  await laptop.up()
  const { ticket } = await desk.kith<{ ticket: string }>(['invite'])
  await laptop.kith(['join', '-'], ticket)
  const linkedAt = (machine: Machine, wanted: (peer: Peer) => boolean): Promise<readonly Peer[]> =>
    until(
      async () => (await machine.kith<{ peers: Peer[] }>(['status'])).peers,
      (peers) => peers.some((peer) => peer.state === 'connected' && wanted(peer)),
      200,
    )
  await linkedAt(desk, () => true)
  await laptop.move('192.0.2.77')
  await until(
    () => peersOf(desk),
    (peers) => peers.some(({ addresses }) => addresses.some((url) => url.includes('192.0.2.77'))),
    500,
  )
  await linkedAt(desk, ({ path }) => path?.address.includes('192.0.2.77') === true)
  await linkedAt(laptop, ({ path }) => path?.address.includes('192.0.2.1') === true)
  assert.equal((await desk.kith<{ rtt_ms: number[] }>(['ping', 'laptop', '-n', '2'])).rtt_ms.length, 2)
})

test('paired machines, both with other addresses at their next start, find each other again', { skip: await noLaboratory(), timeout: 90_000 }, async (t) => {
  const laboratory = await createLaboratory(t)
  const desk = await laboratory.machine('desk')
  const laptop = await laboratory.machine('laptop')
  await desk.up()
  await laptop.up()
  const { ticket } = await desk.kith<{ ticket: string }>(['invite'])
  await laptop.kith(['join', '-'], ticket)
  for (const [machine, address] of [
    [desk, '192.0.2.61'],
    [laptop, '192.0.2.62'],
  ] as const) {
    await machine.kith(['down'])
    await machine.move(address)
  }
  await desk.up()
  await laptop.up()
  const { peers } = await until(
    () => desk.kith<{ peers: Peer[] }>(['status']),
    (status) => status.peers.some(({ state }) => state === 'connected'),
    200,
  )
  assert.match(peers.find(({ state }) => state === 'connected')?.path?.address ?? '', /192\.0\.2\.62/)
})

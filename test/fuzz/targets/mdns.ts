import assert from 'node:assert/strict'
import type { RemoteInfo } from 'node:dgram'
import { utf8 } from '../../../src/core/bytes.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { seededRandom } from '../../../src/core/random.ts'
import type { FoundPeer } from '../../../src/mesh/discovery.ts'
import { Browser } from '../../../src/mesh/mdns/browser.ts'
import { ownRecords } from '../../../src/mesh/mdns/records.ts'
import { Responder } from '../../../src/mesh/mdns/responder.ts'
import type { Port } from '../../../src/mesh/mdns/sockets.ts'
import { decodeMessage, encodeQuery, encodeResponse, type Message } from '../../../src/mesh/mdns/wire.ts'
import { NOW, testDevice, testIdentity } from '../../mesh/fixtures.ts'
import { joinMessages, parseMessages } from '../conversation.ts'
import type { FuzzTarget } from '../mutate.ts'

const SERVICE = '_icn._udp.local'
const MDNS_PORT = 5353
const me = testDevice(testIdentity('ann'), 'ann')
const other = testDevice(testIdentity('bob'), 'bob')
const announcementOf = (device: typeof me, url: string) => ({ did: device.did, linkKey: device.linkSigner.publicKey, name: device.name, urls: [url] })
const own = ownRecords(SERVICE, 'kith-ann', announcementOf(me, 'tcp://192.0.2.1:4433'), true, 20_000, '192.0.2.1')
const theirs = ownRecords(SERVICE, 'kith-bob', announcementOf(other, 'tcp://192.0.2.2:4433'), true, 20_000, '192.0.2.2')
const rotating = ownRecords(SERVICE, 'kith-x', announcementOf(other, 'quic://192.0.2.2:4433'), false, 20_000, '192.0.2.2')
assert.ok(own !== undefined && theirs !== undefined && rotating !== undefined)

const announced = encodeResponse([theirs.ptr, theirs.srv, theirs.txt, ...theirs.addresses], [])
const conflicting = encodeResponse([{ ...own.srv, data: { priority: 0, weight: 0, port: 1, target: 'else.local' } }], [])
const gone = encodeResponse([{ ...theirs.ptr, ttl: 0 }], [])
const foreign = encodeResponse([theirs.ptr], [theirs.srv, { ...theirs.txt, data: [Buffer.from('version=1')] }, ...theirs.addresses])
/** Names that cannot be written again: bytes that are no text, empty labels. */
const unwritable = (byte: number): Buffer =>
  Buffer.from(encodeResponse([{ ...theirs.ptr, data: `${'#'.repeat(60)}.${SERVICE}` }], []).map((at) => (at === 0x23 ? byte : at)))
const query = encodeQuery([{ name: SERVICE, type: 'PTR' }], [theirs.ptr])
const probe = encodeQuery(
  [
    { name: own.instance, type: 'ANY' },
    { name: own.host, type: 'ANY' },
  ],
  [],
  [own.srv],
)

/** Packets of the network, then time: nothing heard does harm, what is told is well formed, and what we send is a packet. */
const packets: FuzzTarget = {
  name: 'mdns',
  seeds: [
    joinMessages(announced, query),
    joinMessages(announced, gone),
    joinMessages(conflicting, probe),
    joinMessages(foreign),
    joinMessages(unwritable(0xff), unwritable(0x2e)),
    joinMessages(encodeResponse([rotating.ptr, rotating.srv, rotating.txt], [])),
  ],
  codes: [],
  tokens: [
    utf8(`\x04_icn\x04_udp\x05local\0`),
    Uint8Array.of(0xc0, 12),
    Uint8Array.of(0xc0, 0),
    utf8('did=did:icn:z'),
    utf8('u0=tcp://'),
    Uint8Array.of(0, 33, 0x80, 1),
    Uint8Array.of(0, 16, 0, 1),
    Uint8Array.of(63),
  ],
  async run(input) {
    const clock = manualClock(NOW)
    const sent: Buffer[] = []
    const port: Port = { address: '192.0.2.1', send: (packet) => sent.push(packet), answer: (packet) => sent.push(packet) }
    const ports = (): readonly Port[] => [port]
    const found: FoundPeer[] = []
    const records = (_port: Port, suffix: string) =>
      ownRecords(SERVICE, `kith-ann${suffix}`, announcementOf(me, 'tcp://192.0.2.1:4433'), true, 20_000, '192.0.2.1')
    const responder = new Responder({ clock, random: seededRandom('mdns'), multicastPort: MDNS_PORT, ports, records })
    const browser = new Browser({
      service: SERVICE,
      clock,
      ports,
      owns: (instance) => responder.owns(instance),
      recognise: () => other.did,
      onPeer: (peer) => found.push(peer),
    })
    responder.restart()
    browser.start()
    clock.advance(3_000)
    const heard = parseMessages(input, 16).map((packet) => decodeMessage(Buffer.from(packet)))
    for (const [index, message] of heard.entries()) {
      if (message !== undefined) hear(message, { address: '192.0.2.9', family: 'IPv4', port: index % 2 === 0 ? MDNS_PORT : 40_000, size: 0 })
      clock.advance(400)
    }
    assert.ok(browser.size <= 32, 'one source fills the table')
    clock.advance(12_000)
    for (const peer of found) assertWellFormed(peer)
    for (const packet of sent) assert.ok(decodeMessage(packet) !== undefined, `not a packet: ${packet.toString('hex')}`)
    assert.ok(sent.length < 200, 'a few packets make many')
    responder.stop()
    browser.stop()
    assert.equal(clock.pending, 0, 'timers are left behind')
    return `${heard.filter((message) => message !== undefined).length} ${found.filter((peer) => peer.gone !== true).length} ${found.length}`

    function hear(message: Message, from: RemoteInfo): void {
      if (!message.response) {
        responder.onQuery(message, from, port)
        return
      }
      responder.onResponse(message, port)
      browser.onResponse(message, from.address)
    }
  },
  iterations: 6_000,
}

function assertWellFormed(peer: FoundPeer): void {
  assert.ok(peer.urls.length >= 1 && peer.urls.length <= 8)
  for (const url of peer.urls) assert.match(url, /^[\x21-\x7e]{1,120}$/)
  assert.ok(peer.name === undefined || !/[\p{Cc}\p{Zl}]/u.test(peer.name))
  assert.ok(peer.linkKey === undefined || peer.linkKey.length === 32)
}

export const mdnsTargets: readonly FuzzTarget[] = [packets]

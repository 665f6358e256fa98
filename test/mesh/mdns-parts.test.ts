import assert from 'node:assert/strict'
import type { RemoteInfo } from 'node:dgram'
import { test } from 'node:test'
import type { DnsRecord } from 'dns-packet'
import fc from 'fast-check'
import type { Clock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { FoundPeer } from '../../src/mesh/discovery.ts'
import { Browser } from '../../src/mesh/mdns/browser.ts'
import { describe, type OwnRecords, ownRecords, parseText } from '../../src/mesh/mdns/records.ts'
import { Responder } from '../../src/mesh/mdns/responder.ts'
import { DAY_MS, Recogniser, rotatingId } from '../../src/mesh/mdns/rotating.ts'
import type { Port } from '../../src/mesh/mdns/sockets.ts'
import { decodeMessage, encodeQuery, encodeResponse, type Message } from '../../src/mesh/mdns/wire.ts'
import { identity } from './mdns-support.ts'

const SERVICE = '_icn._udp.local'
const FROM: RemoteInfo = { address: '192.0.2.9', family: 'IPv4', port: 5353, size: 0 }

/** Time that the test moves. */
class TestClock implements Clock {
  time = 1_000_000
  #timers: { at: number; run: () => void }[] = []
  now(): number {
    return this.time
  }
  monotonic(): number {
    return this.time
  }
  after(ms: number, run: () => void): { cancel(): void } {
    const timer = { at: this.time + ms, run }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }
  forward(ms: number): void {
    const end = this.time + ms
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((other) => other !== next)
      this.time = next.at
      next.run()
    }
    this.time = end
  }
}

interface Wire {
  readonly port: Port
  readonly sent: Message[]
  readonly answered: { readonly message: Message; readonly to: RemoteInfo }[]
}

function wire(): Wire {
  const sent: Message[] = []
  const answered: { message: Message; to: RemoteInfo }[] = []
  const read = (packet: Buffer): Message => decodeMessage(packet) as Message
  return {
    sent,
    answered,
    port: { address: '192.0.2.1', send: (packet) => sent.push(read(packet)), answer: (packet, to) => answered.push({ message: read(packet), to }) },
  }
}

function records(instance: string, url: string, ttl: number = 120): DnsRecord[] {
  return [
    { name: SERVICE, type: 'PTR', ttl, data: `${instance}.${SERVICE}` },
    { name: `${instance}.${SERVICE}`, type: 'SRV', ttl, data: { port: 4433, target: `${instance}.local` } },
    { name: `${instance}.${SERVICE}`, type: 'TXT', ttl, data: [Buffer.from('version=1'), Buffer.from(`u0=${url}`)] },
  ]
}

const response = (answers: DnsRecord[]): Message => decodeMessage(encodeResponse(answers, [])) as Message

function browser(owns: (instance: string) => boolean = () => false): { clock: TestClock; net: Wire; found: FoundPeer[]; browser: Browser } {
  const clock = new TestClock()
  const net = wire()
  const found: FoundPeer[] = []
  const made = new Browser({ service: SERVICE, clock, ports: () => [net.port], owns, recognise: () => undefined, onPeer: (peer) => found.push(peer) })
  made.start()
  return { clock, net, found, browser: made }
}

test('mdns packets: random bytes, and honest packets with damaged bytes, are refused or decoded, never thrown at', () => {
  const honest = encodeResponse(records('a', 'tcp://192.0.2.7:1'), [])
  const table = browser()
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), fc.array(fc.tuple(fc.nat(honest.length - 1), fc.nat(255)), { maxLength: 6 })), (input) => {
      const packet = Buffer.from(input instanceof Uint8Array ? input : honest)
      if (!(input instanceof Uint8Array)) for (const [at, byte] of input) packet[at] = byte
      const message = decodeMessage(packet)
      if (message !== undefined) table.browser.onResponse(message, '192.0.2.9')
    }),
    { numRuns: 3_000 },
  )
  assert.ok(table.browser.size <= 32)
})

test('mdns browser: an announcement that names hosts of ours, in whatever name, tells of nobody', () => {
  const { browser: table, found } = browser()
  const heard = (url: string, source: string): void => {
    const message = decodeMessage(encodeResponse(records('a', url), []))
    assert.ok(message !== undefined)
    table.onResponse(message, source)
  }
  for (const url of ['tcp://127.0.0.1:22', 'tcp://printer.lan:80', 'tcp://169.254.169.254:80']) heard(url, '192.0.2.9')
  assert.deepEqual(found, [])
  heard('tcp://192.0.2.7:1', '192.0.2.9')
  assert.deepEqual(
    found.map(({ urls }) => urls),
    [['tcp://192.0.2.7:1']],
  )
})

test('mdns packets: counts and sizes beyond what an honest responder sends are refused before decoding', () => {
  const packet = encodeQuery([{ name: SERVICE, type: 'PTR' }])
  assert.ok(decodeMessage(packet) !== undefined)
  for (const at of [4, 6, 8, 10]) {
    const many = Buffer.from(packet)
    many.writeUInt16BE(0xffff, at)
    assert.equal(decodeMessage(many), undefined)
  }
  assert.equal(decodeMessage(Buffer.alloc(9_001)), undefined)
  assert.equal(decodeMessage(packet.subarray(0, 11)), undefined)
  const opcode = Buffer.from(packet)
  opcode[2] = 0x28
  assert.equal(decodeMessage(opcode), undefined)
})

test('mdns table: one source holds at most 32 peers, all together at most 1,000', () => {
  const { browser: table } = browser()
  for (let i = 0; i < 100; i++) table.onResponse(response(records(`one${i}`, 'tcp://192.0.2.7:1')), '192.0.2.7')
  assert.equal(table.size, 32)
  for (let i = 0; i < 2_000; i++) table.onResponse(response(records(`many${i}`, 'tcp://192.0.2.7:1')), `10.0.${i >> 8}.${i & 255}`)
  assert.equal(table.size, 1_000)
})

test('mdns table: a peer leaves when its time to live is over, unless it answers again', () => {
  const { clock, net, found, browser: table } = browser()
  const heard = response(records('a', 'tcp://192.0.2.7:1'))
  table.onResponse(heard, '192.0.2.7')
  assert.deepEqual(found, [{ urls: ['tcp://192.0.2.7:1'] }])
  table.onResponse(heard, '192.0.2.7')
  assert.equal(found.length, 1)
  net.sent.length = 0
  clock.forward(110_000)
  assert.ok(net.sent.some((message) => message.questions.some(({ type, name }) => type === 'SRV' && name === `a.${SERVICE}`)))
  table.onResponse(heard, '192.0.2.7')
  clock.forward(110_000)
  assert.equal(table.size, 1)
  clock.forward(20_000)
  assert.equal(table.size, 0)
  assert.deepEqual(found.at(-1), { urls: ['tcp://192.0.2.7:1'], gone: true })
})

/** As responders that know of no URLs announce a service. */
function plain(instance: string, port: number, withAddress: boolean): DnsRecord[] {
  const name = `${instance}.${SERVICE}`
  return [
    { name: SERVICE, type: 'PTR', ttl: 120, data: name },
    { name, type: 'SRV', ttl: 120, data: { port, target: 'host.local' } },
    { name, type: 'TXT', ttl: 120, data: [Buffer.from('version=0.1.0')] },
    ...(withAddress ? [{ name: 'host.local', type: 'A', ttl: 120, data: '192.0.2.7' } as DnsRecord] : []),
  ]
}

test('mdns table: the second service of a host that has said its address already, is found too', () => {
  const { found, browser: table } = browser()
  table.onResponse(response(plain('a', 4400, true)), '192.0.2.7')
  table.onResponse(response(plain('b', 4401, false)), '192.0.2.7')
  assert.deepEqual(
    found.map(({ urls }) => urls),
    [['quic://192.0.2.7:4400'], ['quic://192.0.2.7:4401']],
  )
})

test('mdns table: an address that was left out, is asked for again until it comes, five times at most', () => {
  const { clock, net, found, browser: table } = browser()
  table.onResponse(response(plain('a', 4400, false)), '192.0.2.7')
  assert.equal(found.length, 0)
  const asked = (): number => net.sent.filter(({ questions }) => questions.some(({ type, name }) => type === 'A' && name === 'host.local')).length
  clock.forward(60_000)
  assert.equal(asked(), 5)
  table.onResponse(response([{ name: 'host.local', type: 'A', ttl: 120, data: '192.0.2.7' } as DnsRecord]), '192.0.2.7')
  assert.deepEqual(found.at(-1)?.urls, ['quic://192.0.2.7:4400'])
})

test('mdns table: a goodbye removes the peer, a stranger’s goodbye removes nobody', () => {
  const { found, browser: table } = browser()
  table.onResponse(response(records('a', 'tcp://192.0.2.7:1')), '192.0.2.7')
  table.onResponse(response(records('b', 'tcp://192.0.2.7:1', 0)), '192.0.2.7')
  assert.equal(table.size, 1)
  table.onResponse(response(records('A', 'tcp://192.0.2.7:1', 0)), '192.0.2.7')
  assert.equal(table.size, 0)
  assert.equal(found.at(-1)?.gone, true)
})

test('mdns table: own records and those of other services are ignored', () => {
  const { browser: table } = browser((instance) => instance === `me.${SERVICE}`)
  table.onResponse(response(records('me', 'tcp://192.0.2.7:1')), '192.0.2.7')
  table.onResponse(response([{ name: '_http._tcp.local', type: 'PTR', ttl: 120, data: 'x._http._tcp.local' }]), '192.0.2.7')
  table.onResponse(response([{ name: 'x._http._tcp.local', type: 'TXT', ttl: 120, data: [Buffer.from('u0=tcp://192.0.2.7:1')] }]), '192.0.2.7')
  assert.equal(table.size, 0)
})

test('mdns packets: a name without a wire form is left out, so that nobody makes us send malformed packets', () => {
  const packet = encodeResponse(records('#'.repeat(60), 'tcp://192.0.2.7:1'), [])
  for (const [what, byte] of [
    ['no text', 0xff],
    ['empty labels', 0x2e],
  ] as const) {
    const { clock, net, browser: table } = browser()
    const heard = decodeMessage(packet.map((at) => (at === 0x23 ? byte : at)) as Buffer) as Message
    table.onResponse(heard, '192.0.2.7')
    clock.forward(10_000)
    assert.equal(table.size, 0, what)
    assert.ok(
      net.sent.every((message) => message !== undefined && message.questions.length > 0),
      what,
    )
  }
  const root = decodeMessage(encodeQuery([{ name: '', type: 'ANY' }])) as Message
  assert.equal(root.questions.length, 0)
})

test('mdns records: what a stranger says is cleaned or left out', () => {
  const text = parseText(
    [
      'version=1',
      'did=did:icn:zbad',
      'key=notakey',
      'name=\u001b]0;x\u0007a\u202eb',
      'u0=tcp://192.0.2.7:1',
      'u1=javascript:alert(1)',
      'u2=tcp://192.0.2.7:1\u0000',
      'u0=tcp://192.0.2.8:1',
      '=x',
      'flag',
    ].map((entry) => Buffer.from(entry)),
  )
  assert.ok(text !== undefined)
  assert.deepEqual(
    describe(text, { port: 1, target: 'x.local' }, [], () => undefined),
    { urls: ['tcp://192.0.2.7:1'], name: ']0;xab' },
  )
  assert.deepEqual(
    describe(new Map(), { port: 4433, target: 'x.local' }, ['192.0.2.7', 'fe80::1', '2001:db8::1'], () => undefined),
    { urls: ['quic://192.0.2.7:4433', 'quic://[2001:db8::1]:4433'] },
  )
  assert.equal(parseText('text'), undefined)
})

test('mdns records: loopback addresses are announced on loopback alone', () => {
  const announcement = { ...identity('a', 4_433), urls: ['quic://127.0.0.1:4433', 'tcp://192.0.2.1:4434'] }
  const away = ownRecords(SERVICE, 'kith-x', announcement, true, 0, '192.0.2.1') as OwnRecords
  assert.deepEqual(parseText(away.txt.data)?.get('u0'), 'tcp://192.0.2.1:4434')
  assert.equal(parseText(away.txt.data)?.get('u1'), undefined)
  assert.equal(ownRecords(SERVICE, 'kith-x', { ...announcement, urls: ['quic://127.0.0.1:4433'] }, true, 0, '192.0.2.1'), undefined)
})

test('mdns rotating id: known only to those who know the DID, for the day and a day around it', () => {
  const [a, b] = [identity('a', 1).did, identity('b', 1).did]
  const clock = new TestClock()
  clock.time = 20_000 * DAY_MS + 5
  const recogniser = new Recogniser(clock, () => [a])
  assert.match(rotatingId(a, 20_000), /^[0-9a-f]{16}$/)
  for (const day of [19_999, 20_000, 20_001]) assert.equal(recogniser.match(rotatingId(a, day)), a)
  assert.equal(recogniser.match(rotatingId(a, 19_998)), undefined)
  assert.equal(recogniser.match(rotatingId(b, 20_000)), undefined)
  clock.time += DAY_MS
  assert.equal(recogniser.match(rotatingId(a, 20_002)), a)
})

function responder(): { clock: TestClock; net: Wire; responder: Responder; instance: () => string } {
  const clock = new TestClock()
  const net = wire()
  const announcement = { ...identity('a', 4_433), urls: ['quic://192.0.2.1:4433'] }
  let instance = ''
  const made = new Responder({
    clock,
    random: systemRandom,
    multicastPort: 5353,
    ports: () => [net.port],
    records: (port, suffix) => {
      const own = ownRecords(SERVICE, `kith-x${suffix}`, announcement, true, 0, port.address)
      instance = own?.instance ?? ''
      return own
    },
  })
  made.restart()
  return { clock, net, responder: made, instance: () => instance }
}

const query = (known: DnsRecord[] = []): Message => decodeMessage(encodeQuery([{ name: SERVICE, type: 'PTR' }], known)) as Message

test('mdns responder: three probes with its claim, then two announcements, and a goodbye', () => {
  const { clock, net, responder: made } = responder()
  clock.forward(5_000)
  assert.deepEqual(
    net.sent.map(({ response: is, authorities }) => [is, authorities.length > 0]),
    [
      [false, true],
      [false, true],
      [false, true],
      [true, false],
      [true, false],
    ],
  )
  made.goodbye()
  assert.ok(net.sent.at(-1)?.answers.every(({ ttl }) => ttl === 0))
})

test('mdns responder: one answer a second whatever is asked, none to those who know it', () => {
  const { clock, net, responder: made, instance } = responder()
  clock.forward(5_000)
  net.sent.length = 0
  for (let i = 0; i < 100; i++) made.onQuery(query(), FROM, net.port)
  clock.forward(500)
  assert.equal(net.sent.length, 1)
  assert.deepEqual(
    net.sent[0]?.answers.map(({ type }) => type),
    ['PTR'],
  )
  assert.deepEqual(
    net.sent[0]?.additionals.map(({ type }) => type),
    ['SRV', 'TXT', 'A'],
  )
  for (let i = 0; i < 100; i++) made.onQuery(query(), FROM, net.port)
  clock.forward(400)
  assert.equal(net.sent.length, 1)
  clock.forward(1_000)
  assert.equal(net.sent.length, 2)
  made.onQuery(query([{ name: SERVICE, type: 'PTR', ttl: 4_000, data: instance() }]), FROM, net.port)
  clock.forward(5_000)
  assert.equal(net.sent.length, 2)
})

test('mdns responder: an ordinary resolver gets its answer back, at a bounded rate', () => {
  const { clock, net, responder: made } = responder()
  clock.forward(5_000)
  for (let i = 0; i < 100; i++) made.onQuery(query(), { ...FROM, port: 40_000 }, net.port)
  assert.equal(net.answered.length, 20)
  assert.equal(net.answered[0]?.to.port, 40_000)
  assert.ok(net.answered[0]?.message.answers.every(({ ttl }) => (ttl ?? 0) <= 10))
})

test('mdns responder: somebody else under its name, it takes another one, slowly when that goes on', () => {
  const { clock, net, responder: made, instance } = responder()
  clock.forward(5_000)
  const theirs = (): Message => response([{ name: instance(), type: 'SRV', ttl: 120, data: { port: 1, target: 'other.local' } }])
  made.onResponse(theirs(), net.port)
  clock.forward(5_000)
  assert.equal(instance(), `kith-x-2.${SERVICE}`)
  for (let i = 0; i < 30; i++) made.onResponse(theirs(), net.port)
  net.sent.length = 0
  clock.forward(4_000)
  assert.equal(net.sent.length, 0)
  clock.forward(10_000)
  assert.ok(net.sent.length > 0)
})

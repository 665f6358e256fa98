import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compare, type PublicKey } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { codeOfNumber, isKithError, KithError } from '../../src/core/errors.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { type ControlMessage, ControlReader, encodeControl } from '../../src/mesh/link-control.ts'
import { DRAIN_MS, type LinkFacts, type Member, PONG_MS } from '../../src/mesh/link-member.ts'
import { LinkTable } from '../../src/mesh/link-table.ts'
import type { LinkEvent } from '../../src/mesh/types.ts'
import type { CloseInfo, Connection, LinkStream, Path } from '../../src/transport/types.ts'
import { testIdentity } from './fixtures.ts'

const KEYS = ['ann', 'ben', 'cem'].map((name) => didPublicKey(testIdentity(name).chain.did)).sort(compare) as [PublicKey, PublicKey, PublicKey]
const [SMALL, MIDDLE, LARGE] = KEYS
const DID = testIdentity('ben').chain.did
const nothing = (): void => undefined

/** A connection that does what the test says. */
class FakeConnection implements Connection {
  readonly role = 'dialer'
  readonly localKey = MIDDLE
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum = false
  streamCount = 0
  readonly bytesIn = 0
  readonly bytesOut = 0
  onStream: (stream: LinkStream) => void = nothing
  answers = true
  closedWith: string | undefined
  readonly closed: Promise<CloseInfo>
  #end: (info: CloseInfo) => void = nothing

  constructor(remoteKey: PublicKey, scheme: string, direct: boolean) {
    this.remoteKey = remoteKey
    this.path = { scheme, address: `${scheme}://x`, direct }
    this.closed = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  open(): Promise<LinkStream> {
    return Promise.reject(new KithError('UNSUPPORTED'))
  }
  ping({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    if (this.answers) return Promise.resolve(5)
    return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }))
  }
  drain(): void {}
  async close(number = 0): Promise<void> {
    this.closedWith ??= number === 0 ? 'clean' : codeOfNumber(number)
    this.#end({ error: number === 0 ? null : new KithError(codeOfNumber(number)), remote: false })
  }
  lose(): void {
    this.#end({ error: new KithError('LINK_LOST'), remote: false })
  }
}

/** The peer's end of a control stream. */
class FakeControl {
  readonly sent: ControlMessage[] = []
  readonly #reader = new ControlReader()
  readonly stream: LinkStream

  constructor(connection: Connection) {
    const reader = this.#reader
    const { sent } = this
    this.stream = {
      id: 1,
      inbound: false,
      connection,
      write(data) {
        reader.push(data, (message) => sent.push(message))
        return true
      },
      end: nothing,
      reset: nothing,
      stop: nothing,
      consume: nothing,
      onData: nothing,
      onEnd: nothing,
      onError: nothing,
      onDrain: nothing,
      onClose: nothing,
      toDuplex() {
        throw new TypeError('not here')
      },
    }
  }

  say(message: ControlMessage): void {
    const bytes = Buffer.from(encodeControl(message))
    this.stream.onData(bytes, 0, bytes.length)
  }

  get types(): string[] {
    return this.sent.map(({ type }) => type)
  }
}

interface Added {
  readonly member: Member
  readonly connection: FakeConnection
  readonly control: FakeControl
  readonly facts: LinkFacts
}

class Bench {
  readonly clock: ManualClock = manualClock()
  readonly events: LinkEvent[] = []
  prefer: readonly string[] = ['tcp', 'quic']
  readonly table: LinkTable
  #count = 0

  constructor() {
    this.table = new LinkTable({
      localKey: MIDDLE,
      clock: this.clock,
      prefer: () => this.prefer,
      onEvent: (event) => this.events.push(event),
      onStream: nothing,
      onMalformed: nothing,
      onAddresses: nothing,
    })
  }

  add(options: { key?: PublicKey; scheme?: string; direct?: boolean; boot?: number; run?: number } = {}): Added {
    const { key = LARGE, scheme = 'tcp', direct = true, boot = 1, run = 1 } = options
    const connection = new FakeConnection(key, scheme, direct)
    const hash = new Uint8Array(32).fill(++this.#count)
    const facts: LinkFacts = {
      role: 'dialer',
      did: DID,
      linkKey: key,
      helloHash: hash,
      connectionId: hash.slice(0, 8),
      remoteBoot: boot,
      remoteRun: new Uint8Array(8).fill(run),
      clockOffsetMs: 0,
      chainStale: false,
      postQuantum: { exchange: false, signatures: false },
    }
    const member = this.table.add(facts, connection)
    const control = new FakeControl(connection)
    member.attachControl(control.stream)
    connection.streamCount = 1
    return { member, connection, control, facts }
  }

  run(ms = 0): Promise<void> {
    return this.clock.run(ms)
  }
}

test('leader with one connection, selects it on its control stream', async () => {
  const bench = new Bench()
  const { control, facts, member } = bench.add()
  assert.deepEqual(control.sent, [{ type: 'select', id: facts.connectionId }])
  assert.equal(bench.table.pick(DID), member)
  await bench.run()
  assert.equal(member.rttMs, 5)
})

test('leader with a better path, moves there and drains the other; with an equal one keeps the older', async () => {
  const bench = new Bench()
  const quic = bench.add({ scheme: 'quic' })
  const equal = bench.add({ scheme: 'quic' })
  await bench.run()
  assert.deepEqual(quic.control.types, ['select'])
  assert.deepEqual(equal.control.types, ['retire'])
  const tcp = bench.add({ scheme: 'tcp' })
  await bench.run()
  assert.deepEqual(tcp.control.types, ['select'])
  assert.deepEqual(quic.control.types, ['select', 'retire'])
  assert.equal(bench.table.pick(DID), tcp.member)
  const relayed = bench.add({ scheme: 'tcp', direct: false })
  await bench.run()
  assert.deepEqual(relayed.control.types, ['retire'])
  assert.deepEqual(
    bench.events.map((event) => (event.type === 'up' || event.type === 'moved' ? `${event.type} ${event.path.scheme}` : event.type)),
    ['up quic', 'moved tcp'],
  )
})

test('leader whose selected connection is gone, selects another', async () => {
  const bench = new Bench()
  const first = bench.add()
  await bench.run()
  first.connection.answers = false
  const second = bench.add()
  first.connection.lose()
  await bench.run()
  assert.deepEqual(second.control.types, ['select'])
  assert.equal(bench.table.pick(DID), second.member)
  assert.equal(bench.events.length, 1)
})

test('follower, uses the newest until it hears a choice, hints, and ignores a SELECT for what it does not have', async () => {
  const bench = new Bench()
  const first = bench.add({ key: SMALL })
  const second = bench.add({ key: SMALL })
  assert.equal(bench.table.pick(DID), second.member)
  assert.deepEqual(first.control.types, [])
  assert.deepEqual(second.control.types, ['prefer'])
  second.control.say({ type: 'select', id: new Uint8Array(8).fill(99) })
  assert.equal(bench.table.pick(DID), second.member)
  first.control.say({ type: 'select', id: first.facts.connectionId })
  assert.equal(bench.table.pick(DID), first.member)
  assert.deepEqual(second.control.types, ['prefer', 'retire'])
  // Not taken back: a connection that retired has said how much it opened.
  second.control.say({ type: 'select', id: second.facts.connectionId })
  assert.equal(bench.table.pick(DID), first.member)
})

test('a follower’s SELECT, is ignored by the leader', async () => {
  const bench = new Bench()
  const first = bench.add()
  const second = bench.add()
  second.control.say({ type: 'select', id: second.facts.connectionId })
  await bench.run()
  assert.equal(bench.table.pick(DID), first.member)
})

test('a drained connection, is closed by the leader once both sides are empty', async () => {
  const bench = new Bench()
  bench.add()
  const other = bench.add()
  await bench.run()
  other.connection.streamCount = 2
  other.control.say({ type: 'retire', opened: 3 })
  other.member.accepted = 2
  await bench.run(1_000)
  assert.deepEqual(other.control.types, ['retire'])
  other.member.accepted = 3
  await bench.run(1_000)
  assert.deepEqual(other.control.types, ['retire'])
  other.connection.streamCount = 1
  await bench.run(2_000)
  assert.deepEqual(other.control.types, ['retire', 'empty'])
  assert.equal(other.connection.closedWith, undefined)
  other.control.say({ type: 'empty' })
  assert.equal(other.connection.closedWith, 'clean')
})

test('a drained connection whose peer promises streams that never come, ends in LINK_MOVED after a minute', async () => {
  const bench = new Bench()
  bench.add()
  const other = bench.add()
  await bench.run()
  other.control.say({ type: 'retire', opened: 0xffff_ffff })
  other.control.say({ type: 'empty' })
  await bench.run(DRAIN_MS - 1)
  assert.equal(other.connection.closedWith, undefined)
  await bench.run(1)
  assert.equal(other.connection.closedWith, 'LINK_MOVED')
})

test('a newcomer while the selected one is silent, is chosen after a second, and the silent one closed after fifteen', async () => {
  const bench = new Bench()
  const first = bench.add()
  await bench.run(10)
  first.connection.answers = false
  const second = bench.add()
  await bench.run(999)
  assert.equal(bench.table.pick(DID), first.member)
  assert.deepEqual(second.control.types, [])
  await bench.run(1)
  assert.equal(bench.table.pick(DID), second.member)
  assert.deepEqual(second.control.types, ['select'])
  await bench.run(PONG_MS)
  assert.equal(first.connection.closedWith, 'LINK_LOST')
  assert.equal(second.connection.closedWith, undefined)
})

test('a fifth connection of a pair, is refused as DUPLICATE and the four stay', () => {
  const bench = new Bench()
  const four = Array.from({ length: 4 }, () => bench.add())
  assert.throws(
    () => bench.add(),
    (error) => isKithError(error, 'DUPLICATE'),
  )
  assert.ok(four.every(({ connection }) => connection.closedWith === undefined))
  // Another machine of the same peer is another pair.
  bench.add({ key: SMALL })
  assert.equal(bench.table.linked, 2)
})

test('a higher boot, closes all lower ones; a lower boot or another run of the same is a clone', () => {
  const bench = new Bench()
  const old = [bench.add({ boot: 3 }), bench.add({ boot: 3 })]
  const fresh = bench.add({ boot: 4 })
  assert.deepEqual(
    old.map(({ connection }) => connection.closedWith),
    ['LINK_LOST', 'LINK_LOST'],
  )
  assert.equal(bench.table.pick(DID), fresh.member)
  assert.throws(
    () => bench.add({ boot: 3 }),
    (error) => isKithError(error, 'DEVICE_CLONED'),
  )
  assert.throws(
    () => bench.add({ boot: 4, run: 2 }),
    (error) => isKithError(error, 'DEVICE_CLONED'),
  )
  assert.equal(fresh.connection.closedWith, undefined)
})

test('open for a peer with two machines, takes the one last used, else the quicker one', async () => {
  const bench = new Bench()
  const [slow, quick] = [bench.add({ key: LARGE }), bench.add({ key: SMALL })]
  await bench.run()
  slow.member.rttMs = 50
  assert.equal(bench.table.pick(DID), quick.member)
  bench.table.used(slow.member)
  assert.equal(bench.table.pick(DID), slow.member)
  slow.connection.lose()
  await bench.run()
  assert.equal(bench.table.pick(DID), quick.member)
  assert.deepEqual(
    bench.events.map(({ type }) => type),
    ['up', 'up', 'down'],
  )
})

test('a stream that failed on a connection, makes it drain when it goes away and suspect when it was lost', async () => {
  const bench = new Bench()
  const first = bench.add({ key: SMALL })
  await bench.run()
  bench.table.failed(first.member, new KithError('GOING_AWAY'))
  assert.equal(first.member.state, 'retiring')
  assert.equal(bench.table.pick(DID), undefined)
  const second = bench.add({ key: SMALL })
  await bench.run()
  bench.table.failed(second.member, new KithError('LINK_LOST'))
  assert.equal(bench.table.pick(DID), undefined)
  // It answers, so it is used again.
  await bench.run()
  assert.equal(bench.table.pick(DID), second.member)
})

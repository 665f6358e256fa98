import assert from 'node:assert/strict'
import fc from 'fast-check'
import { utf8 } from '../../../src/core/bytes.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import type { KithError } from '../../../src/core/errors.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import type { BytePipe } from '../../../src/core/pipe.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { multiplex } from '../../../src/transport/mux/connection.ts'
import * as wire from '../../../src/transport/mux/frames.ts'
import type { Connection, LinkStream } from '../../../src/transport/types.ts'
import { turns } from '../conversation.ts'
import type { FuzzTarget } from '../mutate.ts'

const KEY = createSigner('link', randomSeed(systemRandom)).publicKey
const PATH = { scheme: 'memory', address: 'memory://fuzz', direct: true }
const WINDOW = 256 * 1024
const MAX_STREAMS = 100
const STAGING = 65_536

/** The pipe under the multiplexer; what it writes is kept and checked. */
class FeedPipe implements BytePipe {
  blocked = false
  staging: Buffer = Buffer.alloc(STAGING)
  onData: (data: Buffer, start: number, end: number) => void = () => {}
  onFlush: () => void = () => {}
  onDrain: () => void = () => {}
  onClose: (error: KithError | null) => void = () => {}
  readonly out: Buffer[] = []
  over = false
  #at = 0
  #scheduled = false

  reserve(length: number): number {
    assert.ok(length >= 1 && length <= 64)
    if (this.#at + length > STAGING) this.#ship()
    this.#schedule()
    const at = this.#at
    this.#at += length
    return at
  }
  write(data: Uint8Array, start: number, end: number): void {
    assert.ok(start >= 0 && start <= end && end <= data.length)
    this.#ship()
    this.out.push(Buffer.from(data.subarray(start, end)))
    this.#schedule()
  }
  flush(): void {
    this.#scheduled = false
    if (this.over) return
    this.onFlush()
    this.#ship()
  }
  start(): void {}
  close(): void {
    this.flush()
    this.#end(null)
  }
  destroy(error: KithError): void {
    this.#end(error)
  }
  #end(error: KithError | null): void {
    if (this.over) return
    this.over = true
    queueMicrotask(() => this.onClose(error))
  }
  #ship(): void {
    if (this.#at > 0) this.out.push(Buffer.from(this.staging.subarray(0, this.#at)))
    this.#at = 0
  }
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    process.nextTick(() => this.#scheduled && this.flush())
  }
}

/** A stream's owner in one of many manners, who holds the stream to its promises. */
class Owner {
  over = 0
  readable = true
  #late: LinkStream | undefined

  constructor(stream: LinkStream, manner: number) {
    // The view takes the callbacks over: it is watched by its own events.
    if (manner === 6) {
      const duplex = stream.toDuplex()
      duplex.on('error', () => {})
      duplex.on('close', () => this.over++)
      duplex.pipe(duplex)
      return
    }
    stream.onEnd = () => {
      assert.ok(this.readable && this.over === 0, 'a second end')
      this.readable = false
      if (manner % 2 === 0) stream.end()
    }
    stream.onError = (_error, direction) => {
      assert.equal(this.over, 0, 'an error after the close')
      if (direction === 'both') this.readable = false
    }
    stream.onClose = () => {
      this.over++
      assert.equal(this.over, 1, 'closed twice')
    }
    if (manner === 7) {
      this.#late = stream
      return
    }
    stream.onData = (data, start, end) => {
      assert.ok(end > start && end <= data.length, 'a piece without bytes')
      assert.ok(this.readable && this.over === 0, 'bytes after the end')
      if (manner === 1) return
      if (manner === 2) stream.write(data, start, end)
      if (manner === 3) return this.#leave(() => stream.reset(413))
      if (manner === 4) return this.#leave(() => stream.stop(313))
      if (manner === 5) stream.end()
      stream.consume(end - start)
    }
  }

  /** Who never listened learns what happened once it does. */
  listen(): void {
    if (this.#late !== undefined) this.#late.onData = () => {}
  }

  #leave(act: () => void): void {
    this.readable = false
    act()
  }
}

/** Every frame we sent is one that the format knows, for streams that may exist, within the window that was granted. */
function checkSent(out: Buffer, own: number, granted: ReadonlyMap<number, number>): void {
  const sent = new Map<number, number>()
  let at = 0
  while (at < out.length) {
    assert.ok(out.length - at >= wire.HEADER_BYTES, 'half a header was sent')
    const [version, type] = [out[at], out[at + 1] as number]
    const flags = out.readUInt16BE(at + 2)
    const id = out.readUInt32BE(at + 4)
    const length = out.readUInt32BE(at + 8)
    at += wire.HEADER_BYTES
    assert.equal(version, 0)
    assert.ok(type <= wire.TYPE_GO_AWAY)
    if (type >= wire.TYPE_PING) assert.equal(id, 0)
    else assert.notEqual(id, 0)
    if ((flags & wire.FLAG_SYN) !== 0 && type <= wire.TYPE_WINDOW_UPDATE) assert.equal(id % 2, own)
    if (type !== wire.TYPE_DATA) continue
    const total = (sent.get(id) ?? 0) + length
    assert.ok(total <= WINDOW + (granted.get(id) ?? 0), 'more was sent than the peer granted')
    sent.set(id, total)
    at += length
  }
  assert.equal(at, out.length, 'a payload is shorter than its header says')
}

/** Credit that the input grants, whether or not a frame of it was reached: an upper bound. */
function grants(bytes: Uint8Array): Map<number, number> {
  const granted = new Map<number, number>()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at + wire.HEADER_BYTES <= bytes.length; at++) {
    if (bytes[at] !== 0 || bytes[at + 1] !== wire.TYPE_WINDOW_UPDATE) continue
    const id = view.getUint32(at + 4)
    granted.set(id, (granted.get(id) ?? 0) + view.getUint32(at + 8))
  }
  return granted
}

const ENDINGS: readonly string[] = ['MUX_PROTOCOL', 'MUX_LIMIT']

/** `u8 how | bytes of the peer`: how = bits 0-2 manner of the owners, 3 our role, 4 blocked pipe, 5-7 pieces. */
const mux: FuzzTarget = {
  name: 'mux',
  seeds: seeds(),
  codes: [],
  tokens: [0, 1, 2, 3, 4, 8, 16].map((flag) => Uint8Array.of(0, 0, 0, flag, 0, 0, 0, 1, 0, 0, 0, 1)),
  arbitrary: fc
    .tuple(
      fc.nat(255),
      fc.array(
        fc.tuple(
          fc.nat(4),
          fc.constantFrom(0, 1, 2, 3, 4, 8, 12, 16, 17, 255),
          fc.nat(7),
          fc.constantFrom(0, 1, 5, 300, 262_144, 262_145, 0xffff_ffff),
          fc.boolean(),
        ),
        { maxLength: 30 },
      ),
    )
    .map(([how, list]) => Buffer.concat([Uint8Array.of(how), ...list.map(([type, flags, id, length, full]) => header(type, flags, id, length, full))])),
  async run(input) {
    const how = input[0] ?? 0
    const bytes = Buffer.from(input.subarray(1))
    const clock = manualClock()
    const pipe = new FeedPipe()
    const role = (how & 8) === 0 ? 'listener' : 'dialer'
    const connection = multiplex(pipe, { role, localKey: KEY, remoteKey: KEY, path: PATH, postQuantum: false }, clock)
    let ended: { error: KithError | null; remote: boolean } | undefined
    void connection.closed.then((info) => {
      ended = info
    })
    const owners: Owner[] = []
    const own = async (): Promise<void> => {
      const stream = await connection.open()
      owners.push(new Owner(stream, owners.length % 6))
      stream.write(utf8('said'))
    }
    await own()
    await own()
    connection.onStream = (stream) => owners.push(new Owner(stream, (how + stream.id) & 7))
    pipe.blocked = (how & 16) !== 0
    const step = 1 + (how >> 5) ** 3
    for (let at = 0, piece = 0; at < bytes.length && !pipe.over; at += step, piece++) {
      pipe.onData(Buffer.from(bytes.subarray(at, at + step)), 0, Math.min(step, bytes.length - at))
      if (piece % 7 === 0) await turns(1)
      assert.ok(connection.streamCount <= MAX_STREAMS + 2)
    }
    await turns(2)
    if (pipe.blocked) {
      pipe.blocked = false
      pipe.onDrain()
    }
    clock.advance(1_500)
    await turns(1)
    const before = ended
    await finish(connection, clock)
    for (const owner of owners) owner.listen()
    await turns(2)
    checkSent(Buffer.concat(pipe.out), role === 'dialer' ? 1 : 0, grants(bytes))
    const error = before?.error
    if (error !== undefined && error !== null && !error.remote) assert.ok(ENDINGS.includes(error.code), error.stack)
    for (const owner of owners) assert.equal(owner.over, 1, 'a stream was not closed with its connection')
    assert.equal(connection.streamCount, 0)
    assert.equal(clock.pending, 0, 'timers are left behind')
    return before === undefined
      ? `open ${Math.min(5, owners.length)}`
      : `${error?.code ?? 'clean'} ${error?.remote === true ? 'told' : (error?.message.split(':')[1] ?? '')}`
  },
  iterations: 12_000,
}

async function finish(connection: Connection, clock: ReturnType<typeof manualClock>): Promise<void> {
  const closing = connection.close()
  clock.advance(1_500)
  await turns(2)
  await closing
}

function header(type: number, flags: number, id: number, length: number, full = true): Buffer {
  const bytes = Buffer.alloc(wire.HEADER_BYTES)
  wire.writeHeader(bytes, 0, type, flags, id, length)
  return type === wire.TYPE_DATA && full ? Buffer.concat([bytes, Buffer.alloc(Math.min(length, 400), 0x61)]) : bytes
}

function many(count: number, frames: (i: number) => Buffer[]): Uint8Array {
  return Buffer.concat([Uint8Array.of(0xe1), ...Array.from({ length: count }, (_, i) => frames(i)).flat()])
}

function seeds(): Uint8Array[] {
  const { FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_STOP, FLAG_SYN, TYPE_DATA, TYPE_GO_AWAY, TYPE_PING, TYPE_WINDOW_UPDATE } = wire
  const talk = [
    header(TYPE_DATA, FLAG_SYN, 1, 5),
    header(TYPE_WINDOW_UPDATE, FLAG_SYN, 3, 0),
    header(TYPE_DATA, 0, 3, 100),
    header(TYPE_PING, FLAG_SYN, 0, 7),
    header(TYPE_WINDOW_UPDATE, FLAG_ACK, 2, 1000),
    header(TYPE_DATA, 0, 2, 40),
    header(TYPE_WINDOW_UPDATE, FLAG_STOP, 4, 413),
    header(TYPE_WINDOW_UPDATE, FLAG_FIN, 3, 0),
    header(TYPE_WINDOW_UPDATE, FLAG_RST, 1, 500),
    header(TYPE_GO_AWAY, 0, 0, 0),
  ]
  return [
    ...Array.from({ length: 8 }, (_, manner) => Buffer.concat([Uint8Array.of(0xe0 + manner), ...talk])),
    Buffer.concat([Uint8Array.of(0xf0), ...talk, header(TYPE_GO_AWAY, FLAG_FIN, 0, 318)]),
    // Each without end: streams, resets, pings, frames without effect.
    many(101, (i) => [header(TYPE_WINDOW_UPDATE, FLAG_SYN, 1 + 2 * i, 0)]),
    many(402, (i) => [header(TYPE_WINDOW_UPDATE, FLAG_SYN, 1 + 2 * i, 0), header(TYPE_WINDOW_UPDATE, FLAG_RST, 1 + 2 * i, 0)]),
    many(1_002, (i) => [header(TYPE_PING, FLAG_SYN, 0, i)]),
    many(1_100, () => [header(TYPE_WINDOW_UPDATE, 0, 2, 0)]),
  ]
}

export const muxTargets: readonly FuzzTarget[] = [mux]

import type { PublicKey } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { leaseKey } from '../../src/core/key-slab.ts'
import { seededRandom } from '../../src/core/random.ts'
import { FrameReader } from '../../src/stream/frame.ts'
import { RecordPipe } from '../../src/stream/record-pipe.ts'
import { Session } from '../../src/stream/session.ts'
import type { Wire } from '../../src/stream/wire.ts'
import { multiplex } from '../../src/transport/mux/connection.ts'
import type { Connection } from '../../src/transport/types.ts'

const KEYS = { dialer: keyOf('dialer'), listener: keyOf('listener') }

function keyOf(seed: string): PublicKey {
  return createSigner('link', randomSeed(seededRandom(seed))).publicKey
}

/** What stands for a socket below the encrypted stream: counts what is written to it, and brings each write in a turn of its own. */
class CountedWire implements Pick<Wire, 'releasesMemory' | 'onEnd' | 'onClose' | 'write' | 'end' | 'destroy'> {
  readonly releasesMemory = true
  onEnd: () => void = () => undefined
  onClose: (error: Error | undefined) => void = () => undefined
  writes = 0
  records = 0
  readonly reader: FrameReader = new FrameReader()
  #other: CountedWire | undefined
  #closed = false

  static pair(): [CountedWire, CountedWire] {
    const [near, far] = [new CountedWire(), new CountedWire()]
    near.#other = far
    far.#other = near
    return [near, far]
  }

  write(chunk: Buffer, done: () => void): void {
    this.writes++
    this.records += recordsIn(chunk)
    const bytes = Buffer.from(chunk)
    setImmediate(() => this.#other?.reader.feed(bytes, 0, bytes.length))
    process.nextTick(done)
  }

  end(done: () => void = () => undefined): void {
    done()
    this.destroy()
  }

  destroy(): void {
    if (this.#closed) return
    this.#closed = true
    this.reader.stop()
    this.onClose(undefined)
    this.#other?.destroy()
  }

  /** What was written since it was last asked. */
  take(): { readonly writes: number; readonly records: number } {
    const { writes, records } = this
    this.writes = 0
    this.records = 0
    return { writes, records }
  }
}

function recordsIn(chunk: Buffer): number {
  let count = 0
  for (let at = 0; at < chunk.length; count++) {
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = chunk[at++] as number
      length += (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    at += length
  }
  return count
}

export interface RecordLink {
  readonly near: Connection
  readonly far: Connection
  readonly nearWire: CountedWire
  readonly farWire: CountedWire
}

/** Two ends of a link over records that are really sealed, and wires that count them. */
export function recordLink(clock: Clock): RecordLink {
  const [nearWire, farWire] = CountedWire.pair()
  const end = (wire: CountedWire, role: 'dialer' | 'listener'): Connection => {
    const peer = role === 'dialer' ? 'listener' : 'dialer'
    const key = (from: string) => {
      const lease = leaseKey(32)
      lease.bytes.fill(from.length)
      return lease
    }
    const established = { peer: KEYS[peer], sendKey: key(role), receiveKey: key(peer), summary: leaseKey(32) }
    const session = new Session(wire as unknown as Wire, wire.reader, established, { role, localKey: KEYS[role], maxMessageBytes: 65_536, clock })
    const path = { scheme: 'memory', address: 'memory://records', direct: true }
    const info = { role, localKey: KEYS[role], remoteKey: KEYS[peer], path, postQuantum: false }
    return multiplex(new RecordPipe(session), info, clock, { keepAliveMs: 0 })
  }
  return { near: end(nearWire, 'dialer'), far: end(farWire, 'listener'), nearWire, farWire }
}

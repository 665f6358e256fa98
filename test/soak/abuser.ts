import { createHash } from 'node:crypto'
import type { PublicKey } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { encodePayload, type Reference } from '../../src/gossip/entry.ts'
import { FrameReader } from '../../src/gossip/frame-reader.ts'
import { decodeFrame, encodeFrame, type Frame, GOSSIP_PROTOCOL, topicHash } from '../../src/gossip/wire.ts'
import type { Did } from '../../src/identity/did.ts'
import { greet } from '../../src/mesh/hello.ts'
import { HelloCache } from '../../src/mesh/hello-cache.ts'
import type { AuthenticatedLink } from '../../src/mesh/hello-types.ts'
import { openKnownKeys } from '../../src/mesh/known-keys.ts'
import { signEnvelope } from '../../src/mesh/messages/envelope.ts'
import type { Suite } from '../../src/mesh/messages/types.ts'
import { SimDevice, SimIdentity } from '../../src/testing/identities.ts'
import type { MuxConnection } from '../../src/transport/mux/connection.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { NEWS } from './topics.ts'

/** The victim, as its address and keys are known to everybody. */
export interface Aim {
  readonly did: Did
  readonly linkKey: PublicKey
  readonly url: string
  /** Those whose names are worth stealing. */
  readonly honest: readonly { readonly didKey: PublicKey; readonly linkKey: PublicKey }[]
}

export interface Crafted {
  readonly topic: string
  readonly data: Uint8Array
  readonly payload: Uint8Array
  readonly references: readonly Reference[]
  readonly from: Uint8Array
  readonly device: Uint8Array
  readonly epoch: number
  readonly seq: number
  readonly timeMs: number
  readonly type: number
  readonly suite: Suite
}

/** Somebody with an identity of his own who keeps no rule but those that get him in. */
export class Abuser {
  readonly identity: SimIdentity
  readonly device: SimDevice
  readonly aim: Aim
  #seq = 0

  constructor(aim: Aim) {
    const seed = createHash('sha256').update(systemRandom.bytes(32)).digest('hex')
    const now = Date.now()
    this.aim = aim
    this.identity = new SimIdentity(seed, { postQuantum: true, now: now - 3_600_000, signMldsa: undefined })
    this.device = new SimDevice(this.identity, seed, { name: 'abuser', now })
  }

  get did(): Did {
    return this.identity.did
  }

  /** Through the handshake and the greeting. @throws KithError what the victim refused with. */
  async link(signal: AbortSignal): Promise<Line> {
    const { device, aim } = this
    const known = await openKnownKeys({ store: createMemoryStore(), clock: systemClock, log: silentLogger })
    const transport = createTcpTransport({ signer: device.linkSigner, clock: systemClock, random: systemRandom })
    const channel = await transport.dial(aim.url, { expect: aim.linkKey, signal })
    try {
      const context = {
        device,
        known,
        cache: new HelloCache(),
        clock: systemClock,
        random: systemRandom,
        log: silentLogger,
        boot: 1,
        run: systemRandom.bytes(8),
      }
      const link = await greet(channel, context, { expect: aim.did, signal })
      return new Line(this, link, channel.multiplex({ keepAliveMs: 0 }) as MuxConnection)
    } catch (error) {
      channel.close()
      throw error
    } finally {
      await known.close()
    }
  }

  /** A record with the next number, or whatever a case wants. */
  craft(fields: Partial<Crafted> = {}): Uint8Array {
    const { topic = NEWS, data = systemRandom.bytes(64), references = [], suite = 'ed25519' } = fields
    const seq = fields.seq ?? ++this.#seq
    return signEnvelope(
      {
        class: 'record',
        suite,
        from: fields.from ?? this.device.didKey,
        device: fields.device ?? this.device.linkSigner.publicKey,
        topic,
        epoch: fields.epoch ?? 1,
        seq,
        timeMs: fields.timeMs ?? Date.now(),
        type: fields.type ?? 1,
        payload: fields.payload ?? encodePayload({ references, data }),
      },
      { ed25519: this.device.linkSigner, mldsa: this.device.mldsaSigner },
    )
  }

  close(): void {
    this.device.close()
    this.identity.close()
  }
}

const RECORDED = 500

/** One link to the victim, with everything it says. */
export class Line {
  readonly abuser: Abuser
  readonly link: AuthenticatedLink
  readonly mux: MuxConnection
  /** Frames that the victim sent by gossip, the newest. */
  readonly heard: Frame[] = []
  /** Whether its gossip is read at all. */
  deaf = false

  constructor(abuser: Abuser, link: AuthenticatedLink, mux: MuxConnection) {
    this.abuser = abuser
    this.link = link
    this.mux = mux
    mux.onStream = (stream) => this.#accept(stream)
  }

  get alive(): boolean {
    return this.mux.alive
  }

  /** Code with which the victim ended the link. */
  get ended(): Promise<string> {
    return this.mux.closed.then(({ error }) => error?.code ?? 'closed')
  }

  /** A stream of a protocol; what comes back is thrown away unless somebody wants it. */
  async open(protocol: string, onData?: (data: Buffer) => void): Promise<Spoken> {
    const stream = await this.mux.open({ signal: AbortSignal.timeout(20_000) })
    return new Spoken(stream, protocol, onData)
  }

  /** A stream of gossip that has said which topics it is about: handles 1, 2, ... */
  async gossip(...topics: readonly string[]): Promise<Spoken> {
    const spoken = await this.open(GOSSIP_PROTOCOL)
    if (topics.length > 0) await spoken.frame({ kind: 'subscribe', topics: topics.map((topic, i) => ({ handle: i + 1, topic: topicHash(topic) })) })
    return spoken
  }

  /** Entries of others as they came. */
  get recorded(): readonly Uint8Array[] {
    return this.heard.flatMap((frame) => (frame.kind === 'push' ? [frame.envelope] : frame.kind === 'entries' ? frame.entries : []))
  }

  async close(): Promise<void> {
    await this.mux.close()
  }

  /** The victim's own streams: gossip is heard, everything else is left to wait. */
  #accept(stream: LinkStream): void {
    stream.onEnd = () => stream.end()
    stream.onError = () => undefined
    stream.onData = (data, start, end) => {
      const length = data[start] ?? 0
      const protocol = data.toString('latin1', start + 1, start + 1 + length)
      stream.consume(Math.min(end - start, 1 + length))
      if (protocol !== GOSSIP_PROTOCOL) {
        stream.onData = (_, from, to) => stream.consume(to - from)
        if (start + 1 + length < end) stream.consume(end - start - 1 - length)
        return
      }
      new FrameReader(stream, {
        wants: () => true,
        frame: (bytes) => this.#heard(bytes),
        fault: () => undefined,
        ready: () => !this.deaf,
      })
      if (start + 1 + length < end) stream.onData(data, start + 1 + length, end)
    }
  }

  #heard(bytes: Uint8Array): void {
    this.heard.push(decodeFrame(bytes))
    if (this.heard.length > RECORDED) this.heard.splice(0, RECORDED / 2)
  }
}

/** One stream to the victim. */
export class Spoken {
  readonly stream: LinkStream
  /** Code with which it was ended. */
  code: string | undefined
  readonly #waiting: (() => void)[] = []

  constructor(stream: LinkStream, protocol: string, onData: ((data: Buffer) => void) | undefined) {
    this.stream = stream
    stream.onData = (data, start, end) => {
      onData?.(Buffer.from(data.subarray(start, end)))
      stream.consume(end - start)
    }
    stream.onEnd = () => this.#over('end')
    stream.onError = (error) => this.#over(error.code)
    stream.onDrain = () => this.#wake()
    stream.write(Buffer.concat([Uint8Array.of(protocol.length), Buffer.from(protocol)]))
  }

  get open(): boolean {
    return this.code === undefined
  }

  /** Says it, and waits while the victim takes nothing. */
  async say(bytes: Uint8Array): Promise<void> {
    if (!this.open || this.stream.write(bytes)) return
    await this.#woken()
  }

  async frame(frame: Frame): Promise<void> {
    await this.say(encodeFrame(frame))
  }

  end(): void {
    this.stream.end()
  }

  /** Resolves when the stream is over, with its code. */
  async over(): Promise<string> {
    while (this.code === undefined) await this.#woken()
    return this.code
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #over(code: string): void {
    this.code ??= code
    this.#wake()
  }
}

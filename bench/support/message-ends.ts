import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { decodeBinding } from '../../src/identity/binding.ts'
import type { Did } from '../../src/identity/did.ts'
import type { Device } from '../../src/identity/types.ts'
import { DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import type { AuthenticatedLink } from '../../src/mesh/hello-types.ts'
import { openKnownKeys } from '../../src/mesh/known-keys.ts'
import type { LinkContext, Member } from '../../src/mesh/link-member.ts'
import { LIVE_PROTOCOL } from '../../src/mesh/messages/live-frames.ts'
import { type MeshMessages, openMessages } from '../../src/mesh/messages/messages.ts'
import type { Suite } from '../../src/mesh/messages/types.ts'
import { Router } from '../../src/mesh/router.ts'
import type { Connection, LinkStream, Path } from '../../src/transport/types.ts'
import { makeDevice } from './link-ends.ts'

/** What the multiplexer lets a stream send ahead, and what a socket brings at once. */
const WINDOW_BYTES: number = 256 * 1024
const SEGMENT_BYTES: number = 64 * 1024
const PATH: Path = { scheme: 'memory', address: 'memory://bench', direct: true }
const NEVER: AbortSignal = new AbortController().signal
const TYPE = 0x8000
/** Messages that a busy sender hands over in one turn. */
const AT_ONCE = 100
const TOPIC = 'bench:records'
/** No class may send so much: what is measured is the work, not the budget. */
const LIMITS = { ...DEFAULT_CONSTRAINTS.federated, messagesPerSecond: 1_000_000, burst: 1_000_000 }

/** One machine with the node's own messages: from `send` to the stream, from the stream to a handler, from `signRecord` to `verifyRecord`. */
class End {
  readonly device: Device
  readonly messages: MeshMessages
  readonly router: Router
  readonly #linked: (member: Member) => void

  private constructor(device: Device, messages: MeshMessages, router: Router, linked: (member: Member) => void) {
    this.device = device
    this.messages = messages
    this.router = router
    this.#linked = linked
  }

  static async start(): Promise<End> {
    const device = makeDevice(true)
    const store = createMemoryStore()
    const router = new Router({ clock: systemClock, logger: silentLogger, refuse: () => undefined, onMalformed: nothing })
    let current: Member | undefined
    const messages = await openMessages({
      device: () => device,
      known: await openKnownKeys({ store, clock: systemClock, log: silentLogger }),
      store,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      metrics: undefined,
      conduct: undefined,
      boot: 1,
      router,
      inBook: () => true,
      constraints: () => LIMITS,
      yieldTurn: () => new Promise((resolve) => setImmediate(resolve)),
      resolve: (peer) => peer as Did,
      onLink: (_did, _signal, run) => (current === undefined ? Promise.reject(new RangeError('no link')) : run(current)),
      open: () => Promise.reject(new RangeError('no link')),
    })
    return new End(device, messages, router, (member) => {
      current = member
    })
  }

  /** A connection with another machine begins. */
  link(member: Member, { did, linkSigner, binding, chain }: Device): void {
    const link = { did, linkKey: linkSigner.publicKey, binding: decodeBinding(binding), chain }
    this.messages.linked(member, link as Partial<AuthenticatedLink> as AuthenticatedLink)
    this.#linked(member)
  }
}

/** A wire full of live messages, and the way to hand it to the far machine. */
export interface Load {
  readonly bytes: number
  /** Resolves when the last message has reached its handler. */
  deliver(): Promise<void>
}

/** Two machines and no link between them: what one writes is kept, and given to the other within the credit that it gives back, as a connection would. */
export class MessageEnds {
  readonly #from: End
  readonly #to: End
  #links = 0
  #delivered = 0
  #awaited = 0
  #done: () => void = nothing

  private constructor(from: End, to: End) {
    this.#from = from
    this.#to = to
    to.messages.handle(TYPE, () => {
      if (++this.#delivered === this.#awaited) this.#done()
    })
  }

  static async start(): Promise<MessageEnds> {
    const [from, to] = [await End.start(), await End.start()]
    await to.messages.directory.learn(from.messages.directory.own())
    return new MessageEnds(from, to)
  }

  /** Sends over a new link: signed, encoded, framed. */
  async send(payloads: readonly Uint8Array[], suite: Suite): Promise<Load> {
    const helloHash = new Uint8Array(32).fill(++this.#links)
    const written: Buffer[] = []
    const near = memberOf(this.#to.device, helloHash, (data) => void written.push(Buffer.from(data)))
    this.#from.link(near, this.#to.device)
    for (let at = 0; at < payloads.length; at += AT_ONCE) {
      await Promise.all(payloads.slice(at, at + AT_ONCE).map((payload) => this.#from.messages.send(this.#to.device.did, TYPE, payload, { suite })))
    }
    // The last ones leave at the end of the turn.
    await new Promise<void>((resolve) => setImmediate(resolve))
    const [, ...frames] = written
    const wire = Buffer.concat(frames)
    return { bytes: wire.length, deliver: () => this.#deliver(wire, payloads.length, helloHash) }
  }

  sign(payload: Uint8Array, suite: Suite): Uint8Array {
    return this.#from.messages.signRecord({ topic: TOPIC, type: TYPE, payload, suite }).bytes
  }

  async verify(record: Uint8Array, suite: Suite): Promise<void> {
    await this.#to.messages.verifyRecord(record, TOPIC, undefined, { suite })
  }

  async #deliver(wire: Buffer, count: number, helloHash: Uint8Array): Promise<void> {
    const far = memberOf(this.#from.device, helloHash, nothing)
    this.#to.link(far, this.#from.device)
    this.#delivered = 0
    this.#awaited = count
    const done = new Promise<void>((resolve) => {
      this.#done = resolve
    })
    let credit = WINDOW_BYTES
    let at = 0
    let more = nothing
    const stream = streamOf(nothing, (bytes) => {
      credit += bytes
      more()
    })
    this.#to.router.get(LIVE_PROTOCOL)?.run(stream, contextOf(this.#from.device, far))
    let feeding = false
    const feed = (): void => {
      feeding = false
      const end = Math.min(wire.length, at + Math.min(credit, SEGMENT_BYTES))
      const start = at
      at = end
      credit -= end - start
      if (end > start) stream.onData(wire, start, end)
      more()
    }
    more = () => {
      if (feeding || at === wire.length || credit === 0) return
      feeding = true
      setImmediate(feed)
    }
    more()
    await done
  }
}

function nothing(): void {}

function contextOf(device: Device, member: Member): LinkContext {
  return { peer: device.did, linkKey: device.linkSigner.publicKey, path: PATH, signal: NEVER, helloHash: member.link.helloHash, member }
}

/** As much of a connection as messages see. */
function memberOf(device: Device, helloHash: Uint8Array, write: (data: Uint8Array) => void): Member {
  const { did, linkSigner } = device
  const connection: Pick<Connection, 'open' | 'closed'> = { open: async () => streamOf(write, nothing), closed: new Promise(nothing) }
  const link: Partial<Member['link']> = { did, linkKey: linkSigner.publicKey, helloHash, clockOffsetMs: 0 }
  return { link, connection, retired: NEVER, state: 'live', opened: 0 } as Partial<Member> as Member
}

function streamOf(write: (data: Uint8Array) => void, consume: (bytes: number) => void): LinkStream {
  const stream: Partial<LinkStream> = {
    write(data) {
      write(data)
      return true
    },
    consume,
    end: nothing,
    reset(number) {
      throw new RangeError(`the stream was reset with ${number}`)
    },
    onData: nothing,
  }
  return stream as LinkStream
}

import { equal, toHex, utf8 } from '../../src/core/bytes.ts'
import type { Random } from '../../src/core/random.ts'
import { encodePayload } from '../../src/gossip/entry.ts'
import { encodeFrame, GOSSIP_PROTOCOL, topicHash } from '../../src/gossip/wire.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { encodeRequest, MAILBOX_PROTOCOL, MAX_PUT_ANSWER } from '../../src/mesh/mailbox/wire.ts'
import { type EnvelopeFields, signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { framed, LIVE_PROTOCOL } from '../../src/mesh/messages/live-frames.ts'
import { MESSAGE_TYPE } from '../../src/mesh/messages/types.ts'
import { ask } from '../../src/mesh/request-stream.ts'
import { decodePeerRecord } from '../../src/mesh/sealed/peer-record-codec.ts'
import { decodePrekey } from '../../src/mesh/sealed/prekey-codec.ts'
import { sealMessage } from '../../src/mesh/sealed/sealing.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { type Evidence, encodeEvidence } from '../../src/trust/evidence.ts'

/**
 * - `quiet`: says nothing that no correct node says. It repeats, alters what it cannot be blamed for, claims and accuses.
 * - `loud`: also sends what no correct node sends: false signatures, bytes that do not decode.
 * - `twofaced`: also signs two things under one number.
 */
export type LiarKind = 'quiet' | 'loud' | 'twofaced'

export interface LiarOptions {
  /** Whom it lies to and about. */
  readonly honest: readonly SimNode[]
  readonly liars: readonly SimNode[]
  readonly topics: readonly string[]
  /** Type of the live messages that it listens to. */
  readonly type: number
}

interface HeardRecord {
  readonly author: SimNode
  readonly topic: string
  readonly type: number
  readonly data: Uint8Array
  readonly bytes: Uint8Array
}

interface HeardLive {
  readonly from: SimNode
  readonly session: Uint8Array
  readonly seq: number
  readonly bytes: Uint8Array
}

const MAX_HEARD = 400
const ED25519_BYTES = 64

/**
 * A machine in the hands of somebody hostile. Its ears are the whole node: it links, reads topics, keeps others' mail and answers as everybody does, so that
 * nobody cuts it off. Its mouth writes whatever it likes on streams of the same protocols, over the same links.
 */
export class Liar {
  readonly node: SimNode
  readonly kind: LiarKind
  /** Times it did each thing. */
  readonly did: Map<string, number> = new Map()
  /** Breaches that it wrote to a peer, by that peer's name. */
  readonly breaches: Map<string, number> = new Map()
  readonly #sim: Simulation
  readonly #options: LiarOptions
  readonly #random: Random
  readonly #records: HeardRecord[] = []
  readonly #lives: HeardLive[] = []
  readonly #streams: Map<string, LinkStream> = new Map()
  #number = 2 ** 50

  constructor(sim: Simulation, node: SimNode, kind: LiarKind, options: LiarOptions) {
    this.#sim = sim
    this.node = node
    this.kind = kind
    this.#options = options
    this.#random = sim.random
  }

  /** Opens its ears. */
  listen(): void {
    const { honest, topics, type } = this.#options
    const { gossip, messages } = this.node.assembly
    for (const topic of topics) {
      gossip.listen(
        topic,
        ({ author, type: kind, data, record }) => {
          const from = honest.find(({ did }) => did === author)
          if (from !== undefined) keep(this.#records, { author: from, topic, type: kind, data, bytes: record.bytes })
        },
        { replay: true },
      )
    }
    messages.handle(type, ({ from, session, seq, bytes }) => {
      const sender = honest.find(({ did }) => did === from)
      if (sender !== undefined) keep(this.#lives, { from: sender, session, seq, bytes })
    })
  }

  /** Does one of the things that its kind does, to somebody honest it is linked with. */
  act(): void {
    const linked = new Set(this.node.linked())
    const victim = this.#pick(this.#options.honest.filter(({ name }) => linked.has(name)))
    if (victim === undefined) return
    const acts = this.kind === 'quiet' ? QUIET : this.kind === 'loud' ? [...QUIET, ...LOUD, ...LOUD] : [...QUIET, ...TWOFACED]
    const name = this.#pick(acts)
    if (name === undefined) return
    this.did.set(name, (this.did.get(name) ?? 0) + 1)
    this.#sim.note(this.node.name, name, victim.name)
    // Refusals are what a liar lives with.
    this.#acts[name](victim).catch(() => undefined)
  }

  readonly #acts: Readonly<Record<Act, (victim: SimNode) => Promise<void>>> = {
    // What others said, as it was.
    'repeat record': async (victim) => this.#push(victim, this.#pick(this.#records)?.bytes),
    'repeat live': async (victim) => this.#live(victim, this.#pick(this.#lives)?.bytes),
    'repeat sealed': async (victim) => this.#put(victim, await this.#hosted()),
    // What others said, altered where nobody can be blamed by its bytes alone.
    'alter post-quantum half': async (victim) => {
      const hybrid = this.#pick(this.#records.filter(({ bytes }) => bytes[2] === 1))
      if (hybrid !== undefined) await this.#push(victim, this.#altered(hybrid.bytes, hybrid.bytes.length - 2_000, hybrid.bytes.length))
    },
    'alter sealed': async (victim) => {
      const sealed = await this.#hosted()
      await this.#put(victim, sealed === undefined ? undefined : this.#altered(sealed, 100, sealed.length))
    },
    'seal a forgery': async (victim) => this.#sealForged(victim),
    // Opinions and accusations, properly signed.
    'false edge': async () => {
      const { trust } = this.node.assembly
      if (this.#random.unit() < 0.5) await trust.attest(this.#someLiar().did, 10_000)
      else await trust.attest(this.#someHonest().did, this.#random.unit() < 0.5 ? 1 : 10_000)
    },
    'take back an edge': async () => {
      await this.node.assembly.trust.revoke(this.#someHonest().did)
    },
    'false evidence': async () => {
      const evidence = this.#fabricate()
      if (evidence !== undefined) await this.node.assembly.gossip.publish('trust:evidence', evidence, { type: MESSAGE_TYPE.evidence })
    },
    accuse: async () => {
      const { did, device } = this.#someHonest()
      const text = `ban ${did} ${toHex(device.linkSigner.publicKey)}`
      await this.node.assembly.gossip.publish('trust:evidence', utf8(text), { type: MESSAGE_TYPE.evidence })
    },
    'announce nothing': async (victim) => {
      const ids = Array.from({ length: 20 }, () => this.#random.bytes(32))
      await this.#gossip(victim, encodeFrame({ kind: 'announce', handle: 1, urgent: true, ids }))
    },
    // What no correct node sends.
    'alter record': async (victim) => {
      const heard = this.#pick(this.#records)
      if (heard === undefined) return
      const end = heard.bytes.length - (heard.bytes[2] === 1 ? 3_309 : 0)
      this.#broke(victim)
      // Not the keys: a name that nobody has is not a false signature yet.
      await this.#push(victim, this.#altered(heard.bytes, end - ED25519_BYTES - 8, end))
    },
    'forge record': async (victim) => {
      this.#broke(victim)
      const topic = this.#pick(this.#options.topics) as string
      const payload = encodePayload({ references: [], data: utf8(`forged ${this.#number}`) })
      const fields = { class: 'record', topic, epoch: 1, seq: this.#number++, type: 1, payload } as const
      // A classical signature on a hybrid topic is refused before it is looked at.
      await this.#push(victim, this.#forged({ ...fields, topic: topic === 'trust:attestations' ? 'identity:updates' : topic }))
    },
    'alter live': async (victim) => {
      const heard = this.#pick(this.#lives)
      if (heard === undefined) return
      this.#broke(victim)
      await this.#live(victim, this.#altered(heard.bytes, heard.bytes.length - ED25519_BYTES, heard.bytes.length))
    },
    'forge live': async (victim) => {
      this.#broke(victim)
      const session = this.#lives.find(({ from }) => from === victim)?.session ?? this.#random.bytes(16)
      const to = didPublicKey(victim.did)
      await this.#live(victim, this.#forged({ class: 'live', to, session, seq: 1 + Math.floor(this.#random.unit() * 100), type: 1, payload: utf8('forged') }))
    },
    'garbage frame': async (victim) => {
      this.#broke(victim)
      await this.#gossip(victim, Uint8Array.of(3, 99, 1, 2))
    },
    'garbage message': async (victim) => {
      this.#broke(victim)
      await this.#live(victim, this.#random.bytes(200))
    },
    // Two things under one number.
    'two records': async (victim) => {
      const seq = this.#number++
      for (const text of ['one', 'other']) {
        const payload = encodePayload({ references: [], data: utf8(text) })
        const own = { from: this.node.device.didKey, device: this.node.device.linkSigner.publicKey, timeMs: this.node.clock.now() - 1_000 }
        const topic = this.#options.topics[0] as string
        await this.#push(victim, this.#signed({ ...own, suite: 'ed25519', class: 'record', topic, epoch: 1, seq, type: 1, payload }))
      }
    },
    'two messages': async (victim) => {
      const session = this.#lives.find(({ from }) => from === victim)?.session
      if (session === undefined) return
      const seq = 40_000 + Math.floor(this.#random.unit() * 10_000)
      for (const text of ['one', 'other']) {
        const own = { from: this.node.device.didKey, device: this.node.device.linkSigner.publicKey, timeMs: this.node.clock.now() }
        const fields = { class: 'live', to: didPublicKey(victim.did), session, seq, type: this.#options.type, payload: utf8(text) } as const
        await this.#live(victim, this.#signed({ ...own, suite: 'ed25519', ...fields }))
      }
    },
  }

  /** Something that looks like a proof against somebody honest and is none. */
  #fabricate(): Uint8Array | undefined {
    const accused = this.#someHonest()
    const { binding, chain } = accused.device
    const papers = { binding, chain: encodeChain(chain.entries) }
    const own = { binding: this.node.device.binding, chain: encodeChain(this.node.device.chain.entries) }
    const theirs = this.#records.filter(({ author, bytes }) => author === accused && bytes[2] === 0)
    const [one, other] = [this.#pick(theirs)?.bytes, this.#pick(theirs)?.bytes]
    const live = this.#lives.filter(({ from }) => from === accused)
    if (one === undefined || other === undefined) return undefined
    const forged = this.#forged({ class: 'record', topic: this.#options.topics[0] as string, epoch: 1, seq: 1, type: 1, payload: utf8('x') }, accused)
    const candidates: (Evidence | undefined)[] = [
      // Two things of different numbers; one thing twice; the wrong way round; one thing altered; one of another.
      { kind: 'equivocation', ...papers, first: one, second: other },
      { kind: 'equivocation', ...papers, first: other, second: one },
      { kind: 'equivocation', ...papers, first: one, second: one },
      { kind: 'equivocation', ...papers, first: one, second: this.#altered(one, 200, one.length) },
      { kind: 'equivocation', ...papers, first: one, second: forged },
      { kind: 'equivocation', ...papers, first: forged, second: one },
      { kind: 'equivocation', ...own, first: one, second: other },
      pairOfLives(papers, live),
      { kind: 'chain-fork', first: papers.chain, second: papers.chain },
      { kind: 'chain-fork', first: papers.chain, second: own.chain },
      { kind: 'conflicting-ledger-entries', body: one },
    ]
    const chosen = this.#pick(candidates.filter((evidence) => evidence !== undefined))
    return chosen === undefined ? undefined : encodeEvidence(chosen)
  }

  /** A message that names somebody honest, sealed properly. */
  async #sealForged(victim: SimNode): Promise<void> {
    const record = this.#records.findLast(({ author, type }) => author === victim && type === MESSAGE_TYPE.peerRecord)
    if (record === undefined) return
    const { prekey } = decodePeerRecord(this.node.assembly.messages.readRecord(record.data).payload)
    if (prekey === undefined) return
    const msgId = this.#random.bytes(16)
    const expiresMs = this.node.clock.now() + 3_600_000
    const envelope = this.#forged({ class: 'stored', to: didPublicKey(victim.did), msgId, expiresMs, type: MESSAGE_TYPE.text, payload: utf8('forged') })
    await this.#put(victim, sealMessage(envelope, { to: victim.did, msgId, expiresMs }, [decodePrekey(prekey)], this.#random))
  }

  /** Names somebody honest, signed with the key of the liar. */
  #forged(fields: Fields, named: SimNode = this.#someHonest()): Uint8Array {
    const { didKey, linkSigner } = named.device
    return this.#signed({ from: didKey, device: linkSigner.publicKey, suite: 'ed25519', timeMs: this.node.clock.now(), ...fields })
  }

  #signed(fields: EnvelopeFields): Uint8Array {
    const { linkSigner, mldsaSigner } = this.node.device
    return signEnvelope(fields, { ed25519: linkSigner, mldsa: mldsaSigner })
  }

  #altered(bytes: Uint8Array, from: number, to: number): Uint8Array {
    const copy = Uint8Array.from(bytes)
    const at = from + Math.floor(this.#random.unit() * (to - from))
    copy[at] = (copy[at] as number) ^ (1 << Math.floor(this.#random.unit() * 8))
    return copy
  }

  /** A sealed message that it keeps for somebody. */
  async #hosted(): Promise<Uint8Array | undefined> {
    const kept: Uint8Array[] = []
    for await (const { value } of this.node.store.scan('mail/box-data', { limit: 50 })) kept.push(value)
    return this.#pick(kept)
  }

  async #push(victim: SimNode, envelope: Uint8Array | undefined): Promise<void> {
    if (envelope !== undefined) await this.#gossip(victim, encodeFrame({ kind: 'push', envelope }))
  }

  async #gossip(victim: SimNode, frame: Uint8Array): Promise<void> {
    const { topics } = this.#options
    const hello = encodeFrame({ kind: 'subscribe', topics: topics.map((topic, at) => ({ handle: at + 1, topic: topicHash(topic) })) })
    const stream = await this.#stream(victim, GOSSIP_PROTOCOL, hello)
    stream.write(frame)
  }

  async #live(victim: SimNode, envelope: Uint8Array | undefined): Promise<void> {
    if (envelope === undefined) return
    const stream = await this.#stream(victim, LIVE_PROTOCOL)
    stream.write(framed([envelope]))
  }

  async #put(victim: SimNode, sealed: Uint8Array | undefined): Promise<void> {
    if (sealed === undefined) return
    const stream = await this.node.mesh.openLean(victim.did, MAILBOX_PROTOCOL)
    await ask(stream.toDuplex(), encodeRequest({ op: 'put', sealed }), MAX_PUT_ANSWER, { clock: this.node.process.clock })
  }

  /** One for each peer and protocol, opened again when the peer has ended it. */
  async #stream(victim: SimNode, protocol: string, hello?: Uint8Array): Promise<LinkStream> {
    const key = `${victim.name} ${protocol}`
    const open = this.#streams.get(key)
    if (open !== undefined) return open
    const stream = await this.node.mesh.openLean(victim.did, protocol)
    const gone = (): void => void (this.#streams.get(key) === stream && this.#streams.delete(key))
    stream.onData = (_data, start, end) => stream.consume(end - start)
    stream.onError = gone
    stream.onClose = gone
    this.#streams.set(key, stream)
    if (hello !== undefined) stream.write(hello)
    return stream
  }

  #broke({ name }: SimNode): void {
    this.breaches.set(name, (this.breaches.get(name) ?? 0) + 1)
  }

  #someHonest(): SimNode {
    return this.#pick(this.#options.honest) as SimNode
  }

  #someLiar(): SimNode {
    return this.#pick(this.#options.liars.filter((node) => node !== this.node)) as SimNode
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random.unit() * items.length)]
  }
}

const QUIET = [
  'repeat record',
  'repeat record',
  'repeat live',
  'repeat live',
  'repeat sealed',
  'alter post-quantum half',
  'alter sealed',
  'seal a forgery',
  'false edge',
  'false edge',
  'take back an edge',
  'false evidence',
  'false evidence',
  'accuse',
  'announce nothing',
] as const
const LOUD = ['alter record', 'forge record', 'alter live', 'forge live', 'garbage frame', 'garbage message'] as const
const TWOFACED = ['two records', 'two messages'] as const
type Act = (typeof QUIET | typeof LOUD | typeof TWOFACED)[number]

/** Distributes over the classes. */
type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never
type Fields = Without<EnvelopeFields, 'from' | 'device' | 'suite' | 'timeMs'>

/** One number in two sessions, which is what two sessions are for. */
function pairOfLives(papers: { readonly binding: Uint8Array; readonly chain: Uint8Array }, lives: readonly HeardLive[]): Evidence | undefined {
  for (const first of lives) {
    const second = lives.find(({ seq, session }) => seq === first.seq && !equal(session, first.session))
    if (second !== undefined) return { kind: 'equivocation', ...papers, first: first.bytes, second: second.bytes }
  }
  const [first, second] = lives
  return first === undefined || second === undefined ? undefined : { kind: 'equivocation', ...papers, first: first.bytes, second: second.bytes }
}

function keep<T>(list: T[], item: T): void {
  list.push(item)
  if (list.length > MAX_HEARD) list.shift()
}

import type { Duplex } from 'node:stream'
import { equal, type PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Store } from '../../core/store/types.ts'
import type { DeviceRoster } from '../../identity/device-roster.ts'
import { type Did, didPublicKey } from '../../identity/did.ts'
import type { Device } from '../../identity/types.ts'
import type { LinkStream } from '../../transport/types.ts'
import { askDevices, DEVICES_PROTOCOL, serveDevices } from '../devices-protocol.ts'
import { abortable } from '../dialer.ts'
import type { AuthenticatedLink } from '../hello-types.ts'
import type { KnownKeys } from '../known-keys.ts'
import type { Member } from '../link-member.ts'
import type { Waiting } from '../mesh-types.ts'
import type { Router } from '../router.ts'
import type { Conduct, ConstraintSet } from '../types.ts'
import { Directory, senderOf } from './directory.ts'
import { textOf } from './directory-index.ts'
import { decodeEnvelope, type EnvelopeFields, signEnvelope } from './envelope.ts'
import { Live } from './live.ts'
import { LIVE_PROTOCOL } from './live-frames.ts'
import { MessageTally } from './messages-metrics.ts'
import { askPapers, PAPERS_PROTOCOL, servePapers } from './papers-protocol.ts'
import { RateLimiter } from './rate.ts'
import { ReplayTable } from './replay-table.ts'
import { senderNamed } from './senders.ts'
import { RecordSequences } from './sequences.ts'
import { Sessions } from './sessions.ts'
import { Slicer } from './slicer.ts'
import type {
  Carrier,
  DeviceKeys,
  DevicePapers,
  Equivocation,
  LiveHandler,
  LiveHandlerOptions,
  MessageCounters,
  MessageHandlerOptions,
  Messages,
  RecordHead,
  RecordMessage,
  RecordOptions,
  StoredCheck,
  StoredMessage,
  StoredOptions,
  Suite,
} from './types.ts'
import { verifiedRecord, verifiedStored } from './verified.ts'
import { MAX_LIFE_MS, Verifier } from './verifier.ts'

/** What the mesh lends to its messages. */
export interface MessagesComponents {
  readonly device: () => Device
  readonly known: KnownKeys
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: Metrics | undefined
  readonly conduct: Conduct | undefined
  /** Counted durably before this is made. */
  readonly boot: number
  readonly router: Router
  readonly inBook: (did: Did) => boolean
  readonly constraints: (did: Did) => ConstraintSet
  readonly yieldTurn: () => Promise<void>
  /** @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`, `SELF_DIAL`, `CLOSED`. */
  readonly resolve: (peer: string) => Did
  /** Runs on the link in use, dialled if there is none, again on another one when it fails under it. */
  readonly onLink: <T>(did: Did, signal: AbortSignal | undefined, run: (member: Member) => Promise<T>) => Promise<T>
  readonly open: (did: Did, protocol: string, signal: AbortSignal | undefined) => Promise<Duplex>
}

/** Tails of a chain that are asked for one after the other: more than the longest chain has. */
const MAX_ROUNDS = 80
/** Verifications that nobody's link brought. */
const OWN_LANE = ''

/** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
export async function openMessages(components: MessagesComponents): Promise<MeshMessages> {
  const { store, clock, inBook, known, device, logger } = components
  const directory = await Directory.open({ device, known, store, clock, logger, keeps: inBook })
  const replay = await ReplayTable.open({ store, clock })
  return new MeshMessages(components, directory, replay)
}

/** Wires the parts together; each rule lives in the part it is about. */
export class MeshMessages implements Messages {
  readonly directory: Directory
  readonly #components: MessagesComponents
  readonly #sequences: RecordSequences
  readonly #slicer: Slicer
  readonly #verifier: Verifier
  readonly #tally: MessageTally
  readonly #live: Live
  readonly #shown: Set<(asker: Did, did: Did, device: PublicKey) => boolean> = new Set()
  /** Questions for papers that are under way. */
  readonly #asked: Map<string, Promise<DeviceKeys>> = new Map()
  readonly #closing: AbortController = new AbortController()

  constructor(components: MessagesComponents, directory: Directory, replay: ReplayTable) {
    const { clock, constraints, conduct, inBook, logger, metrics, router, yieldTurn } = components
    this.#components = components
    this.directory = directory
    this.#sequences = new RecordSequences(components.boot, components.random)
    this.#slicer = new Slicer({ clock, yieldTurn })
    this.#tally = new MessageTally(metrics)
    const sessions = new Sessions(clock)
    const rates = new RateLimiter({ clock, constraints })
    const own = (): Did => components.device().did
    this.#verifier = new Verifier({
      own,
      clock,
      directory,
      sessions,
      replay,
      rates,
      conduct,
      tally: this.#tally,
      keeps: inBook,
      watch: () => this.#live.watch(),
    })
    this.#live = new Live({
      sessions,
      slicer: this.#slicer,
      verifier: this.#verifier,
      tally: this.#tally,
      logger,
      conduct,
      constraints,
      inBook: (did) => did === own() || inBook(did),
      openOn: (member, protocol, signal): Promise<LinkStream> => router.open(member, protocol, signal),
    })
    router.register(LIVE_PROTOCOL, 'everyone', (stream, context) => this.#live.serve(stream, context))
    router.handle(DEVICES_PROTOCOL, (stream, { peer, linkKey, signal }) => this.#serveDevices(stream, peer, linkKey, signal), { access: 'everyone' })
    router.handle(PAPERS_PROTOCOL, (stream, { peer, signal }) => this.#servePapers(stream, peer, signal), { access: 'everyone' })
  }

  get epoch(): number {
    return this.#sequences.epoch
  }

  get counters(): MessageCounters {
    return this.#tally.counters()
  }

  /** A connection was taken into the link table: its papers are known, and its session begins. */
  linked(member: Member, link: AuthenticatedLink): void {
    this.directory.linked(link)
    this.#live.linked(member)
  }

  async send(peer: string, type: number, payload: Uint8Array, options: Waiting & { readonly suite?: Suite } = {}): Promise<void> {
    const { resolve, onLink, clock } = this.#components
    const did = resolve(peer)
    const to = didPublicKey(did)
    const { suite = 'ed25519', signal } = options
    await onLink(did, signal, (member) =>
      this.#live.send(member, (session, seq) => this.#sign({ ...this.#from(), class: 'live', suite, to, session, seq, timeMs: clock.now(), type, payload })),
    )
  }

  handle(type: number, handler: LiveHandler, options?: LiveHandlerOptions): () => void {
    return this.#live.handle(type, handler, options)
  }

  signRecord({ topic, type, payload, suite = 'ed25519' }: RecordOptions): RecordMessage {
    const { did, didKey: from, linkSigner, mldsaSigner } = this.#components.device()
    const device = linkSigner.publicKey
    const seq = this.#sequences.next(topic)
    const timeMs = this.#components.clock.now()
    const bytes = signEnvelope(
      { class: 'record', suite, from, device, topic, epoch: this.epoch, seq, timeMs, type, payload },
      { ed25519: linkSigner, mldsa: mldsaSigner },
    )
    this.#tally.sent('record')
    return verifiedRecord(decodeEnvelope(bytes), did, device)
  }

  readRecord(bytes: Uint8Array): RecordHead {
    const { id, suite, from, device, timeMs, type, epoch, seq, payload, to } = this.restoreRecord(bytes)
    return { id, suite, from, device, topic: to.kind === 'topic' ? to.topic : '', timeMs, type, epoch, seq, payload }
  }

  restoreRecord(bytes: Uint8Array): RecordMessage {
    const envelope = decodeEnvelope(bytes)
    if (envelope.class !== 'record') throw new KithError('WIRE_MALFORMED', 'the envelope is no record', { details: { reason: 'another class' } })
    const { did, device } = senderNamed(envelope)
    return verifiedRecord(envelope, did, device)
  }

  verifyRecord(bytes: Uint8Array, topic: string, carrier: Carrier | undefined, { suite = 'ed25519' }: MessageHandlerOptions = {}): Promise<RecordMessage> {
    return this.#slicer.run(laneOf(carrier), () => this.#verifier.record(bytes, topic, { carrier, suite, protocol: 'record' }))
  }

  signStored({ to, type, payload, msgId, timeMs, expiresMs, suite }: StoredOptions): StoredMessage {
    if (expiresMs < timeMs || expiresMs - timeMs > MAX_LIFE_MS) throw new TypeError('a stored message expires at most 14 days after it was made')
    const { mldsaSigner } = this.#components.device()
    const chosen = suite ?? (mldsaSigner === undefined ? 'ed25519' : 'hybrid')
    const bytes = this.#sign({ ...this.#from(), class: 'stored', suite: chosen, to: didPublicKey(to), msgId, expiresMs, timeMs, type, payload })
    this.#tally.sent('stored')
    const envelope = decodeEnvelope(bytes)
    const { did, device } = senderNamed(envelope)
    return verifiedStored(envelope, did, device, { kind: 'did', did: to })
  }

  verifyStored(bytes: Uint8Array, carrier: Carrier | undefined, { suite = 'ed25519' }: MessageHandlerOptions = {}): Promise<StoredCheck> {
    return this.#slicer.run(laneOf(carrier), () => this.#verifier.stored(bytes, { carrier, suite, protocol: 'stored' }))
  }

  async fetchPapers(peer: string, did: Did, device: PublicKey, { signal }: Waiting = {}): Promise<DeviceKeys> {
    const asked = this.#components.resolve(peer)
    const key = `${asked} ${senderOf(did, device)}`
    let asking = this.#asked.get(key)
    if (asking === undefined) {
      asking = this.#fetchPapers(asked, did, device).finally(() => this.#asked.delete(key))
      // Whoever asked may have given up.
      asking.catch(() => undefined)
      this.#asked.set(key, asking)
    }
    return await (signal === undefined ? asking : abortable(asking, signal))
  }

  showPapers(rule: (asker: Did, did: Did, device: PublicKey) => boolean): () => void {
    this.#shown.add(rule)
    return () => void this.#shown.delete(rule)
  }

  onEquivocation(listener: (found: Equivocation) => void): () => void {
    return this.#live.onEquivocation(listener)
  }

  /** Ends the streams, so that links drain; what is being verified may finish. */
  stop(): void {
    this.#closing.abort(new KithError('CLOSED'))
    this.#live.close()
    this.#shown.clear()
  }

  /** @throws KithError `STORE_FAILED`. */
  async close(): Promise<void> {
    this.stop()
    await this.directory.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #from(): { readonly from: Uint8Array; readonly device: Uint8Array } {
    const { didKey, linkSigner } = this.#components.device()
    return { from: didKey, device: linkSigner.publicKey }
  }

  #sign(fields: EnvelopeFields): Uint8Array {
    const { linkSigner, mldsaSigner } = this.#components.device()
    return signEnvelope(fields, { ed25519: linkSigner, mldsa: mldsaSigner })
  }

  async #fetchPapers(peer: Did, did: Did, device: PublicKey): Promise<DeviceKeys> {
    const { clock, open } = this.#components
    const { signal } = this.#closing
    let have = (await this.directory.chainOf(did))?.index
    for (let round = 1; ; round++) {
      const stream = await open(peer, PAPERS_PROTOCOL, signal)
      const papers = await askPapers(stream, { did, device, haveIndex: have, clock, signal })
      if (papers === undefined) throw new KithError('DEVICE_UNKNOWN', 'the peer does not have these papers, or does not show them')
      try {
        const learned = await this.directory.learn(papers)
        await this.#fetchDevices(peer, did)
        if (this.directory.isRevoked(did, device)) throw new KithError('DEVICE_REVOKED')
        if (!equal(learned.device, device)) throw new KithError('BINDING_INVALID', 'the answer has the papers of another machine')
        return learned
      } catch (error) {
        const index = (await this.directory.chainOf(did))?.index
        if (!isKithError(error, 'CHAIN_STALE') || index === have || round >= MAX_ROUNDS) throw error
        have = index
      }
    }
  }

  /** What the identity says of its machines belongs to their papers; whoever does not serve it cannot make the machine acceptable by that. */
  async #fetchDevices(peer: Did, did: Did): Promise<void> {
    const { clock, open, logger } = this.#components
    const { signal } = this.#closing
    try {
      const have = await this.directory.roster(did)
      const documents = await askDevices(await open(peer, DEVICES_PROTOCOL, signal), { did, have, clock, signal })
      for (const document of documents) await this.directory.learnDevices(document)
    } catch (error) {
      logger.debug('no device documents', { peer, code: asKithError(error, 'INTERNAL').code })
    }
  }

  async #serveDevices(stream: Duplex, asker: Did, device: PublicKey, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#components
    const rosterOf = async (did: Did): Promise<DeviceRoster | undefined> => (this.#maySee(asker, did, device) ? await this.directory.roster(did) : undefined)
    await serveDevices(stream, { rosterOf, clock, signal }).catch((error: unknown) => {
      logger.debug('device documents not served', { peer: asker, code: asKithError(error, 'INTERNAL').code })
    })
  }

  async #servePapers(stream: Duplex, asker: Did, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#components
    const papersOf = async (did: Did, device: PublicKey, haveIndex: number): Promise<DevicePapers | undefined> =>
      this.#maySee(asker, did, device) ? await this.directory.papers(did, device, haveIndex) : undefined
    await servePapers(stream, { papersOf, clock, signal }).catch((error: unknown) => {
      logger.debug('papers not served', { peer: asker, code: asKithError(error, 'INTERNAL').code })
    })
  }

  #maySee(asker: Did, did: Did, device: PublicKey): boolean {
    const { inBook } = this.#components
    if (did === this.#components.device().did || did === asker || (inBook(asker) && inBook(did))) return true
    for (const rule of this.#shown) if (rule(asker, did, device)) return true
    return false
  }
}

function laneOf(carrier: Carrier | undefined): string {
  return carrier === undefined ? OWN_LANE : textOf(carrier.device)
}

import { fromHex, toHex, utf8 } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Store } from '../../core/store/types.ts'
import type { Did } from '../../identity/did.ts'
import type { Device } from '../../identity/types.ts'
import type { Mesh } from '../mesh-types.ts'
import { MAX_PAYLOAD_BYTES } from '../messages/envelope.ts'
import { type Carrier, MESSAGE_TYPE, type Messages } from '../messages/types.ts'
import { PeerRecords } from '../sealed/peer-records.ts'
import { Prekeys } from '../sealed/prekeys.ts'
import { MAX_LIFE_MS, MSG_ID_BYTES } from '../sealed/sealed-codec.ts'
import type { LinkEvent } from '../types.ts'
import { Agreements } from './agreements.ts'
import { MailboxClient } from './client.ts'
import { Collector } from './collector.ts'
import { Courier } from './courier.ts'
import { Hosted } from './hosted.ts'
import { Inbox } from './inbox.ts'
import { Intake } from './intake.ts'
import { type MailMetrics, mailMetrics } from './mail-metrics.ts'
import { Outbox } from './outbox.ts'
import { OwnRecord } from './own-record.ts'
import { MAILBOX_LIMITS, type MailboxLimits } from './quotas.ts'
import { RecordFetcher } from './record-fetcher.ts'
import { MailboxServer } from './server.ts'
import type { InboxEntry, Mail, MailboxStatus, MailPage, OutboxEntry, TellOptions, Told } from './types.ts'
import { MAILBOX_PROTOCOL, RECORD_PROTOCOL } from './wire.ts'
import { within } from './within.ts'

export interface MailComponents {
  readonly mesh: Pick<Mesh, 'did' | 'book' | 'policy' | 'handle' | 'openLean' | 'links' | 'dial' | 'onEvent'>
  readonly messages: Pick<
    Messages,
    'directory' | 'signStored' | 'verifyStored' | 'signRecord' | 'verifyRecord' | 'restoreRecord' | 'readRecord' | 'fetchPapers'
  >
  readonly store: Store
  /** This machine, as it is at each moment. */
  readonly device: () => Device
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics?: Metrics
  readonly limits?: Partial<MailboxLimits>
  /** Spreads this machine's record (a record envelope) beyond its links; called after the start and whenever it changed. */
  readonly publishRecord?: (record: Uint8Array) => void | Promise<void>
}

const DEFAULT_WAIT_MS = 10_000
/** Bytes that no registered type describes. */
const APPLICATION_TYPE = 0x8000
const SWEEP_MS = 600_000

/** Opens a node's mail; nothing touches the network before `start`. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
export async function createMail(components: MailComponents): Promise<Mail> {
  const { store, clock, logger, mesh, messages, random, device } = components
  const limits = { ...MAILBOX_LIMITS, ...components.limits }
  const metrics = mailMetrics(components.metrics)
  const changed: { run: () => void } = { run: () => undefined }
  const onNew = (): void => {
    metrics.prekeyMade()
    changed.run()
  }
  const opened: Opened = {
    prekeys: await Prekeys.open({ store, device, clock, random, logger, onNew }),
    records: await PeerRecords.open({ store, messages, clock, logger, keeps: (did) => mesh.book.get(did) !== undefined }),
    hosted: await Hosted.open({ store, clock, limits }),
    inbox: await Inbox.open(store, limits),
    outbox: await Outbox.open(store, clock, limits),
    agreements: await Agreements.open(store),
  }
  const mail = new MailNode(components, opened, metrics)
  changed.run = () => void mail.publish()
  return mail
}

interface Opened {
  readonly prekeys: Prekeys
  readonly records: PeerRecords
  readonly hosted: Hosted
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly agreements: Agreements
}

/** Wires the parts together; each rule lives in the part it is about. */
class MailNode implements Mail {
  readonly #components: MailComponents
  readonly #opened: Opened
  readonly #metrics: MailMetrics
  readonly #closing: AbortController = new AbortController()
  readonly #intake: Intake
  readonly #server: MailboxServer
  readonly #fetcher: RecordFetcher
  readonly #courier: Courier
  readonly #collector: Collector
  readonly #record: OwnRecord
  readonly #listeners: Set<(entry: InboxEntry) => void> = new Set()
  readonly #undo: (() => void)[] = []
  #sweeper: Timer | undefined
  #started = false
  #publishing: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(components: MailComponents, opened: Opened, metrics: MailMetrics) {
    const { mesh, messages, store, device, clock, random, logger } = components
    const { prekeys, records, hosted, inbox, outbox, agreements } = opened
    const { signal } = this.#closing
    const own = (): Did => mesh.did
    const { policy } = mesh
    this.#components = components
    this.#opened = opened
    this.#metrics = metrics
    this.#record = new OwnRecord({ prekeys, messages, device, hosts: () => agreements.hosts })
    const knows = (did: Did): boolean => mesh.book.get(did) !== undefined
    const arrived = (entry: InboxEntry): void => this.#arrived(entry)
    this.#intake = new Intake({ own, keys: prekeys, messages, policy, inbox, store, clock, metrics, knows, signal, onNew: arrived })
    const client = new MailboxClient(mesh, clock, signal)
    this.#server = new MailboxServer({
      own,
      intake: this.#intake,
      hosted,
      policy,
      clock,
      metrics,
      ownRecord: () => this.#record.current(),
      recordsOf: (about, asker) => this.#recordsFor(about, asker),
    })
    this.#fetcher = new RecordFetcher({ records, messages, client, logger, signal })
    this.#courier = new Courier({ mesh, outbox, records, fetcher: this.#fetcher, client, own, clock, random, logger, metrics, signal })
    this.#collector = new Collector({ mesh, client, intake: this.#intake, hosts: () => agreements.hosts, clock, random, logger, signal })
  }

  async start(): Promise<void> {
    if (this.#started) return
    this.#alive()
    this.#started = true
    const { mesh } = this.#components
    const { prekeys, outbox, agreements } = this.#opened
    await prekeys.current()
    this.#undo.push(
      mesh.policy.provide('mailbox', ({ peer }) => ({
        allowed: agreements.isHosting(peer),
        rule: agreements.isHosting(peer) ? 'messages are kept for this peer' : 'messages are kept for peers that were agreed on',
      })),
      mesh.handle(MAILBOX_PROTOCOL, (stream, context) => this.#server.mailbox(stream, context), { access: 'handler' }),
      mesh.handle(RECORD_PROTOCOL, (stream, context) => this.#server.records(stream, context), { access: 'handler' }),
      mesh.onEvent((event) => this.#onLink(event)),
    )
    prekeys.start()
    this.#collector.start()
    this.#sweep()
    this.#gauge()
    void this.publish()
    for (const did of outbox.waitingFor) void this.#courier.kick(did)
    this.#refreshLinked()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async tell(peer: string, message: string | Uint8Array, options: TellOptions = {}): Promise<Told> {
    this.#alive()
    const { mesh, messages, clock, random } = this.#components
    const { outbox, records } = this.#opened
    const { lifeMs = MAX_LIFE_MS, waitMs = DEFAULT_WAIT_MS, signal } = options
    if (!Number.isInteger(lifeMs) || lifeMs < 1_000 || lifeMs > MAX_LIFE_MS) throw new TypeError('a message is worth delivering for a second to 14 days')
    if (!Number.isInteger(waitMs) || waitMs < 0) throw new TypeError('waitMs is a number of milliseconds')
    signal?.throwIfAborted()
    const to = mesh.book.resolve(peer)
    if (to === mesh.did) throw new KithError('SELF_DIAL', 'this is the node itself')
    const payload = typeof message === 'string' ? utf8(message) : message
    if (payload.length > MAX_PAYLOAD_BYTES) {
      throw new KithError('MESSAGE_TOO_LARGE', `The message has ${payload.length} bytes; at most ${MAX_PAYLOAD_BYTES} are carried.`, {
        details: { length: payload.length, limit: MAX_PAYLOAD_BYTES },
        next: 'kith send PEER FILE',
      })
    }
    const type = options.type ?? (typeof message === 'string' ? MESSAGE_TYPE.text : APPLICATION_TYPE)
    const { forwardSecret } = await records.recipients(to)
    const msgId = random.bytes(MSG_ID_BYTES)
    const timeMs = clock.now()
    const expiresMs = timeMs + lifeMs
    const { bytes: envelope } = messages.signStored({ to, type, payload, msgId, timeMs, expiresMs })
    const cursor = await outbox.add({ msgId, to, timeMs, expiresMs, type, bytes: payload.length, forwardSecret, envelope })
    this.#gauge()
    if (this.#started) {
      const round = this.#courier.kick(to)
      if (waitMs > 0) await within(round, waitMs, clock, signal)
    }
    return { id: toHex(msgId), state: outbox.state(cursor), forwardSecret: outbox.get(cursor)?.forwardSecret ?? forwardSecret }
  }

  inbox(page: MailPage = {}): Promise<readonly InboxEntry[]> {
    return this.#opened.inbox.list(page)
  }

  find(idPrefix: string): readonly number[] {
    return this.#opened.inbox.find(idPrefix)
  }

  outbox(page: MailPage = {}): readonly OutboxEntry[] {
    return this.#opened.outbox.list(page)
  }

  onMessage(listener: (entry: InboxEntry) => void): () => void {
    const own = (entry: InboxEntry): void => listener(entry)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  async markRead(cursor: number): Promise<void> {
    await this.#opened.inbox.markRead(cursor)
    this.#gauge()
  }

  async delete(cursor: number): Promise<void> {
    await this.#opened.inbox.delete(cursor)
    this.#gauge()
  }

  async host(peer: string): Promise<void> {
    await this.#opened.agreements.host(this.#other(peer))
  }

  async unhost(peer: string): Promise<void> {
    await this.#opened.agreements.unhost(this.#other(peer))
  }

  async useHosts(peers: readonly string[]): Promise<void> {
    const { agreements } = this.#opened
    await agreements.useHosts(peers.map((peer) => this.#other(peer)))
    await this.publish()
    for (const host of agreements.hosts) void this.#collector.collect(host)
  }

  hosts(peer: Did): boolean {
    return this.#opened.agreements.isHosting(peer)
  }

  status(): MailboxStatus {
    const { agreements, hosted, inbox, outbox } = this.#opened
    return { hosting: agreements.hosting, hosts: agreements.hosts, kept: hosted.usage, inbox: inbox.usage, pending: outbox.pending }
  }

  async learnRecord(bytes: Uint8Array, carrier?: Carrier): Promise<boolean> {
    const news = await this.#opened.records.learn(bytes, carrier)
    if (!news) return false
    const { from } = this.#components.messages.readRecord(bytes)
    if (this.#started && this.#opened.outbox.unsettled(from).length > 0) void this.#courier.kick(from)
    return true
  }

  async forgetDevice(did: Did, device: Uint8Array): Promise<void> {
    await this.#opened.records.forget(did, device)
  }

  ownRecord(): Promise<Uint8Array> {
    return this.#record.current()
  }

  /** Spreads the own record as it is now. */
  async publish(): Promise<void> {
    const { publishRecord, logger } = this.#components
    if (publishRecord === undefined || !this.#started || this.#closing.signal.aborted) return
    const before = this.#publishing ?? Promise.resolve()
    this.#publishing = before
      .then(async () => await publishRecord(await this.#record.current()))
      .catch((error: unknown) => logger.warn('the peer record was not published', { code: asKithError(error, 'INTERNAL').code }))
    await this.#publishing
  }

  #other(peer: string): Did {
    this.#alive()
    const did = this.#components.mesh.book.resolve(peer)
    if (did === this.#components.mesh.did) throw new KithError('SELF_DIAL', 'this is the node itself')
    return did
  }

  #alive(): void {
    if (this.#closed !== undefined) throw new KithError('CLOSED', 'the mail of this node was closed')
  }

  async #close(): Promise<void> {
    this.#closing.abort(new KithError('CLOSED', 'the mail of this node was closed'))
    for (const undo of this.#undo) undo()
    this.#sweeper?.cancel()
    this.#opened.prekeys.close()
    this.#listeners.clear()
    await this.#courier.close()
    await this.#collector.close()
    await this.#publishing
  }

  #arrived(entry: InboxEntry): void {
    this.#gauge()
    for (const listener of [...this.#listeners]) {
      try {
        listener(entry)
      } catch (error) {
        this.#components.logger.error('a listener of messages failed', { error })
      }
    }
  }

  #onLink(event: LinkEvent): void {
    if (event.type !== 'up') return
    this.#courier.linked(event.peer)
    void this.#collector.collect(event.peer)
    if (this.#components.mesh.book.get(event.peer) !== undefined) void this.#fetcher.refresh(event.peer, fromHex(event.linkKey))
  }

  /** Prekeys of book peers are asked for while the peers are there: later they may not be. */
  #refreshLinked(): void {
    for (const { did, linkKey, state } of this.#components.mesh.links()) {
      if (state === 'connected' && this.#components.mesh.book.get(did) !== undefined) void this.#fetcher.refresh(did, fromHex(linkKey))
    }
  }

  /** The same rule as for chains: whom we know is shown to those we know. */
  async #recordsFor(about: Did, asker: Did): Promise<readonly Uint8Array[]> {
    const { mesh } = this.#components
    const { records } = this.#opened
    const { book } = mesh
    const shown = about === mesh.did || about === asker || (book.get(about) !== undefined && book.get(asker) !== undefined)
    if (!shown) return []
    const others = await records.envelopes(about)
    return about === mesh.did ? [await this.#record.current(), ...others] : others
  }

  #sweep(): void {
    this.#sweeper = this.#components.clock.after(SWEEP_MS, () => {
      void (async () => {
        try {
          await this.#opened.hosted.purge()
          for (const _ of await this.#opened.outbox.expire()) this.#metrics.sent('expired')
          this.#refreshLinked()
          this.#gauge()
        } catch (error) {
          this.#components.logger.error('mail was not swept', { code: asKithError(error, 'INTERNAL').code })
        }
        if (!this.#closing.signal.aborted) this.#sweep()
      })()
    })
  }

  #gauge(): void {
    this.#metrics.pending(this.#opened.outbox.pending)
    this.#metrics.kept(this.#opened.hosted.usage)
    this.#metrics.inbox(this.#opened.inbox.usage)
  }
}

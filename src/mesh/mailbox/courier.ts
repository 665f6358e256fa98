import { equal, fromHex } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { asKithError, type ErrorCode, isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { Mesh } from '../mesh-types.ts'
import type { PeerRecords, Recipients } from '../sealed/peer-records.ts'
import { sealMessage } from '../sealed/sealing.ts'
import type { Asked, MailboxClient } from './client.ts'
import type { MailMetrics } from './mail-metrics.ts'
import type { Outbox, OutboxRow } from './outbox.ts'
import type { RecordFetcher } from './record-fetcher.ts'
import { within } from './within.ts'

/**
 * # Bringing messages to their peers
 *
 * One round at a time per peer, a few peers at once:
 *
 * ```text
 * linked, or can be dialled ->  PUT to each machine that does not have it       -> delivered
 * otherwise, or not to all  ->  PUT at each host that the peer's records name   -> deposited
 * ```
 *
 * A round begins when something is told, when the peer or one of its hosts is linked, when a record of it comes, and after a time with full jitter that doubles
 * with each round that brought nothing. What was deposited is still offered to the peer when it is linked: only then is it known to have arrived.
 */
const ROUNDS_AT_ONCE = 8
const DIAL_MS = 20_000
/** After this long without an answer to the dial the hosts are tried beside it. */
const DIAL_HEAD_START_MS = 2_000
const RETRY_BASE_MS = 10_000
const RETRY_MAX_MS = 1_800_000
const RETRY_MIN_MS = 1_000
/** More hosts than this a peer does not need. */
const MAX_DEPOSITS = 6
/** A place whose rate is used up is waited for, so often in a row. */
const PATIENCE = 20
const RATE_PAUSE_MS = 250
const NEVER: Promise<void> = new Promise(() => undefined)

/** Nothing more is accepted at this place at the moment. */
const BUSY: ReadonlySet<ErrorCode> = new Set(['RATE_LIMITED', 'BUDGET_EXCEEDED', 'MAILBOX_FULL', 'INBOX_FULL', 'REPLAY_FULL', 'STORE_FAILED'])
/** What is wrong with one message, and not with the place. */
const OF_MESSAGE: ReadonlySet<ErrorCode> = new Set([
  'MESSAGE_EXPIRED',
  'MESSAGE_EARLY',
  'MESSAGE_STALE',
  'MESSAGE_TOO_LARGE',
  'REPLAY_PENDING',
  'MAILBOX_TAKEN',
  'SEALED_INVALID',
  'NEED_PREKEY',
  'NOT_FOR_US',
])

export interface CourierComponents {
  readonly mesh: Pick<Mesh, 'links' | 'dial'>
  readonly outbox: Outbox
  readonly records: PeerRecords
  readonly fetcher: RecordFetcher
  readonly client: MailboxClient
  readonly own: () => Did
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: MailMetrics
  readonly signal: AbortSignal
}

export class Courier {
  readonly #components: CourierComponents
  readonly #rounds: Map<Did, { readonly done: Promise<void>; again: boolean }> = new Map()
  readonly #attempts: Map<Did, number> = new Map()
  readonly #timers: Map<Did, Timer> = new Map()
  readonly #queue: (() => void)[] = []
  #running = 0

  constructor(components: CourierComponents) {
    this.#components = components
  }

  /** Begins a round for a peer, or another one behind the one that runs. `fresh`: something changed, so waiting times start over. Never rejects. */
  kick(did: Did, fresh = true): Promise<void> {
    if (this.#components.signal.aborted) return Promise.resolve()
    if (fresh) this.#attempts.delete(did)
    const running = this.#rounds.get(did)
    if (running !== undefined) {
      running.again = true
      return running.done
    }
    this.#timers.get(did)?.cancel()
    this.#timers.delete(did)
    const round = { done: this.#run(did), again: false }
    this.#rounds.set(did, round)
    return round.done
  }

  /** A peer was linked: what is for it, and what it may keep for others, can go. */
  linked(peer: Did): void {
    const { outbox, records } = this.#components
    for (const did of outbox.waitingFor) if (did === peer || records.hostsOf(did).includes(peer)) void this.kick(did)
  }

  /** Resolves when nothing runs any more; call it after the signal was aborted. */
  async close(): Promise<void> {
    for (const timer of this.#timers.values()) timer.cancel()
    this.#timers.clear()
    await Promise.all([...this.#rounds.values()].map(({ done }) => done))
  }

  async #run(did: Did): Promise<void> {
    // The round stands in the map before it begins.
    await this.#turn()
    try {
      for (;;) {
        await this.#round(did).catch((error: unknown) => {
          this.#components.logger.warn('messages not delivered', { peer: did, code: asKithError(error, 'INTERNAL').code })
        })
        const round = this.#rounds.get(did)
        if (round?.again !== true || this.#components.signal.aborted) break
        round.again = false
      }
    } finally {
      this.#rounds.delete(did)
      this.#running--
      this.#queue.shift()?.()
      this.#components.metrics.pending(this.#components.outbox.pending)
      this.#retry(did)
    }
  }

  async #turn(): Promise<void> {
    if (this.#running < ROUNDS_AT_ONCE) this.#running++
    else {
      await new Promise<void>((resolve) => {
        this.#queue.push(() => {
          this.#running++
          resolve()
        })
      })
    }
    await Promise.resolve()
  }

  #retry(did: Did): void {
    const { outbox, random, clock, signal } = this.#components
    if (signal.aborted || this.#timers.has(did) || !this.#hasWork(did)) {
      if (outbox.unsettled(did).length === 0) this.#attempts.delete(did)
      return
    }
    const attempt = this.#attempts.get(did) ?? 0
    this.#attempts.set(did, attempt + 1)
    const most = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** Math.min(attempt, 20))
    const timer = clock.after(RETRY_MIN_MS + Math.floor(random.unit() * most), () => {
      this.#timers.delete(did)
      void this.kick(did, false)
    })
    this.#timers.set(did, timer)
  }

  /** Whether a further round could bring something somewhere without the peer being linked first. */
  #hasWork(did: Did): boolean {
    const { outbox } = this.#components
    const hosts = this.#hostsFor(did)
    const linked = this.#machines(did)
    return outbox.unsettled(did).some((cursor) => {
      const row = outbox.get(cursor)
      if (row === undefined) return false
      if (row.acked.length === 0 && row.hosts.length === 0) return true
      return hosts.some((host) => !row.hosts.includes(host)) || linked.some((machine) => !has(row, machine))
    })
  }

  #machines(did: Did): readonly Uint8Array[] {
    return this.#components.mesh
      .links()
      .filter((link) => link.did === did && link.state === 'connected')
      .map(({ linkKey }) => fromHex(linkKey))
  }

  #hostsFor(did: Did): readonly Did[] {
    const own = this.#components.own()
    return this.#components.records
      .hostsOf(did)
      .filter((host) => host !== own)
      .slice(0, MAX_DEPOSITS)
  }

  async #round(did: Did): Promise<void> {
    const { outbox } = this.#components
    await outbox.expire()
    const cursors = outbox.unsettled(did)
    if (cursors.length === 0) return
    let dialling: Promise<void> | undefined
    if (this.#machines(did).length === 0 && cursors.some((cursor) => this.#isOnlyHere(cursor))) {
      dialling = this.#dial(did)
      await within(dialling, DIAL_HEAD_START_MS, this.#components.clock, this.#components.signal)
    }
    const direct = await this.#direct(did)
    if (!direct) await this.#deposit(did)
    if (dialling === undefined) return
    const before = this.#machines(did).length
    await dialling
    if (before === 0 && this.#machines(did).length > 0) await this.#direct(did)
  }

  #isOnlyHere(cursor: number): boolean {
    const row = this.#components.outbox.get(cursor)
    return row !== undefined && row.acked.length === 0 && row.hosts.length === 0
  }

  /** To each linked machine. @returns whether every message is settled now. */
  async #direct(did: Did): Promise<boolean> {
    const { outbox, fetcher } = this.#components
    for (const device of this.#machines(did)) {
      await fetcher.refresh(did, device)
      const missing = outbox.unsettled(did).filter((cursor) => !has(outbox.get(cursor), device))
      await this.#sendAll({ did, device }, did, missing, async (cursor) => {
        await outbox.change(cursor, { acked: [...(outbox.get(cursor)?.acked ?? []), device] })
        this.#components.metrics.sent('delivered')
      })
    }
    await this.#settle(did)
    return outbox.unsettled(did).length === 0
  }

  async #deposit(did: Did): Promise<void> {
    const { outbox, metrics } = this.#components
    for (const host of this.#hostsFor(did)) {
      const missing = outbox.unsettled(did).filter((cursor) => outbox.get(cursor)?.hosts.includes(host) === false)
      await this.#sendAll({ did: host }, did, missing, async (cursor) => {
        await outbox.change(cursor, { hosts: [...(outbox.get(cursor)?.hosts ?? []), host] })
        metrics.sent('deposited')
      })
    }
  }

  /** Brings messages to one place until it refuses more. */
  async #sendAll(place: Asked, to: Did, cursors: readonly number[], kept: (cursor: number) => Promise<void>): Promise<void> {
    const { outbox, metrics, clock, random, signal } = this.#components
    let stopped: KithError | undefined
    let patience = PATIENCE
    for (const cursor of cursors) {
      if (stopped !== undefined) {
        outbox.failed(cursor, stopped.code)
        continue
      }
      try {
        for (;;) {
          if (signal.aborted) return
          try {
            if (await this.#send(place, to, cursor)) await kept(cursor)
            patience = PATIENCE
            break
          } catch (error) {
            if (!isKithError(error, 'RATE_LIMITED') || patience-- === 0) throw error
            await within(NEVER, RATE_PAUSE_MS + Math.floor(random.unit() * RATE_PAUSE_MS), clock, signal)
          }
        }
      } catch (thrown) {
        const error = asKithError(thrown, 'INTERNAL')
        metrics.sent(error.code)
        outbox.failed(cursor, error.code)
        if (!OF_MESSAGE.has(error.code)) stopped = error
        // A place that is full now may have room a moment later; one that refuses does not change its mind as quickly.
        if (BUSY.has(error.code)) this.#attempts.delete(to)
      }
    }
  }

  /** @returns false when there is nothing to send. */
  async #send(place: Asked, to: Did, cursor: number): Promise<boolean> {
    const { outbox, records, client, random } = this.#components
    const row = outbox.get(cursor)
    const envelope = await outbox.envelope(cursor)
    if (row === undefined || envelope === undefined || row.settled) return false
    for (let attempt = 1; ; attempt++) {
      const recipients = await records.recipients(to)
      if (recipients.targets.length === 0) throw new KithError('DEVICE_UNKNOWN', 'no machine of the peer is known here yet')
      await this.#noteSecrecy(cursor, recipients)
      const sealed = sealMessage(envelope, { to, msgId: row.msgId, expiresMs: row.expiresMs }, recipients.targets, random)
      const answer = await client.put(place, sealed)
      if ('kept' in answer) {
        // Only the peer itself has an inbox for it, only a host a mailbox.
        if ((answer.kept === 'inbox') !== (place.did === to)) throw new KithError('WIRE_MALFORMED', 'the message was kept where it does not belong')
        return true
      }
      const news = place.did === to && (await records.learn(answer.record, undefined))
      if (!news || attempt > 1) throw new KithError('NEED_PREKEY')
    }
  }

  async #noteSecrecy(cursor: number, { forwardSecret }: Recipients): Promise<void> {
    const row = this.#components.outbox.get(cursor)
    if (row?.forwardSecret === true && !forwardSecret) await this.#components.outbox.change(cursor, { forwardSecret })
  }

  /** Settles what every machine of the peer has. */
  async #settle(did: Did): Promise<void> {
    const { outbox, records } = this.#components
    const candidates = outbox.unsettled(did).filter((cursor) => (outbox.get(cursor)?.acked.length ?? 0) > 0)
    if (candidates.length === 0) return
    const { targets, unreachable } = await records.recipients(did)
    if (unreachable > 0) return
    for (const cursor of candidates) {
      const row = outbox.get(cursor)
      if (row !== undefined && targets.every(({ device }) => has(row, device))) await outbox.change(cursor, { settled: true })
    }
  }

  async #dial(did: Did): Promise<void> {
    const { mesh, clock, signal } = this.#components
    const stop = new AbortController()
    const timer = clock.after(DIAL_MS, () => stop.abort(new KithError('TIMEOUT')))
    try {
      await mesh.dial(did, { signal: AbortSignal.any([signal, stop.signal]) })
    } catch (error) {
      for (const cursor of this.#components.outbox.unsettled(did)) this.#components.outbox.failed(cursor, asKithError(error, 'INTERNAL').code)
    } finally {
      timer.cancel()
    }
  }
}

function has(row: OutboxRow | undefined, device: Uint8Array): boolean {
  return row?.acked.some((acked) => equal(acked, device)) === true
}

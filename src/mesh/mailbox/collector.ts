import type { Clock, Timer } from '../../core/clock.ts'
import { asKithError, type ErrorCode, isKithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { Mesh } from '../mesh-types.ts'
import type { MailboxClient } from './client.ts'
import type { Intake } from './intake.ts'
import { MAX_DELETE } from './wire.ts'

/** A host that is linked is asked this often; when it comes up, at once. */
const POLL_MS = 60_000
const PAGE = MAX_DELETE
/** Pages of one round: what is left follows in the next. */
const MAX_PAGES = 256

/** What may be otherwise another time, so the message stays where it is. */
const LATER: ReadonlySet<ErrorCode> = new Set([
  'DEVICE_UNKNOWN',
  'BINDING_EXPIRED',
  'RATE_LIMITED',
  'REPLAY_PENDING',
  'REPLAY_FULL',
  'INBOX_FULL',
  'BANNED',
  'MESSAGE_EARLY',
  'STORE_FAILED',
  'CLOSED',
  'SECRET_WIPED',
  'INTERNAL',
  'VERSION_UNSUPPORTED',
])

export interface CollectorComponents {
  readonly mesh: Pick<Mesh, 'links'>
  readonly client: MailboxClient
  readonly intake: Pick<Intake, 'accept'>
  /** Peers that keep messages for this node. */
  readonly hosts: () => readonly Did[]
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly signal: AbortSignal
}

/**
 * Fetches what hosts keep for this node: LIST, GET, into the inbox, DELETE. A message is deleted at the host only after it is durable here, or can never be read
 * here; a crash between the two shows it again, and the replay mark knows it.
 */
export class Collector {
  readonly #components: CollectorComponents
  readonly #rounds: Map<Did, { done: Promise<void>; again: boolean }> = new Map()
  #timer: Timer | undefined

  constructor(components: CollectorComponents) {
    this.#components = components
  }

  start(): void {
    this.#schedule()
    this.#collectLinked()
  }

  /** A peer was linked, or became a host. Never rejects. */
  collect(host: Did): Promise<void> {
    const { hosts, signal } = this.#components
    if (signal.aborted || !hosts().includes(host)) return Promise.resolve()
    const running = this.#rounds.get(host)
    if (running !== undefined) {
      running.again = true
      return running.done
    }
    const round = { done: Promise.resolve(), again: false }
    this.#rounds.set(host, round)
    round.done = this.#run(host, round)
    return round.done
  }

  /** Resolves when nothing runs any more; call it after the signal was aborted. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    await Promise.all([...this.#rounds.values()].map(({ done }) => done))
  }

  async #run(host: Did, round: { again: boolean }): Promise<void> {
    do {
      round.again = false
      await this.#round(host).catch((error: unknown) => {
        this.#components.logger.debug('mailbox not fetched', { peer: host, code: asKithError(error, 'INTERNAL').code })
      })
    } while (round.again && !this.#components.signal.aborted)
    this.#rounds.delete(host)
  }

  async #round(host: Did): Promise<void> {
    const { client, signal } = this.#components
    let after: Uint8Array | undefined
    for (let page = 0; page < MAX_PAGES && !signal.aborted; page++) {
      const { messages, more } = await client.list({ did: host }, after, PAGE)
      const over: Uint8Array[] = []
      for (const { msgId } of messages) {
        if (signal.aborted) break
        if (await this.#take(host, msgId)) over.push(msgId)
      }
      if (over.length > 0) await client.delete({ did: host }, over)
      after = messages.at(-1)?.msgId
      if (!more || after === undefined) return
    }
  }

  /** @returns whether the host need not keep it any longer. */
  async #take(host: Did, msgId: Uint8Array): Promise<boolean> {
    const { client, intake, logger } = this.#components
    let sealed: Uint8Array
    try {
      sealed = await client.get({ did: host }, msgId)
    } catch (error) {
      // Expired, or deleted from another machine of ours, since it was listed.
      if (isKithError(error, 'NOT_FOUND')) return false
      throw error
    }
    try {
      await intake.accept(sealed, host)
      return true
    } catch (thrown) {
      const { code } = asKithError(thrown, 'INTERNAL')
      if (LATER.has(code)) return false
      logger.info('a message from a mailbox was not accepted', { host, code })
      return true
    }
  }

  #schedule(): void {
    const { clock, random, signal } = this.#components
    if (signal.aborted) return
    this.#timer = clock.after(POLL_MS / 2 + Math.floor(random.unit() * POLL_MS), () => {
      this.#collectLinked()
      this.#schedule()
    })
  }

  #collectLinked(): void {
    const { hosts, mesh } = this.#components
    const wanted = hosts()
    if (wanted.length === 0) return
    const linked = new Set(mesh.links().flatMap(({ did, state }) => (state === 'connected' ? [did] : [])))
    for (const host of wanted) if (linked.has(host)) void this.collect(host)
  }
}

import { equal } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import type { Store } from '../../core/store/types.ts'
import type { Did } from '../../identity/did.ts'
import { formatDid } from '../../identity/did.ts'
import { decodeEnvelope } from '../messages/envelope.ts'
import type { Messages, StoredCheck } from '../messages/types.ts'
import { type Opened, type OpeningKeys, openMessage } from '../sealed/sealing.ts'
import type { Policy } from '../types.ts'
import { Exclusive } from './exclusive.ts'
import type { Inbox } from './inbox.ts'
import type { MailMetrics } from './mail-metrics.ts'
import { accountOf } from './quotas.ts'
import type { InboxEntry } from './types.ts'

export interface IntakeComponents {
  readonly own: () => Did
  readonly keys: OpeningKeys
  readonly messages: Pick<Messages, 'verifyStored' | 'fetchPapers'>
  readonly policy: Pick<Policy, 'classOf' | 'constraints'>
  readonly inbox: Inbox
  readonly store: Store
  readonly clock: Clock
  readonly metrics: MailMetrics
  /** Whether a peer is in the address book. */
  readonly knows: (did: Did) => boolean
  readonly signal: AbortSignal
  /** A message is in the inbox, durably and for the first time. */
  readonly onNew: (entry: InboxEntry) => void
}

/**
 * The one way into the inbox, whether a message came over a link or out of a host's mailbox:
 *
 * ```text
 * open -> inside and outside agree -> PN-7 (signature, addressee, dates, replay, rate) -> room -> one batch: inbox rows and replay mark -> told
 * ```
 *
 * Whoever brought a sealed message cannot know what is inside, so nothing in it is held against the bringer.
 */
export class Intake {
  readonly #components: IntakeComponents
  readonly #writing: Exclusive = new Exclusive()

  constructor(components: IntakeComponents) {
    this.#components = components
  }

  /**
   * Takes a message in. Resolves when it is durable, also if it was before.
   * @throws KithError as `openMessage` and `Messages.verifyStored`; `INBOX_FULL`, `STORE_FAILED`.
   */
  async accept(sealed: Uint8Array, via: Did | undefined): Promise<'new' | 'known'> {
    const { metrics } = this.#components
    try {
      const outcome = await this.#accept(sealed, via)
      metrics.received(outcome)
      return outcome
    } catch (error) {
      metrics.received(asKithError(error, 'INTERNAL').code)
      throw error
    }
  }

  async #accept(sealed: Uint8Array, via: Did | undefined): Promise<'new' | 'known'> {
    const { own, keys } = this.#components
    const opened = await openMessage(sealed, own(), keys)
    checkInside(opened)
    let check: StoredCheck
    try {
      check = await this.#verify(opened.envelope)
    } catch (error) {
      if (isKithError(error, 'REPLAYED')) return 'known'
      throw error
    }
    try {
      await this.#writing.run(() => this.#write(check, via))
      return 'new'
    } finally {
      check.release()
    }
  }

  /**
   * Papers of a book peer that are missing or too old are asked of that peer itself: to ask anybody else would tell who writes to whom, and for a name that nobody
   * here knows nothing is done before it has proved itself.
   */
  async #verify(envelope: Uint8Array): Promise<StoredCheck> {
    const { messages, knows, signal } = this.#components
    try {
      return await messages.verifyStored(envelope, undefined)
    } catch (error) {
      if (!isKithError(error, 'DEVICE_UNKNOWN') && !isKithError(error, 'BINDING_EXPIRED')) throw error
      const { from, device } = decodeEnvelope(envelope)
      const sender = formatDid(parsePublicKey(from))
      if (!knows(sender)) throw error
      try {
        await messages.fetchPapers(sender, sender, parsePublicKey(device), { signal })
      } catch {
        throw error
      }
      return await messages.verifyStored(envelope, undefined)
    }
  }

  async #write(check: StoredCheck, via: Did | undefined): Promise<void> {
    const { policy, inbox, store, clock, onNew } = this.#components
    const { message, mark } = check
    const held = policy.classOf(message.from)
    const account = accountOf(message.from, held, policy.constraints(message.from))
    inbox.admit(account, held, message.payload.length)
    const write = inbox.prepare(message, { account, receivedMs: clock.now(), via })
    await store.batch([...write.operations, ...mark], { durable: true })
    check.commit()
    write.commit()
    onNew(write.entry)
  }
}

/** What stands outside is what was signed inside. @throws KithError `SEALED_INVALID`, `WIRE_MALFORMED`. */
function checkInside({ envelope, msgId, expiresMs }: Opened): void {
  const inside = decodeEnvelope(envelope)
  if (inside.class !== 'stored' || inside.expiresMs !== expiresMs || !equal(inside.name, msgId)) {
    throw new KithError('SEALED_INVALID', 'the message inside is not the one that its outside names')
  }
}

import type { Clock } from '../core/clock.ts'
import { asKithError } from '../core/errors.ts'
import type { Audit, AuditEvent } from '../core/observe/audit.ts'
import type { Logger } from '../core/observe/log.ts'
import { TokenBucket } from '../mesh/admission-rate.ts'

const PER_HOUR = 100

/**
 * What the node does by itself, for the audit log. Strangers make as many identities as they like and get each of them banned, so these rows are few: what goes
 * beyond a hundred an hour is counted and told in the next row, and the owner's own acts stay in the log.
 */
export class NodeActs {
  readonly #audit: Audit | undefined
  readonly #logger: Logger
  readonly #tokens: TokenBucket
  #last: Promise<void> = Promise.resolve()
  #untold = 0

  constructor(audit: Audit | undefined, clock: Clock, logger: Logger) {
    this.#audit = audit
    this.#logger = logger
    this.#tokens = new TokenBucket(clock, PER_HOUR / 3_600, PER_HOUR)
  }

  note(action: string, subject: string, reason: string, details: NonNullable<AuditEvent['details']> = {}): void {
    const audit = this.#audit
    if (audit === undefined) return
    if (!this.#tokens.take()) {
      this.#untold++
      return
    }
    const untold = this.#untold
    this.#untold = 0
    const event: AuditEvent = { actor: 'node', action, subject, reason, details: untold === 0 ? details : { ...details, not_recorded: untold } }
    // Asked at once: rows stand in the order of what they tell.
    const appended = audit.append(event).then(
      () => undefined,
      (error: unknown) => this.#logger.error('an act of the node was not recorded', { action, error: asKithError(error, 'STORE_FAILED').toJSON() }),
    )
    this.#last = this.#last.then(() => appended)
  }

  async close(): Promise<void> {
    await this.#last
  }
}

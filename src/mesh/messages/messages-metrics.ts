import type { ErrorCode } from '../../core/errors.ts'
import { type Metrics, silentMetrics } from '../../core/observe/metrics.ts'
import type { MessageClass } from './envelope.ts'
import type { MessageCounters } from './types.ts'

type Result = 'accepted' | 'unhandled' | 'denied' | 'failed' | ErrorCode

/** What became of messages. Refusals are counted by their code, and nobody is held to account for them here. */
export class MessageTally {
  readonly #total: ReturnType<typeof family>
  readonly #sent: ReturnType<typeof sentFamily>
  readonly #refused: Map<string, number> = new Map()
  #accepted = 0

  constructor(metrics: Metrics = silentMetrics) {
    this.#total = family(metrics)
    this.#sent = sentFamily(metrics)
  }

  accepted(kind: MessageClass): void {
    this.#accepted++
    this.#total.add(1, { class: kind, result: 'accepted' })
  }

  /** `kind` is `unknown` for what does not decode. */
  refused(kind: MessageClass | 'unknown', result: Exclude<Result, 'accepted'>): void {
    this.#refused.set(result, (this.#refused.get(result) ?? 0) + 1)
    this.#total.add(1, { class: kind, result })
  }

  sent(kind: MessageClass): void {
    this.#sent.add(1, { class: kind })
  }

  counters(): MessageCounters {
    return { accepted: this.#accepted, refused: Object.fromEntries(this.#refused) }
  }
}

function family(metrics: Metrics): ReturnType<typeof metrics.counter<'class' | 'result'>> {
  return metrics.counter('kith_messages_total', 'Signed messages that arrived, by delivery class (live, stored, record) and what became of them.', [
    'class',
    'result',
  ])
}

function sentFamily(metrics: Metrics): ReturnType<typeof metrics.counter<'class'>> {
  return metrics.counter('kith_messages_signed_total', 'Messages signed here, by delivery class.', ['class'])
}

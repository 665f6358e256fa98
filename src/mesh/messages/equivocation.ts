import { compare, equal, toHex } from '../../core/bytes.ts'
import type { Equivocation, LiveMessage, RecordMessage } from './types.ts'

/**
 * Finds machines that signed two different things under one number (PN-7): for records the same (device, topic, epoch, seq), for live messages the same
 * (device, session, seq). The two envelopes are the proof, so they are kept, the newest ones up to a bound; what falls out can no longer be used as proof, and accuses
 * nobody.
 */
export interface EquivocationLimits {
  readonly messages: number
  readonly bytes: number
}

const DEFAULT_LIMITS: EquivocationLimits = { messages: 16_384, bytes: 16 * 1024 * 1024 }

export class EquivocationIndex {
  readonly #limits: EquivocationLimits
  /** Envelopes by number; of all of them the oldest comes first. */
  readonly #seen: Map<string, RecordMessage | LiveMessage> = new Map()
  #bytes = 0

  constructor(limits: Partial<EquivocationLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
  }

  get size(): number {
    return this.#seen.size
  }

  /** Notes a verified message; tells the pair when another one had its number. */
  observe(message: RecordMessage | LiveMessage): Equivocation | undefined {
    const number = numberOf(message)
    const before = this.#seen.get(number)
    if (before !== undefined) return prove(before, message)
    this.#seen.set(number, message)
    this.#bytes += message.bytes.length
    for (const [oldest, { bytes }] of this.#seen) {
      if (this.#seen.size <= this.#limits.messages && this.#bytes <= this.#limits.bytes) break
      this.#seen.delete(oldest)
      this.#bytes -= bytes.length
    }
    return undefined
  }
}

function numberOf(message: RecordMessage | LiveMessage): string {
  const device = toHex(message.device)
  if (message.class === 'live') return `${device} ${toHex(message.session)} ${message.seq}`
  return `${device} ${message.epoch} ${message.seq} ${message.to.kind === 'topic' ? message.to.topic : ''}`
}

/** Signatures differ each time; only bodies, which the ids stand for, make two messages different. */
function prove(a: RecordMessage | LiveMessage, b: RecordMessage | LiveMessage): Equivocation | undefined {
  if (equal(a.id, b.id)) return undefined
  const proof: readonly [Uint8Array, Uint8Array] = compare(a.id, b.id) < 0 ? [a.bytes, b.bytes] : [b.bytes, a.bytes]
  return { did: a.from, device: a.device, proof }
}

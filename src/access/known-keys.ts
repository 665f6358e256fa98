import type { Clock } from '../core/clock.ts'
import type { ApiKeyRecord, Grant, IdentitySource } from './sources.ts'
import type { TrackedCaller } from './tracked.ts'

/** What all sources say of a key at one moment. */
interface KeyAnswers {
  readonly record: ApiKeyRecord
  /** By source, of the principal `key:NAME`. */
  readonly grants: readonly (Grant | undefined)[]
}

export interface KnownKey extends KeyAnswers {
  readonly caller: TrackedCaller
  readonly credential: string
}

/** Keys of which the caller is remembered. */
const MAX_KNOWN = 1_024

/**
 * API keys by their hash, with what the sources said of them and what came of it.
 *
 * Every source is asked again with every use, so that a key that was taken back, replaced, or given less is refused or narrowed by the very next request. What is spared
 * is only to add up the same answers again: they are compared as objects, since a source never changes what it once gave. The texts of keys are not kept.
 */
export class KnownKeys {
  readonly #sources: readonly IdentitySource[]
  readonly #clock: Clock
  readonly #known: Map<string, KnownKey> = new Map()
  /** A source that takes its time was met: nothing is asked here any more. */
  #slow = false

  constructor(sources: readonly IdentitySource[], clock: Clock) {
    this.#sources = sources
    this.#clock = clock
  }

  /** What came of it the last time, if every source still gives the same. */
  find(hash: string): KnownKey | undefined {
    const known = this.#known.get(hash)
    if (known === undefined || this.#record(hash) !== known.record || this.#hasExpired(known.record) || known.caller.revoked.aborted) return undefined
    const { caller, grants } = known
    for (let at = 0; at < this.#sources.length; at++) if (this.#grant(at, caller.id) !== grants[at]) return undefined
    return this.#slow ? undefined : known
  }

  /** What the sources say of it now. `undefined`: it does not come in, a source does not answer at once, or its identity has to be asked about too. */
  ask(hash: string): KeyAnswers | undefined {
    this.#known.delete(hash)
    if (this.#slow) return undefined
    const record = this.#record(hash)
    if (record === undefined || this.#hasExpired(record)) return undefined
    const id = `key:${record.name}`
    const grants = this.#sources.map((_, at) => this.#grant(at, id))
    const ofIdentity = record.grant.did !== undefined || grants.some((grant) => grant?.did !== undefined)
    return this.#slow || ofIdentity ? undefined : { record, grants }
  }

  remember(hash: string, known: KnownKey): void {
    const [oldest] = this.#known.keys()
    if (this.#known.size >= MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest)
    this.#known.set(hash, known)
  }

  /** The first that knows a key says its limits. */
  #record(hash: string): ApiKeyRecord | undefined {
    for (const source of this.#sources) {
      const found = this.#atOnce(source.apiKey?.(hash))
      if (found !== undefined) return found
    }
    return undefined
  }

  #grant(at: number, id: string): Grant | undefined {
    return this.#atOnce(this.#sources[at]?.grant?.(id))
  }

  #hasExpired({ expiresMs }: ApiKeyRecord): boolean {
    return expiresMs !== undefined && this.#clock.now() >= expiresMs
  }

  #atOnce<T extends object>(answer: T | undefined | Promise<T | undefined>): T | undefined {
    if (answer === undefined || !('then' in answer)) return answer
    // Whoever waits for it asks again, and hears of its failure.
    answer.then(undefined, () => undefined)
    this.#slow = true
    this.#known.clear()
    return undefined
  }
}

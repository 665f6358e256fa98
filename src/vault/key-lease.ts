import type { Clock, Timer } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

/** What `vault/derive` of another machine streams. */
export type KeyLeaseEvent =
  | { readonly key: string; readonly type: string; readonly path: string; readonly expires_at: string }
  | { readonly ended: 'expired' | 'locked' | 'revoked' }

/**
 * A private key of another machine's vault, held for as long as that machine wants: wiped when its time is over, when the other side says so, and when the stream
 * breaks, since from then on nobody would hear.
 */
export interface KeyLease extends Disposable {
  readonly type: string
  readonly path: string
  readonly ended: boolean
  /** The key, readable inside `read`, which keeps nothing of it. @throws KithError `CREDENTIAL_EXPIRED`, `VAULT_LOCKED`, `CLOSED`. */
  use<T>(read: (key: Buffer) => T): T
  /** Lets it go, and the stream. Idempotent. */
  release(): void
}

const KEY_BYTES = 32
/** Longer than any lease: what another machine says of its clock is not believed. */
const MAX_HELD_MS = 300_000

type End = 'expired' | 'locked' | 'revoked' | 'released'

/** Takes the stream of `vault/derive`. @throws KithError what the stream fails with, `VAULT_LOCKED`, `WIRE_MALFORMED`. */
export async function holdKey(
  events: AsyncIterable<KeyLeaseEvent>,
  { clock, ms = MAX_HELD_MS }: { readonly clock: Clock; readonly ms?: number },
): Promise<KeyLease> {
  const iterator = events[Symbol.asyncIterator]()
  const first = await iterator.next()
  if (first.done === true) throw malformed()
  if ('ended' in first.value) throw endError(first.value.ended)
  const { key, type, path } = first.value
  const bytes = Buffer.from(key, 'base64')
  if (bytes.length !== KEY_BYTES) {
    bytes.fill(0)
    throw malformed()
  }
  return new Held(Secret.take(bytes), { type, path }, iterator, clock, Math.min(ms, MAX_HELD_MS))
}

class Held implements KeyLease {
  readonly type: string
  readonly path: string
  readonly #secret: Secret
  readonly #iterator: AsyncIterator<KeyLeaseEvent>
  readonly #clock: Clock
  readonly #deadline: number
  readonly #timer: Timer
  #end: End | undefined

  constructor(
    secret: Secret,
    { type, path }: { readonly type: string; readonly path: string },
    iterator: AsyncIterator<KeyLeaseEvent>,
    clock: Clock,
    ms: number,
  ) {
    this.type = type
    this.path = path
    this.#secret = secret
    this.#iterator = iterator
    this.#clock = clock
    this.#deadline = clock.monotonic() + ms
    this.#timer = clock.after(ms, () => this.#finish('expired'))
    iterator.next().then(
      ({ done, value }) => this.#finish(done !== true && 'ended' in value ? value.ended : 'revoked'),
      () => this.#finish('revoked'),
    )
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  use<T>(read: (key: Buffer) => T): T {
    // The timer of a machine that slept comes late.
    if (this.#clock.monotonic() >= this.#deadline) this.#finish('expired')
    if (this.#end !== undefined) throw endError(this.#end)
    return this.#secret.use(read)
  }

  release(): void {
    this.#finish('released')
  }

  [Symbol.dispose](): void {
    this.#finish('released')
  }

  #finish(end: End): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#timer.cancel()
    this.#secret.wipe()
    this.#iterator.return?.()?.then(undefined, () => undefined)
  }
}

function endError(end: End): KithError {
  if (end === 'locked') return new KithError('VAULT_LOCKED', 'The vault that the key came from has locked.')
  if (end === 'released') return new KithError('CLOSED', 'The key was given back.')
  return new KithError('CREDENTIAL_EXPIRED', end === 'expired' ? 'The time of the key is over.' : 'The key was taken back.')
}

function malformed(): KithError {
  return new KithError('WIRE_MALFORMED', 'what came is no key')
}

import { inspect } from 'node:util'
import sodium from 'sodium-native'
import { KithError } from './errors.ts'
import { allocate, type GuardedMemory, release } from './guarded-memory.ts'
import type { Random } from './random.ts'

/**
 * # Secret
 *
 * Bytes in guarded pages of their own: locked into RAM and left out of core dumps (where the system allows it), between two guard pages,
 * unreadable except inside `use`, zeroed when wiped. There is no string form.
 *
 * ```text
 * | guard page | ... padding, canary, the secret | guard page |      one locked page (or more) each
 * ```
 *
 * A secret costs a page of locked memory (the usual limit of 8 MiB is 2,048 of them) and two system calls per use. It is made for
 * identities, device keys, passphrases and phrases; session keys live in the key slab (`leaseKey`).
 */
export class Secret {
  readonly length: number
  #memory: GuardedMemory | undefined
  #open = 0
  #wiped = false

  private constructor(length: number) {
    if (!Number.isInteger(length) || length < 1 || length > 1 << 20) throw new TypeError(`a secret has 1 to 1,048,576 bytes, not ${length}`)
    this.length = length
    this.#memory = allocate(length)
  }

  /** All zeros, to be filled. */
  static alloc(length: number): Secret {
    return new Secret(length)
  }

  /** Copies `bytes` into guarded memory and zeroes the source. */
  static take(bytes: Uint8Array): Secret {
    const secret = new Secret(bytes.length)
    secret.fill((target) => target.set(bytes))
    // In the language itself: the engine keeps small arrays among its objects, and a native call would be given, and clear, a copy made for it.
    Uint8Array.prototype.fill.call(bytes, 0)
    return secret
  }

  static random(length: number, random: Random): Secret {
    const secret = new Secret(length)
    secret.fill((target) => random.fill(target))
    return secret
  }

  get wiped(): boolean {
    return this.#wiped
  }

  /**
   * Runs `read` with the bytes readable. They become unreadable when it returns: touching the buffer later ends the process, so `read` must be
   * synchronous and keep no view. May be nested.
   * @throws KithError `SECRET_WIPED`; TypeError when `read` returns a promise.
   */
  use<T>(read: (bytes: Buffer) => T): T {
    const memory = this.#memory
    if (memory === undefined || this.#wiped) throw new KithError('SECRET_WIPED')
    if (this.#open++ === 0) sodium.sodium_mprotect_readonly(memory.pages)
    try {
      const result = read(memory.bytes)
      if (result instanceof Promise) throw new TypeError('a secret is readable only during a synchronous call')
      return result
    } finally {
      this.#shut(memory)
    }
  }

  /** Runs `write` with the bytes writable. @throws KithError `SECRET_WIPED`; TypeError inside `use` of the same secret. */
  fill(write: (bytes: Buffer) => void): void {
    const memory = this.#memory
    if (memory === undefined || this.#wiped) throw new KithError('SECRET_WIPED')
    if (this.#open > 0) throw new TypeError('a secret is not written while it is being read')
    this.#open++
    sodium.sodium_mprotect_readwrite(memory.pages)
    try {
      write(memory.bytes)
    } finally {
      this.#shut(memory)
    }
  }

  clone(): Secret {
    const copy = new Secret(this.length)
    this.use((bytes) => copy.fill((target) => target.set(bytes)))
    return copy
  }

  /** Constant-time in the bytes; the lengths are not secret. @throws KithError `SECRET_WIPED`. */
  equals(other: Secret): boolean {
    return this.use((a) => other.use((b) => a.length === b.length && sodium.sodium_memcmp(a, b)))
  }

  /** Zeroes the memory and gives it back; inside `use` as soon as that returns. Idempotent. */
  wipe(): void {
    this.#wiped = true
    if (this.#open === 0) this.#release()
  }

  [Symbol.dispose](): void {
    this.wipe()
  }

  toString(): string {
    return '[Secret]'
  }

  toJSON(): string {
    return '[Secret]'
  }

  #shut(memory: GuardedMemory): void {
    this.#open--
    if (this.#open > 0) return
    if (this.#wiped) this.#release()
    else sodium.sodium_mprotect_noaccess(memory.pages)
  }

  #release(): void {
    const memory = this.#memory
    if (memory === undefined) return
    this.#memory = undefined
    release(memory)
  }
}

Object.defineProperty(Secret.prototype, inspect.custom, { value: () => '[Secret]' })

export { memoryLocking } from './memory-locking.ts'

import { hash } from 'node:crypto'
import { equalSecret } from '../core/bytes.ts'
import type { Random } from '../core/random.ts'

/** `alk_` and 43 characters of base64url: 256 random bits. Kept here only as SHA-256 of the whole text. */
export const API_KEY_PREFIX = 'alk_'
const RANDOM_BYTES = 32
const TEXT = /^alk_[A-Za-z0-9_-]{8,200}$/

/** A new key. Whoever has it may use it: shown once. */
export function generateApiKey(random: Random): string {
  return API_KEY_PREFIX + Buffer.from(random.bytes(RANDOM_BYTES)).toString('base64url')
}

export function isApiKey(text: string): boolean {
  return TEXT.test(text)
}

/** SHA-256 of the whole text, in hex: what a key is looked up by, so that neither its beginning nor the order of keys matters. */
export function apiKeyHash(text: string): string {
  return hash('sha256', text, 'hex')
}

const HASH_LENGTH = 64
const left = Buffer.alloc(HASH_LENGTH)
const right = Buffer.alloc(HASH_LENGTH)

/** Two hashes in hex, in constant time. */
export function sameHash(a: string, b: string): boolean {
  if (a.length !== HASH_LENGTH || b.length !== HASH_LENGTH) return false
  left.write(a, 'latin1')
  right.write(b, 'latin1')
  return equalSecret(left, right)
}

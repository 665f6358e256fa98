import { wordlist } from '@scure/bip39/wordlists/english.js'
import { concat, utf8 } from '../core/bytes.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { pbkdf2Sha512 } from '../core/crypto/kdf.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'

/**
 * # BIP39 recovery phrases, English
 *
 * ```text
 * entropy 16 20 24 28 32 bytes || checksum: its first (entropy bits / 32) bits of SHA-256   ->   12 15 18 21 24 words of 11 bits each
 * seed(64) = PBKDF2-HMAC-SHA-512(password = the words with single spaces, salt = "mnemonic" || passphrase, 2048 rounds), both NFKD
 * ```
 *
 * A phrase is a `Secret` holding the words as UTF-8; words are looked up by their bytes. A JavaScript string appears only where the caller brings one
 * (`parsePhrase(text)`), because a terminal or a file was read into it; strings cannot be wiped, so such a caller drops it at once.
 */
const WORD_BITS = 11
const SPACE = 0x20
const ROUNDS = 2048
const SEED_BYTES = 64
/** The longest English word has eight letters. */
const MAX_WORD_BYTES = 8
const MAX_WORDS = 24
/** 24 words of 11 bits: 32 bytes of entropy and one of checksum. */
const MAX_PACKED_BYTES = 33
/** More than 24 words of eight letters with generous spacing; bounds what a foreign input costs. */
const MAX_INPUT_BYTES = 1024

export type PhraseLength = 12 | 15 | 18 | 21 | 24
const LENGTHS: readonly number[] = [12, 15, 18, 21, 24]

/** The list is sorted, so one packed buffer serves both directions: index to word, and word to index by bisection. */
const WORDS: readonly Buffer[] = wordlist.map((word) => Buffer.from(word))

/** The English word of an index 0..2047; also used where four words are compared aloud. */
export function wordAt(index: number): string {
  const word = wordlist[index]
  if (word === undefined) throw new TypeError('a word index is 0..2047')
  return word
}

/** A fresh phrase. @throws KithError `PHRASE_INVALID` for another number of words than 12, 15, 18, 21 or 24. */
export function generatePhrase(words: number, random: Random): Secret {
  if (!LENGTHS.includes(words)) throw wrongLength(words)
  const entropy = Secret.random((words * 4) / 3, random)
  try {
    return phraseOfEntropy(entropy)
  } finally {
    entropy.wipe()
  }
}

/** The phrase that stands for 16, 20, 24, 28 or 32 bytes of entropy. */
export function phraseOfEntropy(entropy: Secret): Secret {
  const count = (entropy.length * 3) / 4
  if (!LENGTHS.includes(count)) throw new TypeError('entropy of 16, 20, 24, 28 or 32 bytes')
  return entropy.use((bytes) => {
    const checksum = sha256(bytes)[0] as number
    const index = (word: number): number => bits(word * WORD_BITS, (at) => (at < bytes.length ? (bytes[at] as number) : checksum))
    let length = count - 1
    for (let word = 0; word < count; word++) length += (WORDS[index(word)] as Buffer).length
    const phrase = Secret.alloc(length)
    phrase.fill((target) => {
      let at = 0
      for (let word = 0; word < count; word++) {
        if (word > 0) target[at++] = SPACE
        at += (WORDS[index(word)] as Buffer).copy(target, at)
      }
    })
    return phrase
  })
}

/**
 * Reads a phrase as a person typed it: any white space between the words, upper or lower case. Gives the canonical form.
 * The input is left as it was; a `Secret` stays the caller's.
 * @throws KithError `PHRASE_INVALID` for a wrong number of words, a word outside the list (by position, never by name) or a wrong checksum.
 */
export function parsePhrase(input: string | Secret): Secret {
  if (typeof input !== 'string') return input.use(canonical)
  if (input.length > MAX_INPUT_BYTES) throw invalid('it is too long')
  const bytes = utf8(input.normalize('NFKD'))
  try {
    return canonical(bytes)
  } finally {
    bytes.fill(0)
  }
}

/** The 16, 20, 24, 28 or 32 bytes that a phrase stands for: the other way of `phraseOfEntropy`. @throws as `parsePhrase`. */
export function entropyOfPhrase(phrase: Secret): Secret {
  return phrase.use(entropyOf)
}

/** The 64-byte seed. The passphrase is BIP39's optional extra word, UTF-8; none and empty are the same. */
export function phraseToSeed(phrase: Secret, passphrase?: Secret): Secret {
  const salt = Secret.take(passphrase === undefined ? utf8('mnemonic') : passphrase.use((bytes) => concat(utf8('mnemonic'), normalised(bytes))))
  try {
    return salt.use((bytes) => pbkdf2Sha512(phrase, bytes, ROUNDS, SEED_BYTES))
  } finally {
    salt.wipe()
  }
}

/** NFKD of UTF-8. ASCII is its own normal form and never becomes a string; anything else passes through one, since the runtime normalises only strings. */
function normalised(bytes: Buffer): Uint8Array {
  return bytes.every((byte) => byte < 0x80) ? bytes : utf8(bytes.toString('utf8').normalize('NFKD'))
}

/** The 11 bits that begin at bit `from`. */
function bits(from: number, byteAt: (at: number) => number): number {
  const at = from >> 3
  const window = (byteAt(at) << 16) | (byteAt(at + 1) << 8) | byteAt(at + 2)
  return (window >> (24 - (from & 7) - WORD_BITS)) & 0x7ff
}

/** Checks words and checksum, and writes the phrase out in its one form. */
function canonical(input: Uint8Array): Secret {
  const entropy = entropyOf(input)
  try {
    return phraseOfEntropy(entropy)
  } finally {
    entropy.wipe()
  }
}

function entropyOf(input: Uint8Array): Secret {
  if (input.length > MAX_INPUT_BYTES) throw invalid('it is too long')
  const packed = Secret.alloc(MAX_PACKED_BYTES)
  const word = Secret.alloc(MAX_WORD_BYTES)
  try {
    let count = 0
    packed.fill((target) => {
      count = packWords(input, word, target)
    })
    const entropy = Secret.alloc((count * 4) / 3)
    try {
      packed.use((source) => {
        entropy.fill((target) => source.copy(target, 0, 0, entropy.length))
        const digest = entropy.use((bytes) => sha256(bytes))[0] as number
        const checksumBits = count / 3
        if (((source[entropy.length] as number) ^ digest) >> (8 - checksumBits) !== 0)
          throw invalid('its checksum does not match; a word is mistyped or out of place')
      })
      return entropy
    } catch (error) {
      entropy.wipe()
      throw error
    }
  } finally {
    packed.wipe()
    word.wipe()
  }
}

/** Writes the words' 11-bit indices side by side into `target` and returns how many there were. */
function packWords(input: Uint8Array, word: Secret, target: Buffer): number {
  let count = 0
  let from = 0
  for (let at = 0; at <= input.length; at++) {
    const byte = input[at]
    if (byte !== undefined && !isSpace(byte)) continue
    if (at > from) {
      if (count === MAX_WORDS) throw wrongLength('more than 24')
      const index = findWord(input.subarray(from, at), word)
      if (index === undefined) throw invalid(`word ${count + 1} is not in the English word list`, { position: count + 1 })
      const bit = count * WORD_BITS
      const window = index << (24 - (bit & 7) - WORD_BITS)
      for (let i = 0; i < 3; i++) {
        const place = (bit >> 3) + i
        if (place < target.length) target[place] = (target[place] as number) | ((window >> (16 - 8 * i)) & 0xff)
      }
      count++
    }
    from = at + 1
  }
  if (!LENGTHS.includes(count)) throw wrongLength(count)
  return count
}

function isSpace(byte: number): boolean {
  return byte === SPACE || (byte >= 0x09 && byte <= 0x0d)
}

/** Bisection over the sorted list; upper case letters count as lower case. */
function findWord(typed: Uint8Array, scratch: Secret): number | undefined {
  if (typed.length > MAX_WORD_BYTES) return undefined
  scratch.fill((lower) => {
    for (let i = 0; i < typed.length; i++) {
      const byte = typed[i] as number
      lower[i] = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
    }
  })
  return scratch.use((lower) => {
    let low = 0
    let high = WORDS.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const order = (WORDS[middle] as Buffer).compare(lower, 0, typed.length)
      if (order === 0) return middle
      if (order < 0) low = middle + 1
      else high = middle - 1
    }
    return undefined
  })
}

function wrongLength(count: number | string): KithError {
  return invalid(`it has 12, 15, 18, 21 or 24 words, not ${count}`)
}

function invalid(reason: string, details: { readonly [name: string]: number } = {}): KithError {
  return new KithError('PHRASE_INVALID', `not a recovery phrase: ${reason}`, { details: { reason, ...details } })
}

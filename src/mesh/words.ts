import { wordlist } from '@scure/bip39/wordlists/english.js'
import { hashLabeled } from '../core/crypto/labels.ts'
import { type Did, didPublicKey } from '../identity/did.ts'

export interface PairWordsInput {
  /** Hh of the link that carried the pairing, 32 bytes. */
  readonly helloHash: Uint8Array
  readonly inviter: Did
  readonly joiner: Did
  readonly inviterRandom: Uint8Array
  readonly joinerRandom: Uint8Array
}

const WORDS = 4
const BITS = 11

/** The first 44 bits as four BIP39 English words, the same on both sides of an honest pairing (PN-12 step 3). */
export function pairWords({ helloHash, inviter, joiner, inviterRandom, joinerRandom }: PairWordsInput): string {
  const digest = hashLabeled('icn/pair-words/v1', helloHash, didPublicKey(inviter), didPublicKey(joiner), inviterRandom, joinerRandom)
  return fourWords(digest)
}

/** The first 44 bits of a digest as four BIP39 English words: what two people compare by voice. */
export function fourWords(digest: Uint8Array): string {
  let bits = 0n
  for (const byte of digest.subarray(0, 8)) bits = (bits << 8n) | BigInt(byte)
  const words: string[] = []
  for (let at = 0; at < WORDS; at++) words.push(wordlist[Number((bits >> BigInt(64 - BITS * (at + 1))) & 0x7ffn)] as string)
  return words.join(' ')
}

import { createHash } from 'node:crypto'
import { mnemonicToEntropy } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { homeView } from '../../src/cli/passphrase.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Home } from '../../src/identity/home.ts'
import { openDevice } from '../../src/identity/keystore.ts'
import { parsePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { deriveIdentitySeeds } from '../../src/vault/identity-seeds.ts'

/** What is looked for, by the name it is reported with. */
export type Needles = Record<string, Uint8Array>

const bytesOf = (secret: Secret): Buffer => secret.use((bytes) => Buffer.from(bytes))
/** What an Ed25519 seed becomes before it signs: the clamped scalar. */
function scalarOf(seed: Uint8Array): Buffer {
  const scalar = createHash('sha512').update(seed).digest().subarray(0, 32)
  scalar[0] = (scalar[0] as number) & 248
  scalar[31] = ((scalar[31] as number) & 127) | 64
  return scalar
}

/** Everything secret that a phrase and a passphrase stand for. */
export function identityNeedles(words: readonly string[], passphrase: string): Needles {
  const text = words.join(' ')
  const phrase = parsePhrase(text)
  const seed = phraseToSeed(phrase)
  const needles: Needles = {
    phrase: Buffer.from(text),
    'phrase in UTF-16': Buffer.from(text, 'utf16le'),
    entropy: mnemonicToEntropy(text, wordlist),
    seed: bytesOf(seed),
    passphrase: Buffer.from(passphrase),
    'passphrase in UTF-16': Buffer.from(passphrase, 'utf16le'),
  }
  for (const [name, generation] of [
    ['identity', 0],
    ['next', 1],
  ] as const) {
    const { ed25519, mldsa } = deriveIdentitySeeds(seed, generation)
    needles[`${name} key`] = bytesOf(ed25519)
    needles[`${name} scalar`] = scalarOf(bytesOf(ed25519))
    needles[`${name} post-quantum seed`] = bytesOf(mldsa)
  }
  return needles
}

/** The keys of this machine, read beside the node that runs on them. */
export async function deviceNeedles(home: string, passphrase: string): Promise<Needles> {
  const secret = Secret.take(Buffer.from(passphrase))
  using device = await openDevice((await homeView(home)) as Home, { passphrase: secret, renew: false })
  const { ed25519, mldsa } = device.content.seeds
  const seed = bytesOf(ed25519)
  secret.wipe()
  return { 'device key': seed, 'device scalar': scalarOf(seed), 'device post-quantum seed': bytesOf(mldsa as Secret) }
}

import { createHash } from 'node:crypto'
import type { Secret } from '../../src/core/secret.ts'
import { deriveEthereum } from '../../src/vault/bip32.ts'
import { phraseToSeed } from '../../src/vault/bip39.ts'
import { encryptionKeyPath, IDENTITY, SSH_HOST, sitePasswordPath } from '../../src/vault/paths.ts'
import { passwordOf } from '../../src/vault/site-password.ts'
import { deriveEd25519, deriveNode } from '../../src/vault/slip10.ts'

const bytesOf = (value: Secret): Buffer => value.use((bytes) => Buffer.from(bytes))

/** The text that the process of memory-target.ts decrypts. */
export const PLAINTEXT: Buffer = Buffer.from('a plaintext that is looked for '.repeat(4))

/** Everything secret that comes from a phrase and that memory-target.ts uses. */
export function vaultNeedles(phrase: Secret): Record<string, Uint8Array> {
  const seed = phraseToSeed(phrase)
  const text = bytesOf(phrase)
  const ethereum = bytesOf(deriveEthereum(seed))
  const host = bytesOf(deriveEd25519(seed, SSH_HOST))
  const scalar = createHash('sha512').update(host).digest().subarray(0, 32)
  scalar[0] = (scalar[0] as number) & 248
  scalar[31] = ((scalar[31] as number) & 127) | 64
  const site = deriveEd25519(seed, sitePasswordPath('example.org'))
  return {
    phrase: text,
    'phrase in UTF-16': Buffer.from(text.toString(), 'utf16le'),
    seed: bytesOf(seed),
    root: bytesOf(deriveNode(seed, 'm')),
    'branch m/74’': bytesOf(deriveNode(seed, "m/74'")),
    'identity key': bytesOf(deriveEd25519(seed, IDENTITY)),
    'SSH host key': host,
    'SSH host scalar': scalar,
    'Ethereum key': ethereum,
    // As OpenSSL holds big numbers.
    'Ethereum key, reversed': Buffer.from(ethereum).reverse(),
    'encryption key 2': bytesOf(deriveEd25519(seed, encryptionKeyPath(2))),
    'encryption key 3': bytesOf(deriveEd25519(seed, encryptionKeyPath(3))),
    'site password': bytesOf(passwordOf(site, 'example.org', 24)),
  }
}

import assert from 'node:assert/strict'
import { createCipheriv, pbkdf2Sync } from 'node:crypto'
import { utf8 } from '../../../src/core/bytes.ts'
import { manualClock } from '../../../src/core/clock.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'
import { parseExtendedKey } from '../../../src/vault/bip32-extended.ts'
import { parsePhrase } from '../../../src/vault/bip39.ts'
import { isEncryptedData, parseEncryptedData } from '../../../src/vault/encrypted-data.ts'
import { decryptWithPassword } from '../../../src/vault/encrypted-data-v1.ts'
import { ETHEREUM, encryptionKeyPath, IDENTITY, parsePath, pathClass } from '../../../src/vault/paths.ts'
import { siteName } from '../../../src/vault/site-password.ts'
import { createVault } from '../../../src/vault/vault.ts'
import type { FuzzTarget } from '../mutate.ts'

const PHRASE = `${'abandon '.repeat(11)}about`
const text = (input: Uint8Array): string => Buffer.from(input).toString('utf8')

const paths: FuzzTarget = {
  name: 'vault-path',
  seeds: [IDENTITY, ETHEREUM, encryptionKeyPath(9), 'm', "m/2147483647'"].map(utf8),
  codes: ['PATH_INVALID'],
  run(input) {
    const indices = parsePath(text(input))
    assert.equal(['m', ...indices.map((index) => (index >= 2 ** 31 ? `${index - 2 ** 31}'` : `${index}`))].join('/'), text(input))
    return `${indices.length} ${pathClass(text(input))}`
  },
  tokens: ["'", '/', '/0', "/2147483647'", '4294967296', 'm/'].map(utf8),
}

const phrases: FuzzTarget = {
  name: 'vault-phrase',
  seeds: [utf8(PHRASE), utf8('legal winner thank year wave sausage worth useful legal winner thank yellow')],
  codes: ['PHRASE_INVALID'],
  run(input) {
    const secret = Secret.take(Uint8Array.from(input.length === 0 ? [0x20] : input))
    try {
      const phrase = parsePhrase(secret)
      // Its own form is a fixed point.
      const again = parsePhrase(phrase)
      assert.ok(again.equals(phrase))
      phrase.wipe()
      again.wipe()
    } finally {
      secret.wipe()
    }
    return 'phrase'
  },
  tokens: ['abandon ', 'about', ' ', '\t', 'zoo '].map(utf8),
  iterations: 6_000,
}

const extended: FuzzTarget = {
  name: 'vault-extended-key',
  seeds: [
    'xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8',
    'xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7',
  ].map(utf8),
  codes: ['KEY_INVALID'],
  run(input) {
    const { depth, privateKey } = parseExtendedKey(text(input))
    privateKey?.wipe()
    return `${depth} ${privateKey === undefined ? 'public' : 'private'}`
  },
  iterations: 6_000,
}

const vault = createVault({ clock: manualClock(), random: seededRandom('vault fuzz'), idleLockMs: 0 })
await vault.unlock({ phrase: PHRASE })
const honest = new Set(['a token', 'another text'])
const sealed = [...honest].map((plaintext, at) => vault.encrypt(utf8(plaintext), 2 + at))

/** Nobody here has the key: what opens was encrypted by its owner, and not changed. */
const forms: FuzzTarget = {
  name: 'vault-encrypted-data',
  seeds: sealed.map((data) => utf8(JSON.stringify(data))),
  codes: ['DECRYPT_FAILED', 'UNSUPPORTED'],
  run(input) {
    const data = parseEncryptedData(text(input))
    assert.ok(isEncryptedData(data))
    const plaintext = Buffer.from(vault.decrypt(data)).toString()
    assert.ok(honest.has(plaintext))
    assert.ok(sealed.some((one) => one.data === data.data && one.iv === data.iv && one.salt === data.salt && one.key_version === data.key_version))
    return plaintext
  },
  tokens: ['"key_version":1', '"key_version":3', '=', '"iv":"', '"salt":', ',"more":1', '\\u0041'].map(utf8),
  open: async () => {
    if (!vault.unlocked) await vault.unlock({ phrase: PHRASE })
  },
  close: async () => vault.lock(),
}

const password = Secret.take(utf8('old password'))
const legacySalt = Buffer.alloc(16, 3)
const cipher = createCipheriv('aes-256-gcm', pbkdf2Sync('old password', legacySalt, 100_000, 32, 'sha256'), Buffer.alloc(12, 1))
const legacy = {
  key_version: 1,
  salt: legacySalt.toString('base64'),
  iv: Buffer.alloc(12, 1).toString('base64'),
  data: Buffer.concat([cipher.update('old text'), cipher.final(), cipher.getAuthTag()]).toString('base64'),
}

const legacyForms: FuzzTarget = {
  name: 'vault-encrypted-data-v1',
  seeds: [utf8(JSON.stringify(legacy))],
  codes: ['DECRYPT_FAILED'],
  async run(input) {
    const plaintext = await decryptWithPassword(parseEncryptedData(text(input)), password)
    assert.equal(plaintext.toString(), 'old text')
    return 'opened'
  },
  tokens: ['"key_version":2', '=', '"iv":"', 'AAAA'].map(utf8),
  // Each that is well-formed costs 100,000 rounds.
  iterations: 400,
}

const sites: FuzzTarget = {
  name: 'vault-site-name',
  seeds: ['example.org', 'BÜCHER.example', 'a'].map(utf8),
  codes: ['USAGE'],
  run(input) {
    const name = siteName(text(input))
    assert.equal(siteName(name), name)
    assert.ok(Buffer.byteLength(name) <= 253)
    return 'name'
  },
  tokens: [' ', '://', '\u0130', '\u212a', '\u0000', '\u200b'].map(utf8),
}

export const vaultTargets: readonly FuzzTarget[] = [paths, phrases, extended, forms, legacyForms, sites]

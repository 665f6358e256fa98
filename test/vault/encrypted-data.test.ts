import assert from 'node:assert/strict'
import { createCipheriv, pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromHex, utf8 } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { decodeBase64, type EncryptedData, isEncryptedData, MAX_KEY_VERSION, MAX_PLAINTEXT_BYTES, parseEncryptedData } from '../../src/vault/encrypted-data.ts'
import { decryptWithPassword } from '../../src/vault/encrypted-data-v1.ts'
import { createVault, type Vault } from '../../src/vault/vault.ts'

const PHRASE = `${'abandon '.repeat(11)}about`
/** SLIP-0010 at m/74'/2'/0'/0' of that phrase, as published. */
const KEY = fromHex('fbed5fa9110df4214baa259a4cd6bd3902373231472d317b8f3686b1d63df17a')
const FAILED = { code: 'DECRYPT_FAILED', message: 'The ciphertext does not open with this key.' }

async function open(): Promise<Vault> {
  const vault = createVault({ clock: manualClock(), random: seededRandom(1) })
  await vault.unlock({ phrase: PHRASE })
  return vault
}
const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

/** What the original writes: the key of the path or of a password, no associated data. */
function legacy(key: Uint8Array, version: number, salt: Uint8Array, text: string): EncryptedData {
  const iv = Buffer.alloc(12, 9)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  const data = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()])
  return { key_version: version, salt: b64(salt), iv: b64(iv), data: b64(data) }
}

test('encrypted data, any bytes and any version, opens to what was put in, also from its JSON', async () => {
  const vault = await open()
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 4_000 }), fc.integer({ min: 2, max: 40 }), (bytes, version) => {
      const data = vault.encrypt(bytes, version)
      assert.equal(data.key_version, version)
      assert.deepEqual(Uint8Array.from(vault.decrypt(parseEncryptedData(JSON.stringify(data)))), bytes)
      const secret = vault.decryptSecret(vault.encrypt(Secret.take(Uint8Array.from(bytes)), version))
      assert.deepEqual(Uint8Array.from(secret.use((inner) => Buffer.from(inner))), bytes)
      secret.wipe()
    }),
    { numRuns: 60 },
  )
})

test('encrypted data, the layout, is AES-256-GCM with the key of its path and label, version and salt as associated data', async () => {
  const vault = await open()
  const data = vault.encrypt(utf8('text'))
  const [salt, iv, sealed] = [data.salt, data.iv, data.data].map((text) => Buffer.from(text, 'base64')) as [Buffer, Buffer, Buffer]
  assert.deepEqual([data.key_version, salt.length, iv.length, sealed.length], [2, 32, 12, 20])
  const cipher = createCipheriv('aes-256-gcm', KEY, iv)
  cipher.setAAD(Buffer.concat([Buffer.from('\x13kith/sealed-data/v2'), Buffer.of(0, 0, 0, 2), salt]))
  assert.equal(data.data, b64(Buffer.concat([cipher.update('text'), cipher.final(), cipher.getAuthTag()])))
})

test('encryptions, a thousand of the same text, share neither nonce nor salt', async () => {
  const vault = await open()
  const all = Array.from({ length: 1_000 }, () => vault.encrypt(utf8('x')))
  for (const field of ['iv', 'salt', 'data'] as const) assert.equal(new Set(all.map((data) => data[field])).size, 1_000)
})

test('encrypted data, every bit of every field flipped, gives one and the same error', async () => {
  const vault = await open()
  const data = vault.encrypt(utf8('some text'))
  for (const field of ['salt', 'iv', 'data'] as const) {
    const bytes = Buffer.from(data[field], 'base64')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.throws(() => vault.decrypt({ ...data, [field]: b64(changed) }), FAILED)
    }
  }
})

test('encrypted data, its version edited to that of another key or none, does not open', async () => {
  // The original ignored the version; bound to nothing, it could be set at will.
  const vault = await open()
  const data = vault.encrypt(utf8('some text'), 3)
  for (const version of [2, 4, 0, -1, 1.5, Number.NaN, 2 ** 32, MAX_KEY_VERSION + 1])
    assert.throws(() => vault.decrypt({ ...data, key_version: version }), FAILED, String(version))
  const unbound = legacy(KEY, 2, Buffer.alloc(32), 'text')
  assert.throws(() => vault.decrypt(unbound), FAILED)
})

test('encrypted data, a nonce, salt or text of a wrong length, does not open and ends nothing', async () => {
  // The original fell over a nonce of another length.
  const vault = await open()
  const data = vault.encrypt(utf8('some text'))
  for (const length of [0, 1, 11, 13, 16, 1_000]) assert.throws(() => vault.decrypt({ ...data, iv: b64(Buffer.alloc(length)) }), FAILED)
  for (const length of [0, 31, 33, 100]) assert.throws(() => vault.decrypt({ ...data, salt: b64(Buffer.alloc(length)) }), FAILED)
  for (const length of [0, 1, 15, 16, 17]) assert.throws(() => vault.decrypt({ ...data, data: b64(Buffer.alloc(length)) }), FAILED)
  assert.throws(() => vault.decrypt({ ...data, data: 'A'.repeat(2_000_000) }), FAILED)
})

test('encrypted data, base64 in another spelling, does not open', async () => {
  const vault = await open()
  const data = vault.encrypt(utf8('some text, long enough for the letters + and / to be there in one of the fields, always'))
  const spellings = (text: string): string[] => [
    `${text}=`,
    text.replace(/=+$/, ''),
    ` ${text}`,
    `${text}\n`,
    `${text.slice(0, 4)}\n${text.slice(4)}`,
    text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, ''),
    `${text}!`,
    '',
  ]
  for (const field of ['salt', 'iv', 'data'] as const)
    for (const text of spellings(data[field]))
      if (text !== data[field]) assert.throws(() => vault.decrypt({ ...data, [field]: text }), FAILED, `${field} ${text}`)
  // A salt of 32 bytes leaves two bits of its last letter unused.
  const [last, other] = [data.salt.at(-2) as string, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/']
  const next = other[other.indexOf(last) + 1] as string
  assert.throws(() => vault.decrypt({ ...data, salt: `${data.salt.slice(0, -2)}${next}=` }), FAILED)
})

test('base64, any text, is read exactly when it is what its bytes are written as', () => {
  const letters = fc.constantFrom(...'ABCZaz059+/=-_ \n!é\u{1f600}')
  const near = fc.uint8Array({ maxLength: 40 }).chain((bytes) => {
    const text = b64(bytes)
    return fc
      .tuple(fc.nat(text.length), fc.nat(2), fc.array(letters, { maxLength: 2 }))
      .map(([at, cut, put]) => text.slice(0, at) + put.join('') + text.slice(at + cut))
  })
  const target = Buffer.alloc(400)
  fc.assert(
    fc.property(
      fc.oneof(
        near,
        fc.array(letters, { maxLength: 40 }).map((parts) => parts.join('')),
      ),
      (text) => {
        const bytes = Buffer.from(text, 'base64')
        if (bytes.toString('base64') === text) assert.deepEqual(target.subarray(0, decodeBase64(text, target)), bytes)
        else assert.throws(() => decodeBase64(text, target), FAILED)
      },
    ),
    { numRuns: 3_000 },
  )
})

test('encryption, nothing or more than 1 MiB, a TypeError; 1 MiB works', async () => {
  const vault = await open()
  assert.throws(() => vault.encrypt(new Uint8Array(0)), TypeError)
  assert.throws(() => vault.encrypt(new Uint8Array(MAX_PLAINTEXT_BYTES + 1)), TypeError)
  const whole = vault.encrypt(new Uint8Array(MAX_PLAINTEXT_BYTES))
  assert.equal(vault.decryptSecret(parseEncryptedData(JSON.stringify(whole))).length, MAX_PLAINTEXT_BYTES)
  for (const version of [0, 1, 2.5, MAX_KEY_VERSION + 1]) assert.throws(() => vault.encrypt(utf8('x'), version), { code: 'PATH_INVALID' })
})

test('parser, anything but the four fields, gives the one error', () => {
  const good = { key_version: 2, salt: 'a', iv: 'b', data: 'c' }
  assert.deepEqual(parseEncryptedData(JSON.stringify(good)), good)
  const bad = ['', '{', 'null', '[]', '"x"', '1', JSON.stringify({ ...good, more: 1 }), JSON.stringify({ ...good, key_version: '2' }), 'x'.repeat(3_000_000)]
  bad.push(JSON.stringify({ ...good, salt: 1 }), JSON.stringify({ ...good, key_version: 2.5 }), JSON.stringify({ salt: '', iv: '', data: '' }))
  for (const text of bad) assert.throws(() => parseEncryptedData(text), FAILED, text.slice(0, 40))
  assert.equal(isEncryptedData(Object.create(good)), false)
})

test('rotation, to a later key, opens with it alone; back to an earlier one is refused', async () => {
  const vault = await open()
  const data = vault.encrypt(utf8('text'))
  const rotated = vault.rotate(data, 5)
  assert.equal(rotated.key_version, 5)
  assert.equal(Buffer.from(vault.decrypt(rotated)).toString(), 'text')
  assert.throws(() => vault.decrypt({ ...rotated, key_version: 2 }), FAILED)
  assert.throws(() => vault.rotate(rotated, 4), TypeError)
  const again = vault.rotate(rotated)
  assert.equal(again.key_version, 5)
  assert.notEqual(again.data, rotated.data)
})

test('vault with a later key version, encrypts with that and opens what was before', async () => {
  const first = await open()
  const later = createVault({ clock: manualClock(), keyVersion: 4 })
  await later.unlock({ phrase: PHRASE })
  assert.equal(later.encrypt(utf8('x')).key_version, 4)
  assert.equal(later.rotate(first.encrypt(utf8('x'))).key_version, 4)
  assert.throws(() => createVault({ clock: manualClock(), keyVersion: 1 }), { code: 'PATH_INVALID' })
})

test('version 1, encrypted with a password by the predecessor, is imported with it and refused by decrypt', async () => {
  const vault = await open()
  const password = Secret.take(Buffer.from('correct horse'))
  for (const length of [16, 32]) {
    const salt = Buffer.alloc(length, 3)
    const data = legacy(pbkdf2Sync('correct horse', salt, 100_000, 32, 'sha256'), 1, salt, 'old text')
    assert.throws(() => vault.decrypt(data), { code: 'UNSUPPORTED' })
    assert.throws(() => vault.rotate(data), { code: 'UNSUPPORTED' })
    const imported = await vault.importEncrypted(data, password)
    assert.equal(imported.key_version, 2)
    assert.equal(Buffer.from(vault.decrypt(imported)).toString(), 'old text')
    await assert.rejects(vault.importEncrypted(data, Secret.take(Buffer.from('wrong'))), FAILED)
    await assert.rejects(vault.importEncrypted({ ...data, data: data.data.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A')) }, password), FAILED)
  }
  assert.equal(password.wiped, false)
})

test('version 1, a form of another version or length, gives the one error before any work', async () => {
  const password = Secret.take(Buffer.from('p'))
  const data = legacy(Buffer.alloc(32), 1, Buffer.alloc(16), 'text')
  for (const wrong of [{ key_version: 2 }, { key_version: 0 }, { salt: b64(Buffer.alloc(7)) }, { salt: b64(Buffer.alloc(67)) }, { iv: '' }, { data: '' }])
    await assert.rejects(decryptWithPassword({ ...data, ...wrong }, password), FAILED)
})

test('import, the vault locked while the password was worked on, is VAULT_LOCKED', async () => {
  const vault = await open()
  const salt = Buffer.alloc(16, 3)
  const data = legacy(pbkdf2Sync('p', salt, 100_000, 32, 'sha256'), 1, salt, 'old text')
  const imported = vault.importEncrypted(data, Secret.take(Buffer.from('p')))
  vault.lock()
  await assert.rejects(imported, { code: 'VAULT_LOCKED' })
})

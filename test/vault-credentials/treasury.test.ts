import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { equal, toHex, utf8 } from '../../src/core/bytes.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { seededRandom } from '../../src/core/random.ts'
import { controlRoutes } from '../../src/daemon/control/routes/index.ts'
import { pathClass, TREASURY } from '../../src/vault/paths.ts'
import { ed25519Pem } from '../../src/vault/pkcs8.ts'
import { createTreasury, decodeTreasury, exportTreasuryKey, listTreasuries, MAX_TREASURIES } from '../../src/vault/treasury.ts'
import { createVault } from '../../src/vault/vault.ts'
import { bench, reveal } from './make.ts'

const NS = 'vault/treasury'

test('treasury key, made, is listed without the vault and opens only with it', async () => {
  const base = await bench()
  const made = await createTreasury({ ...base.common, vault: base.vault }, 'coop')
  const seed = await exportTreasuryKey(base, 'coop')
  assert.ok(equal(publicKeyOfSeed(seed), made.publicKey))
  base.vault.lock()
  assert.deepEqual(await listTreasuries(base.store), [made])
  await assert.rejects(exportTreasuryKey(base, 'coop'), { code: 'VAULT_LOCKED' })
  await assert.rejects(createTreasury({ ...base.common, vault: base.vault }, 'other'), { code: 'VAULT_LOCKED' })
})

test('treasury keys of one phrase and one name are random: two vaults of it make two different ones', async () => {
  const keys: string[] = []
  for (const seed of ['one', 'two']) {
    const base = await bench()
    keys.push(toHex((await createTreasury({ ...base.common, vault: base.vault, random: seededRandom(seed) }, 'coop')).publicKey))
  }
  assert.notEqual(keys[0], keys[1])
})

test('treasury key in the store is sealed, and what decrypts for other purposes does not open it', async () => {
  const base = await bench()
  await createTreasury({ ...base.common, vault: base.vault }, 'coop')
  const seed = (await exportTreasuryKey(base, 'coop')).use((bytes) => Buffer.from(bytes))
  const row = await base.store.get(NS, utf8('coop'))
  assert.ok(row !== undefined && !Buffer.from(row).includes(seed))
  const sealed = Buffer.from(decodeTreasury(row).sealed)
  for (const version of [2, 3, 4]) {
    const form = {
      key_version: version,
      salt: Buffer.alloc(32).toString('base64'),
      iv: sealed.subarray(0, 12).toString('base64'),
      data: sealed.subarray(12).toString('base64'),
    }
    assert.throws(() => base.vault.decrypt(form), { code: 'DECRYPT_FAILED' })
  }
  assert.equal(pathClass(TREASURY), 'treasury')
})

test('stored treasury key, changed at any byte, under another name or in another vault, is refused', async () => {
  const base = await bench()
  await createTreasury({ ...base.common, vault: base.vault }, 'coop')
  const row = await base.store.get(NS, utf8('coop'))
  assert.ok(row)
  for (let at = 0; at < row.length; at++) {
    const changed = Uint8Array.from(row)
    changed[at] = (changed[at] as number) ^ 0x10
    await base.store.put(NS, utf8('coop'), changed)
    await assert.rejects(exportTreasuryKey(base, 'coop'), { code: 'KEYSTORE_DAMAGED' }, `byte ${at}`)
  }
  for (let length = 0; length < row.length; length++) assert.throws(() => decodeTreasury(row.subarray(0, length)), { code: 'KEYSTORE_DAMAGED' })
  await base.store.put(NS, utf8('coop'), row)
  await base.store.put(NS, utf8('other'), row)
  await assert.rejects(exportTreasuryKey(base, 'other'), { code: 'KEYSTORE_DAMAGED' })
  const stranger = createVault({ clock: base.clock, idleLockMs: 0 })
  ;(await stranger.unlockNew(12)).wipe()
  await assert.rejects(exportTreasuryKey({ store: base.store, vault: stranger }, 'coop'), { code: 'KEYSTORE_DAMAGED' })
  stranger.lock()
})

test('treasury of a name that is taken, is none, or is one too many is refused', async () => {
  const base = await bench()
  const options = { ...base.common, vault: base.vault }
  await createTreasury(options, 'coop')
  const before = await base.store.get(NS, utf8('coop'))
  await assert.rejects(createTreasury(options, 'coop'), { code: 'USAGE' })
  assert.deepEqual(await base.store.get(NS, utf8('coop')), before)
  for (const name of ['', 'Coop', '-a', 'a/b', 'a b', 'a'.repeat(65)]) {
    await assert.rejects(createTreasury(options, name), { code: 'USAGE' })
    await assert.rejects(exportTreasuryKey(base, name), { code: 'USAGE' })
  }
  await assert.rejects(exportTreasuryKey(base, 'none'), { code: 'NOT_FOUND' })
  for (let i = 1; i < MAX_TREASURIES; i++) await createTreasury(options, `coop-${i}`)
  await assert.rejects(createTreasury(options, 'last'), { code: 'USAGE' })
})

test('exported key, as PKCS#8, is read by OpenSSL and has the public key of the treasury', async () => {
  const base = await bench()
  const { publicKey } = await createTreasury({ ...base.common, vault: base.vault }, 'coop')
  const pem = reveal(ed25519Pem(await exportTreasuryKey(base, 'coop')))
  const jwk = createPublicKey(createPrivateKey(pem)).export({ format: 'jwk' })
  assert.equal(jwk.x, Buffer.from(publicKey).toString('base64url'))
  assert.equal(createPrivateKey(pem).export({ format: 'pem', type: 'pkcs8' }), pem)
})

test('treasury key is not exportable by any control route, and no gateway can offer what there is not', () => {
  const about = Object.keys(controlRoutes).filter((key) => /treasur/i.test(key))
  assert.deepEqual(about.sort(), ['GET /v1/treasury', 'POST /v1/treasury/create'])
  const calls = sourcesWith(/\b(exportTreasury|exportTreasuryKey|ed25519Pem)\b/)
  assert.deepEqual(calls.sort(), ['cli/commands/vault/treasury.ts', 'daemon/credentials/treasury.ts', 'vault/pkcs8.ts', 'vault/treasury.ts'])
  // The one file of the daemon's side that exports works with the home's lock, which a running node holds.
  assert.match(readFileSync(join(SRC, 'daemon/credentials/treasury.ts'), 'utf8'), /exportTreasury\([\s\S]*?withOfflineVault\(/)
})

const SRC = new URL('../../src/', import.meta.url).pathname

function sourcesWith(pattern: RegExp): string[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && pattern.test(readFileSync(join(SRC, file), 'utf8')))
}

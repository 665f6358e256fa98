import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { toHex, utf8 } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { verify } from '../../src/core/crypto/ed25519.ts'
import { guardedSecrets } from '../../src/core/guarded-memory.ts'
import { Secret } from '../../src/core/secret.ts'
import { parsePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { ETHEREUM, encryptionKeyPath, IDENTITY, SSH_HOST, sitePasswordPath, workerPath } from '../../src/vault/paths.ts'
import { passwordOf } from '../../src/vault/site-password.ts'
import { deriveEd25519 } from '../../src/vault/slip10.ts'
import { createVault, type Vault } from '../../src/vault/vault.ts'
import type { DerivationEvent, VaultOptions } from '../../src/vault/vault-types.ts'

const PHRASE = `${'abandon '.repeat(11)}about`
const hex = (secret: Secret): string => secret.use((bytes) => toHex(bytes))
const HOUR = 3_600_000

async function open(options: Partial<VaultOptions> = {}): Promise<{ vault: Vault; clock: ReturnType<typeof manualClock> }> {
  const clock = manualClock()
  const vault = createVault({ clock, ...options })
  await vault.unlock({ phrase: PHRASE })
  return { vault, clock }
}

test('vault, freshly made, is locked, and every operation says so with one code', async () => {
  const vault = createVault({ clock: manualClock() })
  assert.equal(vault.unlocked, false)
  const data = { key_version: 2, salt: '', iv: '', data: '' }
  const locked = { code: 'VAULT_LOCKED' }
  assert.throws(() => vault.derive(IDENTITY), locked)
  assert.throws(() => vault.signer(SSH_HOST), locked)
  assert.throws(() => vault.sitePassword('example.org'), locked)
  assert.throws(() => vault.encrypt(utf8('x')), locked)
  assert.throws(() => vault.decrypt(data), locked)
  assert.throws(() => vault.decryptSecret(data), locked)
  assert.throws(() => vault.rotate(data), locked)
  await assert.rejects(vault.importEncrypted(data, Secret.alloc(1)), locked)
  assert.deepEqual(vault.status(), { id: 'default', unlocked: false, sinceMs: null, usedMs: null, locksAtMs: null, cachedKeys: 0, derivations: 0 })
})

test('vault, unlocked twice, an error that leaves it open', async () => {
  const { vault } = await open()
  await assert.rejects(vault.unlock({ phrase: PHRASE }), { code: 'VAULT_UNLOCKED' })
  await assert.rejects(vault.unlockNew(), { code: 'VAULT_UNLOCKED' })
  assert.equal(vault.unlocked, true)
})

test('vault, two unlockings at once, one wins', async () => {
  const vault = createVault({ clock: manualClock() })
  const outcomes = await Promise.allSettled([vault.unlock({ phrase: PHRASE }), vault.unlock({ phrase: PHRASE })])
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
})

test('vault, unlocked with words that are none, stays locked', async () => {
  const vault = createVault({ clock: manualClock() })
  await assert.rejects(vault.unlock({ phrase: `${'abandon '.repeat(12)}` }), { code: 'PHRASE_INVALID' })
  await assert.rejects(vault.unlockNew(13), { code: 'PHRASE_INVALID' })
  assert.equal(vault.unlocked, false)
})

test('vault, opened with a new phrase, opens again with it to the same keys', async () => {
  const vault = createVault({ clock: manualClock() })
  const phrase = await vault.unlockNew(15)
  const key = hex(vault.derive(IDENTITY).privateKey)
  vault.lock()
  await vault.unlock({ phrase })
  assert.equal(hex(vault.derive(IDENTITY).privateKey), key)
})

test('vault, a BIP39 passphrase, gives other keys than without, and an empty one the same', async () => {
  const vault = createVault({ clock: manualClock() })
  const phrase = parsePhrase(PHRASE)
  const keys: string[] = []
  for (const passphrase of [undefined, 'TREZOR']) {
    await vault.unlock({ phrase, ...(passphrase === undefined ? {} : { passphrase: Secret.take(Buffer.from(passphrase)) }) })
    keys.push(hex(vault.derive(IDENTITY).privateKey))
    vault.lock()
  }
  assert.notEqual(keys[0], keys[1])
})

test('vault, the named paths of the phrase abandon … about, gives the published keys', async () => {
  const { vault } = await open()
  const identity = vault.derive(IDENTITY)
  assert.equal(hex(identity.privateKey), '603aa5c626317fda4afd87b902e5c9de76c33f40834005245e1c5a675e92d700')
  assert.equal(toHex(identity.publicKey as Uint8Array), 'e78c2766a792f09bfccb51493968ac322283e8d021a30063784d806929762ecc')
  assert.equal(hex(vault.derive(workerPath(1)).privateKey), '550f05587732eeb6bd0de879f77b89e3593a655733f794be9a05dad90c3a1d24')
  assert.equal(toHex(vault.derive(SSH_HOST).publicKey as Uint8Array), '6a9dd5c41915fba6cc22b8760263aba45b068cae7bead1d069c7b8eeb0118134')
  const aes = vault.derive(encryptionKeyPath(2))
  assert.deepEqual([aes.type, aes.publicKey], ['aes256', undefined])
  assert.equal(hex(aes.privateKey), 'fbed5fa9110df4214baa259a4cd6bd3902373231472d317b8f3686b1d63df17a')
  assert.equal(hex(vault.derive(encryptionKeyPath(3)).privateKey), '3ddaf7a4485d755c959c883347420fdc9fa2a64fb1edae8a5f312e82c210f0f0')
  const ethereum = vault.derive(ETHEREUM)
  assert.equal(ethereum.type, 'secp256k1')
  assert.equal(hex(ethereum.privateKey), '1ab42cc412b618bdea3a599e3c9bae199ebf030895b039e9db1e30dafb12b727')
  assert.equal(toHex(ethereum.publicKey as Uint8Array), '0237b0bb7a8288d38ed49a524b5dc98cff3eb5ca824c9f9dc0dfdb3d9cd600f299')
})

test('vault, one path asked for as two types, gives two keys, whichever came first', async () => {
  for (const first of ['ed25519', 'secp256k1'] as const) {
    const { vault } = await open()
    vault.derive(IDENTITY, { type: first })
    const [ed25519, secp256k1] = [vault.derive(IDENTITY, { type: 'ed25519' }), vault.derive(IDENTITY, { type: 'secp256k1' })]
    assert.notEqual(hex(ed25519.privateKey), hex(secp256k1.privateKey))
    assert.deepEqual([ed25519.publicKey?.length, secp256k1.publicKey?.length], [32, 33])
  }
})

test('vault, locked, wipes keys and signers, and is locked again without harm', async () => {
  const before = guardedSecrets()
  const { vault } = await open()
  const key = vault.derive(IDENTITY)
  const signer = vault.signer(SSH_HOST)
  vault.encrypt(utf8('text'))
  assert.equal(vault.status().cachedKeys, 2)
  vault.lock()
  vault.lock()
  assert.equal(key.privateKey.wiped, true)
  assert.throws(() => signer.sign(utf8('x')), { code: 'VAULT_LOCKED' })
  await vault.unlock({ phrase: PHRASE })
  assert.throws(() => signer.sign(utf8('x')), { code: 'SECRET_WIPED' })
  vault.lock()
  assert.equal(guardedSecrets(), before)
})

test('vault, locked, tells every listener, also behind one that throws', async () => {
  const failures: unknown[] = []
  const { vault, clock } = await open({ onFailure: (error) => failures.push(error), idleLockMs: HOUR })
  const told: string[] = []
  vault.onLock(() => {
    throw new Error('listener')
  })
  const stop = vault.onLock((reason) => told.push(`${reason} ${vault.unlocked}`))
  vault.lock()
  vault.lock()
  await vault.unlock({ phrase: PHRASE })
  clock.advance(HOUR)
  await vault.unlock({ phrase: PHRASE })
  stop()
  vault.lock()
  assert.deepEqual(told, ['asked false', 'idle false'])
  assert.equal(failures.length, 3)
})

test('vault, unused for its idle time, locks by itself; each use puts it off', async () => {
  const { vault, clock } = await open({ idleLockMs: 60_000 })
  const key = vault.derive(IDENTITY)
  for (let i = 0; i < 5; i++) {
    clock.advance(59_000)
    vault.derive(IDENTITY)
  }
  assert.equal(key.privateKey.wiped, false)
  clock.advance(60_000)
  assert.equal(key.privateKey.wiped, true)
  assert.throws(() => vault.derive(IDENTITY), { code: 'VAULT_LOCKED' })
})

test('vault, its idle time set to 0, stays open; made short while open, locks at the next use', async () => {
  let idle = 0
  const { vault, clock } = await open({ idleLockMs: () => idle })
  clock.advance(100 * HOUR)
  assert.equal(vault.unlocked, true)
  idle = 1_000
  assert.throws(() => vault.derive(IDENTITY), { code: 'VAULT_LOCKED' })
})

test('vault on a machine that slept, the monotonic clock stood still, locks at the first use', async () => {
  let wall = 1_000_000
  const clock = { ...manualClock(), now: () => wall, monotonic: () => 5, after: () => ({ cancel: () => {} }) }
  const vault = createVault({ clock, idleLockMs: 60_000 })
  await vault.unlock({ phrase: PHRASE })
  vault.derive(IDENTITY)
  wall += 60_000
  assert.throws(() => vault.derive(IDENTITY), { code: 'VAULT_LOCKED' })
})

test('cache, a key older than an hour, is wiped by the clock and derived anew', async () => {
  const { vault, clock } = await open({ idleLockMs: 0 })
  const old = vault.derive(IDENTITY)
  clock.advance(HOUR - 1)
  assert.equal(vault.derive(IDENTITY), old)
  clock.advance(1)
  assert.equal(old.privateKey.wiped, true)
  assert.equal(vault.status().cachedKeys, 0)
  assert.notEqual(vault.derive(IDENTITY), old)
})

test('cache, the 65th key, the one used longest ago is wiped', async () => {
  const { vault } = await open()
  const first = vault.derive(workerPath(1))
  const second = vault.derive(workerPath(2))
  for (let i = 3; i <= 64; i++) vault.derive(workerPath(i))
  assert.equal(vault.derive(workerPath(1)), first)
  vault.derive(workerPath(65))
  assert.equal(vault.status().cachedKeys, 64)
  assert.deepEqual([first.privateKey.wiped, second.privateKey.wiped], [false, true])
})

test('cache, a key that its user wiped, is derived anew', async () => {
  const { vault } = await open()
  vault.derive(IDENTITY).privateKey.wipe()
  assert.equal(hex(vault.derive(IDENTITY).privateKey).slice(0, 8), '603aa5c6')
})

test('derived key, written out in any way, shows no private half', async () => {
  const { vault } = await open()
  assert.match(JSON.stringify(vault.derive(IDENTITY)), /"privateKey":"\[Secret\]"/)
})

test('audit, every kind of use, tells who, the class of the path and when, and nothing more', async () => {
  const events: DerivationEvent[] = []
  const { vault, clock } = await open({ audit: (event) => events.push(event), id: 'work' })
  vault.derive(IDENTITY, { who: 'did:icn:zA' })
  vault.derive(IDENTITY)
  vault.signer(SSH_HOST, { who: 'sshd' }).close()
  vault.sitePassword('example.org', { who: 'browser' }).wipe()
  vault.rotate(vault.encrypt(utf8('x')), 3)
  const event = (who: string, name: DerivationEvent['class'], type: DerivationEvent['type'], cached = false): DerivationEvent => ({
    vault: 'work',
    who,
    class: name,
    type,
    timeMs: clock.now(),
    cached,
  })
  assert.deepEqual(events, [
    event('did:icn:zA', 'identity', 'ed25519'),
    event('owner', 'identity', 'ed25519', true),
    event('sshd', 'ssh', 'ed25519'),
    event('browser', 'site-password', 'ed25519'),
    event('vault', 'encryption', 'aes256'),
    event('vault', 'encryption', 'aes256'),
  ])
})

test('signer, a path of its own, signs anything; one of the identity, only what an identity signs', async () => {
  const { vault } = await open()
  const host = vault.signer(SSH_HOST)
  const message = Buffer.alloc(32, 1)
  assert.ok(verify(host.publicKey, message, host.sign(message)))
  const identity = vault.signer(IDENTITY)
  assert.throws(() => identity.sign(message), { code: 'SIGNER_REFUSED' })
  identity.sign(Buffer.from('\x0eicn/testing/v1'))
  assert.equal(vault.signer("m/74'/0'/2'/4'").role, 'identity')
})

test('signers, closed, give their place back; the 65th open one is refused', async () => {
  const { vault } = await open()
  for (let i = 0; i < 70; i++) vault.signer(SSH_HOST).close()
  for (let i = 0; i < 64; i++) vault.signer(SSH_HOST)
  assert.throws(() => vault.signer(SSH_HOST), TypeError)
  vault.lock()
})

test('site password, a name of a site, is the documented text, long enough and of every kind of character', async () => {
  const { vault } = await open()
  const text = (site: string, options?: object): string => vault.sitePassword(site, options).use((bytes) => bytes.toString())
  const one = text('example.org')
  assert.match(one, /^[A-Za-z0-9_-]{24}$/)
  for (const kind of [/[A-Z]/, /[a-z]/, /[0-9]/, /[-_]/]) for (const site of ['a', 'b', 'c', 'd']) assert.match(text(site, { length: 12 }), kind)
  assert.equal(text(' Example.ORG '), one)
  assert.notEqual(text('example.com'), one)
  assert.notEqual(text('example.org', { version: 2 }), one)
  assert.equal(text('example.org', { length: 64 }).length, 64)
  assert.equal(one, 'MkYp6hH0wC9ZNkL_cEIBfVy6')
  // By another hand: the documented form, from the key of the path.
  const key = deriveEd25519(phraseToSeed(parsePhrase(PHRASE)), sitePasswordPath('example.org')).use((bytes) => Buffer.from(bytes))
  const rounds = Array.from({ length: 20 }, (_, round) => {
    const stream = createHmac('sha512', key).update('\x10kith/password/v1').update(Buffer.of(round)).update('example.org').digest().subarray(0, 24)
    return [...stream].map((byte) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'[byte & 63]).join('')
  })
  assert.equal(
    one,
    rounds.find((password) => [/[A-Z]/, /[a-z]/, /[0-9]/, /[-_]/].every((kind) => kind.test(password))),
  )
})

test('site password, a name that is none or a length out of range, refused', async () => {
  const { vault } = await open()
  for (const site of ['', ' ', 'a b', 'https://example.org', 'a\u0000b', 'x'.repeat(254), 'x'.repeat(10_000)])
    assert.throws(() => vault.sitePassword(site), { code: 'USAGE' }, site.slice(0, 20))
  for (const length of [0, 11, 65, 12.5, Number.NaN]) assert.throws(() => vault.sitePassword('a', { length }), TypeError)
  for (const version of [0, -1, 1.5, 2 ** 31 + 1]) assert.throws(() => vault.sitePassword('a', { version }), { code: 'PATH_INVALID' })
})

test('site password, two names that share a path, differ all the same', async () => {
  // The original gives both the same password: whoever finds such a name for a page of his own is told the other one's.
  const key = Secret.alloc(32)
  assert.equal(passwordOf(key, 'example.org', 24).equals(passwordOf(key, 'example.org.attacker.example', 24)), false)
})

import assert from 'node:assert/strict'
import { copyFileSync, existsSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { xwingPublicKey } from '../../src/core/crypto/xwing.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { decodeBinding, verifyBinding } from '../../src/identity/binding.ts'
import { nextBoot } from '../../src/identity/boot.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { openHome } from '../../src/identity/home.ts'
import { publicKeysOf, randomKeySeeds } from '../../src/identity/keys.ts'
import {
  createKeystore,
  hasIdentity,
  type Keystore,
  openDevice,
  openIdentity,
  openKeystore,
  renewBinding,
  rotateDeviceKey,
  rotateIdentity,
} from '../../src/identity/keystore.ts'
import { packDevice, packIdentity, unpackDevice, unpackIdentity } from '../../src/identity/keystore-codec.ts'
import { keyFileIntact } from '../../src/identity/keystore-file.ts'
import { manualClock } from './clock.ts'
import { DAY, seedsOf, T0 } from './make.ts'
import { secret, temporaryDirectory, textOf, WORK_FACTOR } from './temp.ts'

const PHRASE = 'legal winner thank year wave sausage worth useful legal winner thank yellow'

const options = (clock = manualClock(T0)) => ({ passphrase: secret('right'), clock, random: systemRandom, workFactor: WORK_FACTOR })
const fresh = () => ({ seeds: seedsOf('me 0'), next: seedsOf('me 1'), phrase: secret(PHRASE) })

async function make(home: string, clock = manualClock(T0)): Promise<Keystore> {
  return createKeystore(home, { ...options(clock), identity: fresh(), name: 'laptop' })
}

test('keystore, made and opened again, holds the same identity, device and phrase', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await make(path)
  const { did } = made.identity
  const linkKey = made.device.linkSigner.publicKey
  assert.deepEqual(made.identity.chain.keys, publicKeysOf(seedsOf('me 0')))
  await made.close()
  const opened = await openKeystore(path, options())
  assert.equal(opened.identity.did, did)
  assert.equal(opened.identity.mayRotate, true)
  assert.deepEqual(opened.identity.nextKeys, publicKeysOf(seedsOf('me 1')))
  assert.equal(textOf(opened.identity.phrase() as Secret), PHRASE)
  assert.deepEqual(opened.device.linkSigner.publicKey, linkKey)
  assert.equal(opened.device.name, 'laptop')
  const binding = verifyBinding(opened.device.binding, { chain: opened.device.chain, now: T0 })
  assert.deepEqual(binding.linkKey, linkKey)
  assert.deepEqual(binding.deviceMldsa, opened.device.mldsaSigner?.publicKey)
  assert.equal(opened.device.bindingExpires, T0 + 30 * DAY)
  await opened.close()
})

test('keystore, its files, are private and its directory too', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  await (await make(path)).close()
  assert.equal(statSync(path).mode & 0o777, 0o700)
  for (const name of ['identity.age', 'identity.age.sum', 'device.age', 'device.age.sum', 'id', 'boot', 'kith.lock']) {
    assert.equal(statSync(join(path, name)).mode & 0o777, 0o600, name)
  }
})

test('keystore, closed, has wiped keys that refuse to sign', async (t) => {
  const made = await make(join(temporaryDirectory(t), 'home'))
  const { identity, device } = made
  const message = Buffer.from('\x0cicn/testing/v1')
  const { signer } = identity
  await made.close()
  await made.close()
  assert.throws(() => identity.sign(message), { code: 'SECRET_WIPED' })
  assert.throws(() => identity.phrase(), { code: 'SECRET_WIPED' })
  assert.throws(() => signer.ed25519.sign(message), { code: 'SECRET_WIPED' })
  assert.throws(() => signer.mldsa?.sign(message), { code: 'SECRET_WIPED' })
  assert.throws(() => device.linkSigner.sign(message), { code: 'SECRET_WIPED' })
  assert.throws(() => device.content, { code: 'SECRET_WIPED' })
})

test('keystore, a second one in the same home or none to open, refused', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  await assert.rejects(openKeystore(path, options()), { code: 'IDENTITY_MISSING' })
  await (await make(path)).close()
  await assert.rejects(make(path), { code: 'IDENTITY_EXISTS' })
  await (await openKeystore(path, options())).close()
  const empty = join(temporaryDirectory(t), 'empty')
  await (await openHome(empty)).close()
  await assert.rejects(openKeystore(empty, options()), { code: 'IDENTITY_MISSING' })
})

test('identity and device, opened one at a time from a home, are what the keystore holds', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await make(path)
  const { did } = made.identity
  await made.close()
  await using home = await openHome(path)
  assert.equal(await hasIdentity(home), true)
  using identity = await openIdentity(home, options())
  using device = await openDevice(home, options())
  assert.equal(identity.did, did)
  assert.equal(device.did, did)
  assert.equal(identity.sign(Buffer.from('\x0eicn/testing/v1')).length, 64)
  assert.throws(() => identity.sign(Buffer.from('anything')), { code: 'SIGNER_REFUSED' })
})

test('keystore, a wrong passphrase and damage, are told apart for each file', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  await (await make(path)).close()
  await using home = await openHome(path)
  for (const [name, open] of [
    ['identity.age', openIdentity],
    ['device.age', openDevice],
  ] as const) {
    const file = join(path, name)
    const good = readFileSync(file)
    await assert.rejects(open(home, { ...options(), passphrase: secret('wrong') }), { code: 'PASSPHRASE_WRONG' })
    // One byte in each region: version line, stanza, wrapped key, MAC, nonce, content, tag.
    for (const at of [3, 30, 60, 100, good.indexOf('\n--- ') + 8, good.indexOf('\n--- ') + 55, good.length - 40, good.length - 3]) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] as number) ^ 1
      writeFileSync(file, bad)
      assert.equal(await keyFileIntact(file), false)
      await assert.rejects(open(home, options()), { code: 'KEYSTORE_DAMAGED' }, `${name} byte ${at}`)
    }
    writeFileSync(file, good.subarray(0, good.length - 1))
    await assert.rejects(open(home, options()), { code: 'KEYSTORE_DAMAGED' })
    writeFileSync(file, good)
    assert.equal(await keyFileIntact(file), true)
    const device = await open(home, options())
    device.close()
  }
})

test('keystore, its checksum file missing, foreign or of another save, still opens and still knows a wrong passphrase', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  await (await make(path)).close()
  await using home = await openHome(path)
  const sum = join(path, 'identity.age.sum')
  for (const content of [undefined, '', 'garbage', `${'0'.repeat(64)}  identity.age\n`]) {
    if (content === undefined) unlinkSync(sum)
    else writeFileSync(sum, content, { mode: 0o600 })
    using identity = await openIdentity(home, options())
    assert.ok(identity.did)
  }
  unlinkSync(sum)
  assert.equal(await keyFileIntact(home.paths.identity), undefined)
  await assert.rejects(openIdentity(home, { passphrase: secret('wrong') }), { code: 'PASSPHRASE_WRONG' })
})

test('device, lost while the identity stands, is made anew with another link key', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await make(path)
  const before = made.device.linkSigner.publicKey
  await made.close()
  unlinkSync(join(path, 'device.age'))
  const opened = await openKeystore(path, { ...options(), name: 'again' })
  assert.notDeepEqual(opened.device.linkSigner.publicKey, before)
  assert.equal(opened.device.name, 'again')
  const second = opened.device.linkSigner.publicKey
  assert.equal(await nextBoot(opened.home, 0, T0), 1)
  await opened.close()
  unlinkSync(join(path, 'device.age'))
  await using home = await openHome(path)
  using device = await openDevice(home, { ...options(), renew: false, name: 'third' })
  assert.notDeepEqual(device.linkSigner.publicKey, second)
  assert.equal(device.name, 'third')
  assert.equal(await nextBoot(home, 0, T0), 2)
})

test('binding, from its tenth day on, is renewed when the device is unlocked', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const clock = manualClock(T0)
  await (await make(path, clock)).close()
  await using home = await openHome(path)
  clock.set(T0 + 10 * DAY - 1)
  const early = await openDevice(home, options(clock))
  assert.equal(early.bindingExpires, T0 + 30 * DAY)
  early.close()
  clock.set(T0 + 10 * DAY)
  const left = await openDevice(home, { ...options(clock), renew: false })
  assert.equal(left.bindingExpires, T0 + 30 * DAY)
  left.close()
  const renewed = await openDevice(home, options(clock))
  assert.equal(renewed.bindingExpires, T0 + 40 * DAY)
  verifyBinding(renewed.binding, { chain: renewed.chain, now: clock.now(), minSerial: left.serial + 1 })
  renewed.close()
  const again = await openDevice(home, { ...options(clock), renew: false })
  assert.equal(again.bindingExpires, T0 + 40 * DAY)
  again.close()
})

test('binding, renewed by hand with another name, replaces the one in use', async (t) => {
  const made = await make(join(temporaryDirectory(t), 'home'))
  const before = made.device.serial
  await renewBinding(made.home, made.device, made.identity, { ...options(), name: 'desk' })
  assert.equal(made.device.name, 'desk')
  assert.ok(made.device.serial > before)
  assert.equal(decodeBinding(made.device.binding).name, 'desk')
  await made.close()
})

test('link key, rotated, is new, certified with a higher serial and saved', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await make(path)
  const before = made.device
  const after = await rotateDeviceKey(made.home, before, made.identity, options())
  assert.notDeepEqual(after.linkSigner.publicKey, before.linkSigner.publicKey)
  assert.ok(after.serial > before.serial)
  assert.equal(after.name, 'laptop')
  assert.deepEqual(verifyBinding(after.binding, { chain: after.chain, now: T0 }).linkKey, after.linkSigner.publicKey)
  assert.equal(before.linkSigner.sign(Buffer.from('\x0eicn/testing/v1')).length, 64)
  const key = after.linkSigner.publicKey
  unlinkSync(made.home.paths.boot)
  ;(await rotateDeviceKey(made.home, after, made.identity, options())).close()
  assert.equal(await nextBoot(made.home, 0, T0), T0 / 1000 + 1)
  await renewBinding(made.home, after, made.identity, options())
  after.close()
  await made.close()
  const opened = await openKeystore(path, options())
  assert.deepEqual(opened.device.linkSigner.publicKey, key)
  await opened.close()
})

test('device, derived secrets, are the same in every run and after a new link key, one per label and context, wiped with the device', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const hex = (derived: Secret): string => derived.use((bytes) => bytes.toString('hex'))
  const made = await make(path)
  const before = hex(made.device.deriveSecret('icn/testing/v1'))
  assert.notEqual(hex(made.device.deriveSecret('icn/testing/v2')), before)
  assert.notEqual(hex(made.device.deriveSecret('icn/testing/v1', Uint8Array.of(1))), before)
  const rotated = await rotateDeviceKey(made.home, made.device, made.identity, options())
  assert.equal(hex(rotated.deriveSecret('icn/testing/v1')), before)
  rotated.close()
  assert.throws(() => rotated.deriveSecret('icn/testing/v1'), { code: 'SECRET_WIPED' })
  await made.close()
  const opened = await openKeystore(path, options())
  assert.equal(hex(opened.device.deriveSecret('icn/testing/v1')), before)
  await opened.close()
  const other = await make(join(temporaryDirectory(t), 'other'))
  assert.notEqual(hex(other.device.deriveSecret('icn/testing/v1')), before, 'two machines of one identity share nothing')
  await other.close()
})

test('device, its binding, names an X-Wing key whose seed the device derives', async (t) => {
  const made = await make(join(temporaryDirectory(t), 'home'))
  const { device } = made
  const seed = device.deriveSecret('icn/fallback-kem/v1', device.linkSigner.publicKey)
  assert.deepEqual(decodeBinding(device.binding).fallbackKem, xwingPublicKey(seed))
  await made.close()
})

test('identity, rotated twice, keeps its DID, extends its chain, re-certifies the device and survives a restart', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await make(path)
  const { did, chain } = made.identity
  const first = await rotateIdentity(made.home, made.device, made.identity, { ...options(), reason: 'scheduled', next: seedsOf('me 2') })
  const second = await rotateIdentity(made.home, made.device, first.identity, { ...options(), reason: 'compromised', next: seedsOf('me 3') })
  const peer = adoptChain(chain, [first.entry, second.entry], { now: T0 })
  assert.equal(peer.outcome, 'extended')
  assert.deepEqual(peer.state.keys, publicKeysOf(seedsOf('me 2')))
  verifyBinding(made.device.binding, { chain: peer.state, now: T0 })
  second.identity.close()
  await made.close()
  const opened = await openKeystore(path, options())
  assert.equal(opened.identity.did, did)
  assert.equal(opened.identity.chain.index, 2)
  assert.deepEqual(opened.identity.nextKeys, publicKeysOf(seedsOf('me 3')))
  assert.equal(textOf(opened.identity.phrase() as Secret), PHRASE)
  await opened.close()
})

test('identity, rotated and killed before the device file was written, certifies the device at the next unlocking', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await make(path)
  copyFileSync(join(path, 'device.age'), join(path, 'device.old'))
  const rotated = await rotateIdentity(made.home, made.device, made.identity, { ...options(), reason: 'lost', next: seedsOf('me 2') })
  rotated.identity.close()
  await made.close()
  copyFileSync(join(path, 'device.old'), join(path, 'device.age'))
  const opened = await openKeystore(path, options())
  assert.equal(opened.device.chain.index, 1)
  assert.equal(decodeBinding(opened.device.binding).chainIndex, 1)
  await opened.close()
})

test('identity, restored from its phrase without a chain, makes the very same first entry', async (t) => {
  const first = await make(join(temporaryDirectory(t), 'home'), manualClock(T0))
  const second = await make(join(temporaryDirectory(t), 'home'), manualClock(T0 + 99 * DAY))
  assert.deepEqual(second.identity.chain.head, first.identity.chain.head)
  assert.equal(adoptChain(first.identity.chain, second.identity.chain.entries, { now: T0 + 99 * DAY }).outcome, 'same')
  await first.close()
  await second.close()
})

test('identity, restored with its chain, continues at the right generation; with other keys it is refused', async (t) => {
  const made = await make(join(temporaryDirectory(t), 'home'))
  const rotated = await rotateIdentity(made.home, made.device, made.identity, { ...options(), reason: 'lost', next: seedsOf('me 2') })
  const { chain } = rotated.identity
  rotated.identity.close()
  await made.close()
  const at = join(temporaryDirectory(t), 'restored')
  for (const [seeds, next] of [
    ['me 0', 'me 1'],
    ['me 0', 'me 2'],
    ['me 1', 'me 3'],
  ] as const) {
    const wrong = { seeds: seedsOf(seeds), next: seedsOf(next), chain }
    await assert.rejects(createKeystore(at, { ...options(), identity: wrong }), { code: 'CHAIN_INVALID' })
  }
  const restored = await createKeystore(at, { ...options(), identity: { seeds: seedsOf('me 1'), next: seedsOf('me 2'), chain } })
  assert.equal(restored.identity.chain.index, 1)
  verifyBinding(restored.device.binding, { chain, now: T0 })
  await restored.close()
})

test('identity, restored without anybody to ask for its chain, is used but not rotated', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await createKeystore(path, { ...options(), identity: { ...fresh(), mayRotate: false } })
  const rotation = rotateIdentity(made.home, made.device, made.identity, { ...options(), reason: 'lost', next: seedsOf('me 2') })
  await assert.rejects(rotation, { code: 'IDENTITY_LOCKED' })
  await made.close()
  const opened = await openKeystore(path, options())
  assert.equal(opened.identity.mayRotate, false)
  await opened.close()
})

test('identity without a phrase and without post-quantum keys, made and opened, works', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const made = await createKeystore(path, {
    ...options(),
    identity: { seeds: randomKeySeeds(systemRandom, { mldsa: false }), next: randomKeySeeds(systemRandom, { mldsa: false }) },
  })
  await made.close()
  const opened = await openKeystore(path, options())
  assert.equal(opened.identity.phrase(), undefined)
  assert.equal(opened.identity.chain.keys.mldsa, undefined)
  await opened.close()
})

test('run counter, over restarts, rises by one; lost, it continues above any count and never below the device’s memory', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  await (await make(path)).close()
  await using home = await openHome(path)
  assert.equal(await nextBoot(home, 0, T0), 1)
  assert.equal(await nextBoot(home, 0, T0), 2)
  assert.equal(await nextBoot(home, 40, T0), 41)
  for (const damage of ['', 'x\n', '-1\n', '99999999999999999999\n']) {
    writeFileSync(home.paths.boot, damage)
    assert.equal(await nextBoot(home, 0, T0), T0 / 1000 + 1)
  }
  unlinkSync(home.paths.boot)
  assert.equal(await nextBoot(home, 2 ** 40, T0), 2 ** 40 + 1)
  assert.equal(await nextBoot(home, 0, 0), 2 ** 40 + 2)
  using device = await openDevice(home, options())
  await renewBinding(home, device, await openIdentity(home, options()), options())
  using again = await openDevice(home, options())
  assert.equal(again.content.boot, 2 ** 40 + 2)
})

test('key file content, of a version from the future, is KEYSTORE_UNSUPPORTED; anything else KEYSTORE_DAMAGED', async (t) => {
  const made = await make(join(temporaryDirectory(t), 'home'))
  for (const [pack, unpack, magic] of [
    [() => packIdentity(made.identity.content), unpackIdentity, 13],
    [() => packDevice(made.device.content), unpackDevice, 11],
  ] as const) {
    const good = pack().use((bytes) => Uint8Array.from(bytes))
    const unpacked = (bytes: Uint8Array) => () => unpack(Secret.take(Uint8Array.from(bytes)))
    assert.doesNotThrow(unpacked(good))
    if (magic === 13) {
      // may_rotate, where the key is and the flag of the first seeds, and the phrase's length, which stand behind 13 + 1 + 8 + 4 bytes.
      for (const at of [26, 27, 60]) assert.throws(unpacked(good.with(at, 2)), { code: 'KEYSTORE_DAMAGED' })
      assert.equal(good[160], PHRASE.length)
      assert.throws(unpacked(good.with(160, 0)), { code: 'KEYSTORE_DAMAGED' })
    }
    for (const version of [0, 3, 255]) assert.throws(unpacked(good.with(magic, version)), { code: 'KEYSTORE_UNSUPPORTED' })
    assert.throws(unpacked(good.with(0, 0)), { code: 'KEYSTORE_DAMAGED' })
    assert.throws(unpacked(Uint8Array.from([...good, 0])), { code: 'KEYSTORE_DAMAGED' })
    for (let length = 1; length < good.length; length += 97) assert.throws(unpacked(good.subarray(0, length)), { code: 'KEYSTORE_DAMAGED' }, `${length} bytes`)
  }
  await made.close()
})

test('keystore with the full work factor, made and opened, takes its memory one file at a time', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const { workFactor: _, ...full } = options()
  await using home = await openHome(path)
  const made = await createKeystore(home, full)
  await made.close()
  assert.match(readFileSync(home.paths.device, 'latin1'), /^age-encryption\.org\/v1\n-> scrypt \S{22} 18\n/)
  using device = await openDevice(home, full)
  assert.equal(device.did, made.identity.did)
  assert.ok(existsSync(home.paths.identity))
})

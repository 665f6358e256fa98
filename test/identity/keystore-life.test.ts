import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { Secret } from '../../src/core/secret.ts'
import { giveRotation, seedsOfHead, takeRotation } from '../../src/daemon/identity/own-chain.ts'
import { rotateKeys } from '../../src/daemon/identity/rotate.ts'
import type { OpenedIdentity } from '../../src/daemon/identity/service.ts'
import { didOfPhrase, setUpIdentity } from '../../src/daemon/identity/setup.ts'
import { exportIdentity, importIdentity } from '../../src/daemon/identity/transfer.ts'
import { upgradePostQuantum } from '../../src/daemon/identity/upgrade-pq.ts'
import { verifyBinding } from '../../src/identity/binding.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { type Home, openHome } from '../../src/identity/home.ts'
import { exportPassphraseOf, openExport, sealExport } from '../../src/identity/identity-export.ts'
import { publicKeysOf } from '../../src/identity/keys.ts'
import { createKeystore, type NewIdentity, openDevice, openIdentity, openKeystore, rotateIdentity } from '../../src/identity/keystore.ts'
import { phraseToSeed } from '../../src/vault/bip39.ts'
import { deriveIdentitySeeds } from '../../src/vault/identity-seeds.ts'
import { manualClock } from './clock.ts'
import { withFault } from './faults.ts'
import { DAY, seedsOf, T0 } from './make.ts'
import { secret, temporaryDirectory, textOf } from './temp.ts'

const PHRASE = 'legal winner thank year wave sausage worth useful legal winner thank yellow'
const OTHER = 'abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about'
const clock = manualClock(T0)
const options = (passphrase = 'right') => ({ passphrase: secret(passphrase), clock, random: systemRandom, workFactor: 1 })
const environment = (t: TestContext): NodeJS.ProcessEnv => ({ XDG_STATE_HOME: temporaryDirectory(t) })

/** As `kith init` makes them, with the phrase. */
function fromPhrase(phrase = PHRASE, mldsa = true): NewIdentity {
  const seed = phraseToSeed(secret(phrase))
  const seeds = (generation: number) => {
    const both = deriveIdentitySeeds(seed, generation)
    return mldsa ? both : { ed25519: both.ed25519, mldsa: undefined }
  }
  return { seeds: seeds(0), next: seeds(1), phrase: secret(phrase) }
}

async function make(home: Home, identity = fromPhrase()): Promise<void> {
  const made = await createKeystore(home, { ...options(), identity, name: 'laptop' })
  made.identity.close()
  made.device.close()
}

async function withIdentity<T>(home: Home, run: (opened: OpenedIdentity) => Promise<T>): Promise<T> {
  using device = await openDevice(home, { ...options(), renew: false })
  using identity = await openIdentity(home, options())
  return await run({ home, identity, device, options: options() })
}

for (const [name, identity, rotations] of [
  ['whose next keys have none either', () => ({ seeds: seedsOf('a 0', false), next: seedsOf('a 1', false) }), 2],
  ['whose next keys have one', () => ({ seeds: seedsOf('b 0', false), next: seedsOf('b 1') }), 1],
  ['from a phrase', () => fromPhrase(PHRASE, false), 2],
  ['that has one', () => fromPhrase(), 0],
] as const) {
  test(`upgrade-pq of an identity ${name}: ${rotations} rotations, the DID stays, the key is on the disk`, async (t) => {
    await using home = await openHome(join(temporaryDirectory(t), 'home'))
    await make(home, identity())
    const { did, before } = await withIdentity(home, async ({ identity: old }) => ({ did: old.did, before: old.chain }))
    assert.equal(await withIdentity(home, upgradePostQuantum), rotations)
    const opened = await openKeystore(home, options())
    assert.equal(opened.identity.did, did)
    assert.equal(opened.identity.chain.index, rotations)
    // What the original lost on saving: the keys themselves, also the ones to come.
    assert.notEqual(opened.identity.content.seeds.mldsa, undefined)
    assert.deepEqual(publicKeysOf(opened.identity.content.seeds), opened.identity.chain.keys)
    assert.notEqual(opened.identity.nextKeys.mldsa, undefined)
    assert.equal(opened.identity.signer.mldsa?.publicKey.length, 1952)
    const peer = adoptChain(before, opened.identity.chain.entries, { now: T0 })
    assert.equal(peer.outcome, rotations === 0 ? 'same' : 'extended')
    verifyBinding(opened.device.binding, { chain: peer.state, now: T0 })
    opened.identity.close()
    opened.device.close()
    assert.equal(await withIdentity(home, upgradePostQuantum), 0)
    if (name === 'from a phrase') {
      const seeds = seedsOfHead(secret(PHRASE), peer.state)
      assert.deepEqual(publicKeysOf(seeds.seeds), peer.state.keys)
    }
  })
}

test('upgrade-pq, cut between its two rotations, is ended by doing it again', async (t) => {
  await using home = await openHome(join(temporaryDirectory(t), 'home'))
  await make(home, { seeds: seedsOf('a 0', false), next: seedsOf('a 1', false) })
  await withIdentity(home, async ({ device, identity, options: save }) => rotateKeys(home, device, identity, 'scheduled', save))
  assert.equal(await withIdentity(home, upgradePostQuantum), 1)
})

test('identity with a post-quantum key, whose next keys would have none, is refused before anything is signed', async (t) => {
  await using home = await openHome(join(temporaryDirectory(t), 'home'))
  const weak = { seeds: seedsOf('a 0'), next: seedsOf('a 1', false) }
  await assert.rejects(createKeystore(home, { ...options(), identity: weak }), TypeError)
  assert.ok(!existsSync(home.paths.identity))
  await make(home)
  await withIdentity(home, async ({ device, identity }) => {
    await assert.rejects(rotateIdentity(home, device, identity, { ...options(), reason: 'lost', next: seedsOf('x', false) }), TypeError)
  })
  await withIdentity(home, async ({ identity }) => assert.equal(identity.chain.index, 0))
})

test('export and import in another home, by passphrase or phrase, give the same identity with new keys of the machine', async (t) => {
  const base = temporaryDirectory(t)
  await using home = await openHome(join(base, 'home'))
  await make(home)
  await withIdentity(home, async ({ device, identity, options: save }) => rotateKeys(home, device, identity, 'lost', save))
  const linkKey = await withIdentity(home, async ({ device }) => Uint8Array.from(device.linkSigner.publicKey))
  const seed = phraseToSeed(secret(PHRASE))
  for (const [name, passphrase] of [
    ['by-passphrase', secret('of the file')],
    ['by-phrase', exportPassphraseOf(seed)],
  ] as const) {
    const file = join(base, name)
    await withIdentity(home, async ({ identity }) => {
      await exportIdentity(identity, file, { random: systemRandom, workFactor: 1, ...(name === 'by-phrase' ? {} : { passphrase }) })
      await assert.rejects(exportIdentity(identity, file, { random: systemRandom, workFactor: 1, passphrase }), { code: 'FILE_EXISTS' })
    })
    assert.equal(statSync(file).mode & 0o777, 0o600)
    await assert.rejects(openExport(readFileSync(file), secret('wrong')), { code: 'PASSPHRASE_WRONG' })
    await using other = await openHome(join(base, `${name}-home`))
    const content = await openExport(readFileSync(file), passphrase)
    const { summary, safetyCopy } = await importIdentity({
      home: other,
      content,
      passphrase: secret('right'),
      mayRotate: false,
      clock,
      random: systemRandom,
      environment: {},
      workFactor: 1,
    })
    assert.equal(safetyCopy, undefined)
    await withIdentity(other, async ({ identity, device }) => {
      assert.equal(identity.did, summary.did)
      assert.equal(identity.chain.index, 1)
      assert.equal(identity.mayRotate, false)
      assert.equal(textOf(identity.phrase() as Secret), PHRASE)
      assert.notDeepEqual(Uint8Array.from(device.linkSigner.publicKey), linkKey)
      verifyBinding(device.binding, { chain: identity.chain, now: T0 })
      await assert.rejects(rotateKeys(other, device, identity, 'lost', options()), { code: 'IDENTITY_LOCKED' })
    })
  }
})

test('import over key files of the same identity, keeps copies; of another identity or with older keys, is refused and changes nothing', async (t) => {
  const base = temporaryDirectory(t)
  await using home = await openHome(join(base, 'home'))
  await make(home)
  const file = join(base, 'export')
  const exported = async (): Promise<Buffer> => {
    await withIdentity(home, async ({ identity }) =>
      exportIdentity(identity, `${file}-${identity.chain.index}`, { random: systemRandom, workFactor: 1, passphrase: secret('f') }),
    )
    return readFileSync(`${file}-${await withIdentity(home, async ({ identity }) => identity.chain.index)}`)
  }
  const old = await exported()
  const bring = async (sealed: Uint8Array, into: Home) =>
    importIdentity({
      home: into,
      content: await openExport(sealed, secret('f')),
      passphrase: secret('right'),
      present: secret('right'),
      mayRotate: true,
      clock,
      random: systemRandom,
      environment: {},
      workFactor: 1,
    })
  const before = readFileSync(home.paths.identity)
  const first = await bring(old, home)
  assert.deepEqual(readFileSync(join(first.safetyCopy as string, 'identity.age')), before)
  assert.deepEqual(readdirSync(first.safetyCopy as string).sort(), ['device.age', 'device.age.sum', 'identity.age', 'identity.age.sum'])
  await withIdentity(home, async ({ device, identity, options: save }) => rotateKeys(home, device, identity, 'lost', save))
  const standing = readFileSync(home.paths.identity)
  await assert.rejects(bring(old, home), { code: 'CHAIN_STALE' })
  await using other = await openHome(join(base, 'other'))
  await make(other, fromPhrase(OTHER))
  await assert.rejects(bring(old, other), { code: 'IDENTITY_EXISTS' })
  assert.deepEqual(readFileSync(home.paths.identity), standing)
  // Damaged key files are what an import mends.
  const fresh = await exported()
  const bad = Buffer.from(standing)
  bad[bad.length - 3] = (bad[bad.length - 3] as number) ^ 1
  writeFileSync(home.paths.identity, bad)
  const mended = await bring(fresh, home).catch((error: unknown) => error)
  assert.ok(!(mended instanceof Error), String(mended))
  await withIdentity(home, async ({ identity }) => assert.equal(identity.chain.index, 1))
})

test('export, cut or out of room at every step, leaves no file or the whole one', async (t) => {
  const base = temporaryDirectory(t)
  await using home = await openHome(join(base, 'home'))
  await make(home)
  using identity = await openIdentity(home, options())
  for (const mode of ['kill', 'full'] as const) {
    for (let step = 1; ; step++) {
      const file = join(base, `${mode}-${step}`)
      const { steps, error } = await withFault(mode, step, () =>
        exportIdentity(identity, file, { random: systemRandom, workFactor: 1, passphrase: secret('f') }),
      )
      if (mode === 'full' && error !== undefined) assert.ok(isKithError(error, 'KEYSTORE_NOT_SAVED'), String(error))
      if (existsSync(file)) assert.equal((await openExport(readFileSync(file), secret('f'))).chain.did, identity.did)
      else assert.notEqual(error, undefined)
      if (steps < step) break
    }
  }
})

test('export, truncated, damaged or of something else, is refused by code', async (t) => {
  await using home = await openHome(join(temporaryDirectory(t), 'home'))
  await make(home)
  using identity = await openIdentity(home, options())
  const sealed = await sealExport(identity.content, secret('f'), { random: systemRandom, workFactor: 1 })
  const codes = new Set<string>()
  for (let at = 0; at < sealed.length; at += 61) {
    for (const bad of [sealed.with(at, (sealed[at] as number) ^ 0x40), sealed.subarray(0, at)]) {
      const error: unknown = await openExport(bad, secret('f')).then(
        () => undefined,
        (caught: unknown) => caught,
      )
      assert.ok(isKithError(error), `byte ${at}: ${String(error)}`)
      codes.add(error.code)
    }
  }
  for (const code of codes) assert.ok(['KEYSTORE_DAMAGED', 'PASSPHRASE_WRONG', 'KEYSTORE_UNSUPPORTED'].includes(code), code)
  assert.ok(codes.has('KEYSTORE_DAMAGED'))
  await assert.rejects(openExport(readFileSync(home.paths.identity), secret('right')), { code: 'EXPORT_INVALID' })
  const mixed = await sealExport({ ...identity.content, seeds: seedsOf('other') }, secret('f'), { random: systemRandom, workFactor: 1 })
  await assert.rejects(openExport(mixed, secret('f')), { code: 'EXPORT_INVALID' })
})

test('restore from the phrase with its chain, takes the keys of the head and may rotate; with another phrase it is refused', async (t) => {
  const base = temporaryDirectory(t)
  await using home = await openHome(join(base, 'home'))
  await make(home)
  for (let round = 0; round < 2; round++)
    await withIdentity(home, async ({ device, identity, options: save }) => rotateKeys(home, device, identity, 'scheduled', save))
  const chain = await withIdentity(home, async ({ identity }) => identity.chain)
  const env = environment(t)
  await using other = await openHome(join(base, 'restored'))
  await assert.rejects(setUpIdentity({ home: other, phrase: secret(OTHER), chain, clock, random: systemRandom, environment: env }), { code: 'PHRASE_OTHER' })
  assert.ok(!existsSync(other.paths.identity))
  assert.equal(didOfPhrase(secret(PHRASE)), chain.did)
  const { summary } = await setUpIdentity({
    home: other,
    phrase: secret(PHRASE),
    chain,
    passphrase: secret('right'),
    clock,
    random: systemRandom,
    environment: env,
  })
  assert.equal(summary.did, chain.did)
  await withIdentity(other, async ({ device, identity, options: save }) => {
    assert.equal(identity.chain.index, 2)
    assert.equal(identity.mayRotate, true)
    await rotateKeys(other, device, identity, 'lost', save)
  })
  // Both machines may rotate, and rotate to the same keys: peers see one event told twice, not a fork.
  await withIdentity(home, async ({ device, identity, options: save }) => rotateKeys(home, device, identity, 'lost', save))
  const [one, two] = [await withIdentity(home, async ({ identity }) => identity.chain), await withIdentity(other, async ({ identity }) => identity.chain)]
  assert.equal(adoptChain(one, two.entries, { now: T0 + DAY }).outcome, 'same')
})

test('restore from the phrase without a chain, learns it later and then may rotate, only when its owner says so', async (t) => {
  const base = temporaryDirectory(t)
  await using home = await openHome(join(base, 'home'))
  await make(home)
  for (let round = 0; round < 2; round++)
    await withIdentity(home, async ({ device, identity, options: save }) => rotateKeys(home, device, identity, 'scheduled', save))
  const chain = await withIdentity(home, async ({ identity }) => identity.chain)
  await using blind = await openHome(join(base, 'blind'))
  await setUpIdentity({ home: blind, phrase: secret(PHRASE), passphrase: secret('right'), clock, random: systemRandom, environment: {} })
  await withIdentity(blind, async (opened) => {
    assert.equal(opened.identity.mayRotate, false)
    await assert.rejects(rotateKeys(blind, opened.device, opened.identity, 'lost', options()), { code: 'IDENTITY_LOCKED' })
    await takeRotation(opened, chain)
  })
  await withIdentity(blind, async ({ identity, device }) => {
    assert.equal(identity.mayRotate, true)
    assert.deepEqual(identity.chain.head, chain.head)
    assert.deepEqual(publicKeysOf(identity.content.seeds), chain.keys)
    verifyBinding(device.binding, { chain, now: T0 })
  })
  await withIdentity(blind, giveRotation)
  await withIdentity(blind, async ({ identity }) => assert.equal(identity.mayRotate, false))
})

test('right to rotate, asked for against a contradicting chain, or with keys that nobody here has, is refused', async (t) => {
  const base = temporaryDirectory(t)
  await using home = await openHome(join(base, 'home'))
  await make(home, { seeds: seedsOf('r 0'), next: seedsOf('r 1') })
  await using copy = await openHome(join(base, 'copy'))
  await make(copy, { seeds: seedsOf('r 0'), next: seedsOf('r 1') })
  await withIdentity(copy, async ({ device, identity, options: save }) => rotateKeys(copy, device, identity, 'lost', save))
  const ahead = await withIdentity(copy, async ({ identity }) => identity.chain)
  await withIdentity(home, async (opened) => {
    await assert.rejects(takeRotation(opened, ahead), (error: unknown) => isKithError(error, 'IDENTITY_LOCKED') && /export/.test(String(error.next)))
    await rotateKeys(home, opened.device, opened.identity, 'lost', options())
  })
  await withIdentity(home, async (opened) => assert.rejects(takeRotation(opened, ahead), { code: 'CHAIN_FORKED' }))
})

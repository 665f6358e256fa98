import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { toHex } from '../../src/core/bytes.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { MAX_AGE_FILE_BYTES, openAge } from '../../src/identity/age-file.ts'
import { type Home, openHome } from '../../src/identity/home.ts'
import { isTokenKey, type KeySeeds } from '../../src/identity/keys.ts'
import { openDevice, openIdentity, openKeystore, renewBinding, rotateIdentity } from '../../src/identity/keystore.ts'
import { type DeviceContent, type IdentityContent, packDevice, packIdentity, unpackDevice, unpackIdentity } from '../../src/identity/keystore-codec.ts'
import { saveKeyFile } from '../../src/identity/keystore-file.ts'
import { saveDevice, saveIdentity } from '../../src/identity/keystore-save.ts'
import { readPrivateFile } from '../../src/identity/private-file.ts'
import { manualClock } from './clock.ts'
import { person, rotate, seedsOf, T0 } from './make.ts'
import { secret, temporaryDirectory } from './temp.ts'

const FIXTURES = fileURLToPath(new URL('./fixtures/', import.meta.url))
const NAMES = readdirSync(FIXTURES).filter((name) => !name.includes('.'))
/** Where the version stands: behind `kith-identity` and `kith-device`. */
const VERSION_AT = { 'identity.age': 13, 'device.age': 11 } as const
const NEWEST = { 'identity.age': 2, 'device.age': 2 } as const

interface Expected {
  readonly passphrase: string
  readonly did: string
  readonly now: number
  readonly createdMs: number
  readonly generation: number
  readonly mayRotate: boolean
  readonly seeds: { readonly ed25519: string; readonly mldsa: string | null }
  readonly next: { readonly ed25519: string; readonly mldsa: string | null }
  readonly phrase: string | null
  readonly head: string
  readonly device: { readonly seeds: Expected['seeds']; readonly root: string | null; readonly name: string; readonly serial: number; readonly binding: string }
}

const hex = (value: Secret): string => value.use((bytes) => bytes.toString('hex'))

function seedsText(seeds: KeySeeds): unknown {
  const { ed25519, mldsa } = seeds
  return { ed25519: isTokenKey(ed25519) ? `${ed25519.uri} ${toHex(ed25519.publicKey)}` : hex(ed25519), mldsa: mldsa === undefined ? null : hex(mldsa) }
}

const identityText = (content: IdentityContent): unknown => ({
  createdMs: content.createdMs,
  generation: content.generation,
  mayRotate: content.mayRotate,
  seeds: seedsText(content.seeds),
  next: seedsText(content.next),
  phrase: content.phrase === undefined ? null : content.phrase.use((bytes) => bytes.toString()),
  head: toHex(content.chain.head),
})

const deviceText = (content: Pick<DeviceContent, 'seeds' | 'name' | 'serial' | 'binding'> & { root: Secret | undefined }): Expected['device'] => ({
  seeds: seedsText(content.seeds) as Expected['seeds'],
  root: content.root === undefined ? null : hex(content.root),
  name: content.name,
  serial: content.serial,
  binding: createHash('sha256').update(content.binding).digest('hex'),
})

function copyFixture(t: TestContext, name: string): { path: string; expected: Expected } {
  const path = join(temporaryDirectory(t), 'home')
  mkdirSync(path, { mode: 0o700 })
  for (const file of ['identity.age', 'device.age']) {
    copyFileSync(join(FIXTURES, name, file), join(path, file))
    chmodSync(join(path, file), 0o600)
  }
  return { path, expected: JSON.parse(readFileSync(join(FIXTURES, name, 'expected.json'), 'utf8')) as Expected }
}

async function versionOf(home: Home, file: keyof typeof VERSION_AT, passphrase: Secret): Promise<number> {
  const opened = await openAge((await readPrivateFile(join(home.paths.root, file), MAX_AGE_FILE_BYTES)) as Uint8Array, passphrase)
  return opened.use((bytes) => bytes[VERSION_AT[file]] as number)
}

test('fixtures, one of every version and one of the newest, are there', () => {
  const versions = NAMES.map((name) => /^identity-(\d)-device-(\d)-/.exec(name)).map((match) => [match?.[1], match?.[2]].join(' '))
  for (const pair of ['1 1', '1 2', '2 2']) assert.ok(versions.includes(pair), pair)
  assert.equal(Math.max(...versions.map((pair) => Number(pair[0]))), NEWEST['identity.age'], 'a new version needs a fixture')
  assert.equal(Math.max(...versions.map((pair) => Number(pair[2]))), NEWEST['device.age'], 'a new version needs a fixture')
})

for (const name of NAMES) {
  test(`keystore ${name}, opened and saved, is of the newest version and has lost nothing`, async (t) => {
    const { path, expected } = copyFixture(t, name)
    const passphrase = secret(expected.passphrase)
    const options = { passphrase, clock: manualClock(expected.now), random: systemRandom, workFactor: 1 }
    const { passphrase: _, did, now, device: machine, ...identityExpected } = expected
    await using home = await openHome(path)
    let root: string | null = null
    for (const round of ['as it was kept', 'as it was saved']) {
      using identity = await openIdentity(home, options)
      using device = await openDevice(home, { ...options, renew: false })
      assert.equal(identity.did, did)
      assert.deepEqual(identityText(identity.content), identityExpected, round)
      const kept = deviceText(device.content)
      // Version 1 of device.age had no root: it gets one at once, which then stays.
      root ??= machine.root ?? kept.root
      assert.deepEqual(kept, { ...machine, root }, round)
      await saveIdentity(home, identity.content, options)
      await saveDevice(home, device.content, options)
    }
    assert.equal(await versionOf(home, 'identity.age', passphrase), NEWEST['identity.age'])
    assert.equal(await versionOf(home, 'device.age', passphrase), NEWEST['device.age'])
    const { identity, device } = await openKeystore(home, options)
    await renewBinding(home, device, identity, options)
    if (expected.mayRotate) {
      const rotated = await rotateIdentity(home, device, identity, { ...options, reason: 'scheduled', next: seedsOf('after', expected.next.mldsa !== null) })
      assert.deepEqual(seedsText(rotated.identity.content.seeds), expected.next)
      rotated.identity.close()
    }
    identity.close()
    device.close()
  })

  test(`keystore ${name}, with the version of a build to come, is refused untouched`, async (t) => {
    const { path, expected } = copyFixture(t, name)
    const passphrase = secret(expected.passphrase)
    await using home = await openHome(path)
    for (const [file, open] of [
      ['identity.age', openIdentity],
      ['device.age', openDevice],
    ] as const) {
      const at = join(path, file)
      const opened = await openAge(readFileSync(at), passphrase)
      opened.fill((bytes) => bytes.set([NEWEST[file] + 1], VERSION_AT[file]))
      await saveKeyFile(at, opened, passphrase, { random: systemRandom, workFactor: 1 })
      const before = readFileSync(at)
      await assert.rejects(open(home, { passphrase }), { code: 'KEYSTORE_UNSUPPORTED', details: { version: NEWEST[file] + 1 } })
      assert.deepEqual(readFileSync(at), before)
    }
  })
}

const seedsArbitrary = (name: string) => fc.record({ text: fc.string(), mldsa: fc.boolean() }).map(({ text, mldsa }) => seedsOf(`${name} ${text}`, mldsa))
const chains = [person('a'), person('b', { mldsa: true })].map((who) => {
  for (let at = 0; at < 2; at++) rotate(who, 'lost')
  return who.chain
})
const contents: fc.Arbitrary<IdentityContent> = fc.record({
  createdMs: fc.nat(),
  generation: fc.nat({ max: 2 ** 31 - 1 }),
  mayRotate: fc.boolean(),
  seeds: seedsArbitrary('now'),
  next: seedsArbitrary('next'),
  phrase: fc.option(fc.string({ minLength: 1, maxLength: 200, unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz ') }).map(secret), { nil: undefined }),
  chain: fc.constantFrom(...chains),
})

test('identity of any content, packed and unpacked again, also from the layout of version 1, keeps every key', () => {
  fc.assert(
    fc.property(contents, (content) => {
      const expected = identityText(content)
      const packed = packIdentity(content)
      assert.deepEqual(identityText(unpackIdentity(packed)), expected)
      assert.deepEqual(identityText(unpackIdentity(asVersion1(packed, content))), expected)
    }),
    { numRuns: 60 },
  )
})

test('device of any content, packed and unpacked again, also from the layout of version 1, keeps every key', () => {
  const chain = chains[0] as IdentityContent['chain']
  fc.assert(
    fc.property(
      fc.record({
        seeds: seedsArbitrary('device'),
        root: fc.uint8Array({ minLength: 32, maxLength: 32 }),
        name: fc.string({ minLength: 1, maxLength: 16 }),
        serial: fc.nat(),
        boot: fc.nat(),
        binding: fc.uint8Array({ maxLength: 200 }),
      }),
      ({ root, ...rest }) => {
        const content = { ...rest, createdMs: T0, root: Secret.take(root), chain } as DeviceContent
        const expected = deviceText(content)
        const packed = packDevice(content)
        assert.deepEqual(deviceText(unpackDevice(packed)), expected)
        // Version 1 is the same without the root, which stands behind the seeds.
        const bytes = packed.use((whole) => Buffer.from(whole))
        const rootAt = 11 + 1 + 8 + 33 + (content.seeds.mldsa === undefined ? 0 : 32)
        bytes[11] = 1
        const first = Secret.take(Buffer.concat([bytes.subarray(0, rootAt), bytes.subarray(rootAt + 32)]))
        assert.deepEqual(deviceText(unpackDevice(first)), { ...expected, root: null })
      },
    ),
    { numRuns: 60 },
  )
})

/** Version 1 of `identity.age` has no kind in front of each key set. */
function asVersion1(packed: Secret, { seeds }: IdentityContent): Secret {
  const bytes = packed.use((whole) => Buffer.from(whole))
  bytes[13] = 1
  const first = 13 + 1 + 8 + 4 + 1
  const second = first + 1 + 33 + (seeds.mldsa === undefined ? 0 : 32)
  return Secret.take(Buffer.concat([bytes.subarray(0, first), bytes.subarray(first + 1, second), bytes.subarray(second + 1)]))
}

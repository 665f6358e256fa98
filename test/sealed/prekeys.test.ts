import assert from 'node:assert/strict'
import { test } from 'node:test'
import { equal, toHex, utf8 } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { xwingPublicKey } from '../../src/core/crypto/xwing.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom, systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { decodeBinding } from '../../src/identity/binding.ts'
import type { Device } from '../../src/identity/types.ts'
import { decodePrekey, kidOf, PREKEY_LIFE_MS, signPrekey, verifyPrekey } from '../../src/mesh/sealed/prekey-codec.ts'
import { Prekeys } from '../../src/mesh/sealed/prekeys.ts'
import { openMessage, sealMessage } from '../../src/mesh/sealed/sealing.ts'
import { NOW, testDevice, testIdentity } from '../mesh/fixtures.ts'
import { machine, message } from './make.ts'

const DAY = 86_400_000
const identity = testIdentity('ben', { mldsa: true })
const { did } = identity.chain
const ann = machine('ann')

interface Bench {
  readonly clock: ManualClock
  readonly store: Store
  readonly made: number[]
  open(device?: Device): Promise<Prekeys>
}

function bench(): Bench {
  const clock = manualClock(NOW)
  const store = createMemoryStore()
  const made: number[] = []
  const random = seededRandom('prekeys')
  return {
    clock,
    store,
    made,
    open: (device = testDevice(identity, 'ben')) =>
      Prekeys.open({ store, device: () => device, clock, random, logger: silentLogger, onNew: () => made.push(clock.now()) }),
  }
}

/** Lets time pass as a running node does. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  await clock.run(ms)
  await new Promise((resolve) => setImmediate(resolve))
}

test('prekey, published, is signed by the machine with both its keys and verifies for nobody else', async () => {
  const { open } = bench()
  const device = testDevice(identity, 'ben')
  const signed = await (await open(device)).current()
  const key = { ed25519: device.linkSigner.publicKey, mldsa: device.mldsaSigner?.publicKey }
  const prekey = verifyPrekey(signed, key)
  assert.equal(prekey.did, device.did)
  assert.equal(prekey.notAfterMs - prekey.notBeforeMs, 7 * DAY)
  assert.deepEqual(prekey.kid, kidOf(prekey.key))
  const other = testDevice(testIdentity('eve', { mldsa: true }), 'eve')
  const otherKey = { ed25519: other.linkSigner.publicKey, mldsa: other.mldsaSigner?.publicKey }
  assert.throws(() => verifyPrekey(signed, otherKey), { code: 'SIGNATURE_INVALID' })
  assert.throws(() => verifyPrekey(signed, { ...key, mldsa: otherKey.mldsa }), { code: 'SIGNATURE_INVALID' })
  assert.throws(() => verifyPrekey(signed, { ...key, mldsa: undefined }), { code: 'SIGNATURE_INVALID' })
  for (const at of [0, 1, 40, 70, 75, 1289, 1305, 1306, 1370, 2000]) {
    const changed = Uint8Array.from(signed)
    changed[at] = (changed[at] as number) ^ 1
    assert.throws(() => verifyPrekey(changed, key), { name: 'KithError' }, `byte ${at}`)
  }
})

test('prekey, of more than a week or with a key id of another key, is malformed', () => {
  const device = testDevice(identity, 'ben')
  const signer = { ed25519: device.linkSigner, mldsa: device.mldsaSigner }
  const key = ann.target.key
  const good = { did: device.did, device: device.linkSigner.publicKey, kid: kidOf(key), key, notBeforeMs: NOW, notAfterMs: NOW + PREKEY_LIFE_MS }
  decodePrekey(signPrekey(good, signer))
  for (const bad of [{ notAfterMs: NOW + PREKEY_LIFE_MS + 1 }, { notAfterMs: NOW }, { kid: new Uint8Array(8) }]) {
    assert.throws(() => decodePrekey(signPrekey({ ...good, ...bad }, signer)), { code: 'WIRE_MALFORMED' })
  }
  const notAKey = new Uint8Array(1216).fill(0xff)
  assert.throws(() => decodePrekey(signPrekey({ ...good, key: notAKey, kid: kidOf(notAKey) }, signer)), { code: 'KEY_INVALID' })
})

test('prekey, a running node, makes a new one each week with half a day of overlap', async () => {
  const { clock, made, open } = bench()
  const prekeys = await open()
  await prekeys.current()
  prekeys.start()
  await pass(clock, 28 * DAY)
  assert.equal(made.length, 5)
  for (const [i, at] of made.slice(1).entries()) assert.ok(Math.abs(at - (made[i] as number) - 6.5 * DAY) <= 3_600_000)
  assert.ok(decodePrekey(await prekeys.current()).notAfterMs > clock.now() + DAY / 2)
  prekeys.close()
  assert.equal(clock.pending, 0)
})

test('prekey, after a restart, is the same; the secret stands in the store only sealed', async () => {
  const { store, open } = bench()
  const first = await open()
  const signed = await first.current()
  const { device, kid } = decodePrekey(signed)
  const seed = (await first.find(device, kid))?.use((bytes) => Buffer.from(bytes))
  assert.ok(seed !== undefined)
  for await (const { value } of store.scan('mail/prekey')) assert.equal(Buffer.from(value).indexOf(seed), -1)
  const second = await open()
  assert.deepEqual(await second.current(), signed)
  assert.deepEqual(
    (await second.find(device, kid))?.use((bytes) => Buffer.from(bytes)),
    seed,
  )
  const stolen = await open(testDevice(identity, 'another machine'))
  await assert.rejects(stolen.find(device, kid), { code: 'STORE_FAILED' }, 'the store without device.age opens nothing')
})

test('device, seized after 60 days, opens the messages of the last 21 days and none before', async () => {
  const { clock, store, open } = bench()
  const prekeys = await open()
  await prekeys.current()
  prekeys.start()
  const kept: { readonly at: number; readonly sealed: Uint8Array; readonly kid: string }[] = []
  for (let hours = 0; hours < 60 * 24; hours += 7) {
    const { device, kid, key } = decodePrekey(await prekeys.current())
    const { envelope, head } = message(ann, did, utf8(`hour ${hours}`), { expiresMs: clock.now() + 14 * DAY })
    kept.push({ at: clock.now(), sealed: sealMessage(envelope, head, [{ device, kid, key }], systemRandom), kid: toHex(kid) })
    await pass(clock, (7 / 24) * DAY)
  }
  prekeys.close()
  const left = new Set<string>()
  for await (const { key } of store.scan('mail/prekey')) left.add(toHex(key))
  assert.ok(left.size <= 4)
  const thief = await open()
  for (const { at, sealed, kid } of kept) {
    const age = clock.now() - at
    if (age > 21 * DAY) assert.equal(left.has(kid), false, `the secret for a message of ${age / DAY} days ago is gone, whatever clock it is looked at with`)
    const opened = await openMessage(sealed, did, thief).then(
      () => true,
      () => false,
    )
    if (age > 21 * DAY) assert.equal(opened, false, `a message of ${age / DAY} days ago`)
    if (age <= 14 * DAY) assert.equal(opened, true, `a message of ${age / DAY} days ago, which may still be on its way`)
  }
})

test('prekey, made under a clock that ran a year ahead, is replaced and wiped when the clock is right again', async () => {
  const { clock, store, open } = bench()
  clock.setWall(NOW + 365 * DAY)
  const ahead = await open()
  const wrong = decodePrekey(await ahead.current())
  ahead.close()
  clock.setWall(NOW)
  const right = await open()
  const prekey = decodePrekey(await right.current())
  assert.equal(equal(prekey.kid, wrong.kid), false)
  assert.equal(prekey.notBeforeMs, NOW)
  assert.equal(await right.find(wrong.device, wrong.kid), undefined)
  const kids: string[] = []
  for await (const { key } of store.scan('mail/prekey')) kids.push(toHex(key))
  assert.deepEqual(kids, [toHex(prekey.kid)])
})

test('prekeys, of a link key that was replaced, still open what is on its way, and a new one is published', async () => {
  const { open } = bench()
  const before = testDevice(identity, 'ben')
  const signed = await (await open(before)).current()
  const { device, kid } = decodePrekey(signed)
  // The machine's root stays when its link key is replaced.
  const after: Device = { ...testDevice(identity, 'ben 2'), deriveSecret: before.deriveSecret }
  const prekeys = await open(after)
  assert.notEqual(await prekeys.find(device, kid), undefined)
  const fresh = decodePrekey(await prekeys.current())
  assert.deepEqual(fresh.device, after.linkSigner.publicKey)
})

test('fallback key, of the binding, is found for this machine under its key id alone', async () => {
  const { open } = bench()
  const device = testDevice(identity, 'ben')
  const prekeys = await open(device)
  const linkKey = device.linkSigner.publicKey
  const fallback = decodeBinding(device.binding).fallbackKem
  assert.ok(fallback !== undefined)
  const found = await prekeys.find(linkKey, kidOf(fallback))
  assert.ok(found !== undefined)
  assert.deepEqual(xwingPublicKey(found), fallback)
  found.wipe()
  assert.equal(await prekeys.find(linkKey, new Uint8Array(8)), undefined)
  assert.equal(await prekeys.find(ann.linkKey, kidOf(fallback)), undefined)
})

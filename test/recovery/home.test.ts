import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { loadRecoveryKeys, removeRecoveryKeys, saveRecoveryKeys } from '../../src/daemon/recovery/key-file.ts'
import { policyFrom, policyState } from '../../src/daemon/recovery/policy.ts'
import { openHome } from '../../src/identity/home.ts'
import { createKeystore } from '../../src/identity/keystore.ts'
import type { RecoveryPolicy } from '../../src/identity/types.ts'
import { DAY, person, rotate, T0 } from '../identity/make.ts'
import { didOf, POLICY } from './support.ts'

const secret = (text: string): Secret => Secret.take(Buffer.from(text))
const code = (wanted: string) => (error: unknown) => isKithError(error) && error.code === wanted

test('new keys of a recovery, saved, are read by the passphrase alone, hidden at rest, and gone when removed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-recovery-'))
  try {
    await using home = await openHome(join(folder, 'home'))
    using passphrase = secret('right')
    const phrase = secret('legal winner thank year wave sausage worth useful legal winner thank yellow')
    await saveRecoveryKeys(home, { did: didOf('ann'), phrase }, { passphrase, random: seededRandom('s'), workFactor: 1 })
    for (const name of readdirSync(join(folder, 'home'))) assert.equal(readFileSync(join(folder, 'home', name)).includes('sausage'), false)
    const kept = await loadRecoveryKeys(home, passphrase)
    assert.equal(kept?.did, didOf('ann'))
    assert.equal(kept?.phrase.equals(phrase), true)
    kept?.phrase.wipe()
    using wrong = secret('wrong')
    await assert.rejects(loadRecoveryKeys(home, wrong), code('PASSPHRASE_WRONG'))
    const path = join(folder, 'home', 'recovery.age')
    const bytes = readFileSync(path)
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
    writeFileSync(path, bytes)
    await assert.rejects(loadRecoveryKeys(home, passphrase), code('KEYSTORE_DAMAGED'))
    await removeRecoveryKeys(home)
    await removeRecoveryKeys(home)
    assert.equal(await loadRecoveryKeys(home, passphrase), undefined)
    phrase.wipe()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('passphrase of a home that recovers an identity, changed, opens the new keys too and the old one nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-recovery-'))
  const root = join(folder, 'home')
  try {
    using first = secret('first')
    using second = secret('second')
    await using keystore = await createKeystore(root, { passphrase: first, workFactor: 1 })
    const phrase = secret('legal winner thank year wave sausage worth useful legal winner thank yellow')
    await saveRecoveryKeys(keystore.home, { did: didOf('ann'), phrase }, { passphrase: first, random: seededRandom('s'), workFactor: 1 })
    await keystore.close()
    await changePassphrase(root, first, second, { environment: { XDG_STATE_HOME: join(folder, 'state') }, workFactor: 1 })
    await using home = await openHome(root)
    await assert.rejects(loadRecoveryKeys(home, first), code('PASSPHRASE_WRONG'))
    const kept = await loadRecoveryKeys(home, second)
    assert.equal(kept?.phrase.equals(phrase), true)
    kept?.phrase.wipe()
    phrase.wipe()
    assert.ok(existsSync(join(root, 'recovery.age')))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('policy, each rule broken, refused before it stands in the history for good', () => {
  const bad = (change: Partial<RecoveryPolicy>) =>
    assert.throws(() => policyFrom(didOf('ann'), { ...POLICY, ...change }), code('USAGE'), JSON.stringify(change))
  assert.deepEqual(policyFrom(didOf('ann'), POLICY), POLICY)
  bad({ threshold: 0 })
  bad({ threshold: 6 })
  bad({ threshold: 1.5 })
  bad({ override: 3 })
  bad({ override: 6 })
  bad({ delayS: 86_399 })
  bad({ delayS: 366 * 86_400 })
  bad({ trustees: [] })
  bad({ trustees: [didOf('tia'), didOf('tia')], threshold: 1 })
  bad({ trustees: [didOf('ann')], threshold: 1 })
})

test('policy, changed, is shown as the later one until the delay of the one before is over', () => {
  const who = person('ann', { policy: POLICY })
  assert.deepEqual(policyState(who.chain, T0), { inForce: POLICY, later: undefined })
  const next: RecoveryPolicy = { ...POLICY, threshold: 2, delayS: 86_400 }
  rotate(who, 'scheduled', { now: T0 + 5 * DAY, policy: next })
  rotate(who, 'scheduled', { now: T0 + 6 * DAY, policy: next })
  assert.deepEqual(policyState(who.chain, T0 + 7 * DAY), { inForce: POLICY, later: { policy: next, fromMs: T0 + 8 * DAY } })
  assert.deepEqual(policyState(who.chain, T0 + 8 * DAY), { inForce: next, later: undefined })
  assert.deepEqual(policyState(person('bea').chain, T0), { inForce: undefined, later: undefined })
})

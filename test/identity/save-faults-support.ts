import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Clock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { verifyBinding } from '../../src/identity/binding.ts'
import { type Home, openHome } from '../../src/identity/home.ts'
import { createKeystore, type Keystore, type KeystoreOptions, openKeystore } from '../../src/identity/keystore.ts'
import { keyFileIntact } from '../../src/identity/keystore-file.ts'
import { manualClock } from './clock.ts'
import { Killed, withFault } from './faults.ts'
import { seedsOf, T0 } from './make.ts'
import { secret, temporaryDirectory } from './temp.ts'

export const clock: Clock = manualClock(T0)
export const options = (passphrase = 'right'): KeystoreOptions => ({ passphrase: secret(passphrase), clock, random: systemRandom, workFactor: 1 })

export interface Before {
  readonly base: string
  readonly did: string
  readonly linkKey: Uint8Array
  readonly serial: number
}

export async function template(t: TestContext): Promise<Before> {
  const base = temporaryDirectory(t)
  const made = await createKeystore(join(base, 'home'), { ...options(), identity: { seeds: seedsOf('me 0'), next: seedsOf('me 1') }, name: 'laptop' })
  const { did } = made.identity
  const { serial } = made.device
  const linkKey = Uint8Array.from(made.device.linkSigner.publicKey)
  await made.close()
  // What every home gets when it is next taken is there already.
  await (await openHome(join(base, 'home'))).close()
  return { base, did, linkKey, serial }
}

/** Runs `work` once per step (or every `stride`th) at which it can be cut, each on a copy of the home, and lets `check` look at what is left. */
export async function atEveryStep(
  before: Before,
  mode: 'kill' | 'full',
  work: (home: string, base: string) => Promise<unknown>,
  check: (home: string, error: unknown, base: string) => Promise<void>,
  stride = 1,
): Promise<number> {
  for (let step = 1; ; step += stride) {
    const base = join(before.base, `${mode}-${step}`)
    const home = join(base, 'home')
    copyHome(before.base, base)
    const { steps, error } = await withFault(mode, step, () => work(home, base))
    await check(home, error, base)
    if (steps < step) {
      assert.equal(error, undefined, 'without a fault it succeeds')
      return step
    }
  }
}

/** Opens the home by the first of these passphrases that fits, and says which. */
export async function whole(path: string, passphrases: readonly string[], before: Before, sameLinkKey = false): Promise<string> {
  await using home: Home = await openHome(path)
  for (const passphrase of passphrases) {
    try {
      const { identity, device } = await openKeystore(home, options(passphrase))
      assert.equal(identity.did, before.did)
      assert.deepEqual(verifyBinding(device.binding, { chain: identity.chain, now: T0 }).linkKey, device.linkSigner.publicKey)
      if (sameLinkKey) assert.deepEqual(Uint8Array.from(device.linkSigner.publicKey), before.linkKey)
      identity.close()
      device.close()
      assert.equal(await keyFileIntact(home.paths.identity), true)
      assert.equal(await keyFileIntact(home.paths.device), true)
      const left = readdirSync(path).filter((name) => /\.tmp$|\.new$|\.unopened$|^keys\.change$/.test(name))
      assert.deepEqual(left, [])
      return passphrase
    } catch (error) {
      if (!isKithError(error, 'PASSPHRASE_WRONG')) throw error
    }
  }
  throw new Error(`nothing opens ${path}`)
}

export function copyHome(from: string, to: string): void {
  mkdirSync(to)
  mkdirSync(join(to, 'home'), { mode: 0o700 })
  cpSync(join(from, 'home'), join(to, 'home'), { recursive: true })
}

/** Work on an open keystore; the home's lock is released as the system would. */
const opened =
  (work: (keystore: Keystore) => Promise<unknown>) =>
  async (path: string): Promise<void> => {
    const keystore = await openKeystore(path, options())
    try {
      await work(keystore)
    } finally {
      await keystore.close()
    }
  }

/** What holds for every save, at every step of it: killed, or the disk full. */
export function saveSuite(saves: Readonly<Record<string, (keystore: Keystore) => Promise<unknown>>>): void {
  for (const [name, work] of Object.entries(saves)) {
    test(`${name}, killed at every step of saving, leaves a home that opens whole`, async (t) => {
      const before = await template(t)
      const steps = await atEveryStep(before, 'kill', opened(work), async (home, error) => {
        assert.ok(error === undefined || error instanceof Killed || isKithError(error, 'KEYSTORE_NOT_SAVED'), String(error))
        await whole(home, ['right'], before)
      })
      assert.ok(steps > 10, `${steps} steps`)
    })

    test(`${name}, the disk full at every step, says so and leaves a home that opens whole`, async (t) => {
      const before = await template(t)
      let refused = 0
      await atEveryStep(before, 'full', opened(work), async (home, error) => {
        if (error !== undefined) {
          refused++
          assert.ok(isKithError(error, 'KEYSTORE_NOT_SAVED'), String(error))
          assert.equal(error.details.reason, 'ENOSPC')
          assert.match(String(error.next), /^free some space/)
        }
        await whole(home, ['right'], before)
      })
      assert.ok(refused > 3)
    })
  }
}

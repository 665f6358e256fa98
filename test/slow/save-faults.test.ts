import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { setUpIdentity } from '../../src/daemon/identity/setup.ts'
import { openHome } from '../../src/identity/home.ts'
import { hasIdentity, openKeystore, rotateDeviceKey, rotateIdentity } from '../../src/identity/keystore.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { withFault } from '../identity/faults.ts'
import { seedsOf } from '../identity/make.ts'
import { atEveryStep, clock, copyHome, options, saveSuite, template, whole } from '../identity/save-faults-support.ts'
import { secret, temporaryDirectory } from '../identity/temp.ts'

saveSuite({
  'a new link key': ({ home, device, identity }) => rotateDeviceKey(home, device, identity, options()),
  'a rotation': ({ home, device, identity }) => rotateIdentity(home, device, identity, { ...options(), reason: 'lost', next: seedsOf('me 2') }),
})

for (const mode of ['kill', 'full'] as const) {
  test(`passphrase, its change cut at every step (${mode}), opens both files by the old one or both by the new one, with the same link key`, async (t) => {
    const before = await template(t)
    const seen = new Set<string>()
    const change = (home: string) => changePassphrase(home, secret('right'), secret('better'), { environment: {}, workFactor: 1 })
    await atEveryStep(before, mode, change, async (home, error) => {
      if (mode === 'full' && error !== undefined)
        assert.equal((error as { code?: string }).code, /* the summary beside the keys is no key file */ isKithError(error) ? 'KEYSTORE_NOT_SAVED' : 'ENOSPC')
      seen.add(await whole(home, ['right', 'better'], before, true))
    })
    assert.deepEqual([...seen].sort(), ['better', 'right'])
  })
}

// Some hundred homes, each opened again: half a minute. The saves of a home that has an identity are in test/identity/save-faults.test.ts.
for (const mode of ['kill', 'full'] as const) {
  test(`passphrase, given up and taken up again, cut at every step (${mode}), is the one that the home finds by itself or the one before`, async (t) => {
    const before = await template(t)
    const environment = (base: string) => ({ XDG_STATE_HOME: join(base, 'state') })
    const found = async (home: string, base: string): Promise<string> => {
      const taken = await openHome(home)
      try {
        const { secret: kept } = await resolvePassphrase({ environment: environment(base), home: taken, prompt: async () => secret('right') })
        return kept.use((bytes) => bytes.toString())
      } finally {
        await taken.close()
      }
    }
    await atEveryStep(
      before,
      mode,
      (home, base) => changePassphrase(home, secret('right'), undefined, { environment: environment(base), workFactor: 1 }),
      async (home, _error, base) => void (await whole(home, [await found(home, base)], before, true)),
    )
    // And back, from a home that has none.
    const without = join(before.base, 'without')
    copyHome(before.base, without)
    await changePassphrase(join(without, 'home'), secret('right'), undefined, { environment: environment(without), workFactor: 1 })
    await atEveryStep(
      { ...before, base: without },
      mode,
      async (home, base) => {
        mkdirSync(join(base, 'state'))
        mkdirSync(join(base, 'state', 'kith'), { mode: 0o700 })
        cpSync(join(without, 'state'), join(base, 'state'), { recursive: true })
        const kept = await found(home, base)
        await changePassphrase(home, secret(kept), secret('right'), { environment: environment(base), workFactor: 1 })
      },
      async (home, _error, base) => void (await whole(home, [await found(home, base)], before, true)),
    )
  })

  test(`identity, its making cut at every step (${mode}), is there whole or can be made again`, async (t) => {
    const base = temporaryDirectory(t)
    for (let step = 1; ; step++) {
      const path = join(base, `${mode}-${step}`)
      const make = async (): Promise<string> => {
        await using home = await openHome(path)
        const { summary, phrase } = await setUpIdentity({ home, clock, random: systemRandom, environment: { XDG_STATE_HOME: join(base, `state-${step}`) } })
        phrase.wipe()
        return summary.did
      }
      const { steps, error } = await withFault(mode, step, make)
      await using home = await openHome(path)
      if (await hasIdentity(home)) {
        const { secret: kept } = await resolvePassphrase({ environment: { XDG_STATE_HOME: join(base, `state-${step}`) }, home })
        const keystore = await openKeystore(home, { ...options(), passphrase: kept })
        assert.ok(keystore.identity.phrase())
        await keystore.close()
      } else {
        assert.notEqual(error, undefined)
        assert.ok(!existsSync(home.paths.device))
        await home.close()
        await make()
      }
      if (steps < step) break
    }
  })
}

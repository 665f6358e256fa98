import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, watch } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { isDuressSet, removeDuress, setDuress } from '../../src/daemon/identity/duress.ts'
import { openDeviceWith } from '../../src/daemon/identity/open.ts'
import { type Home, openHome } from '../../src/identity/home.ts'
import { createKeystore, openDevice, openIdentity, openKeystore, renewBinding, rotateDeviceKey, rotateIdentity } from '../../src/identity/keystore.ts'
import { spareDirectory } from '../../src/identity/spare.ts'
import { manualClock } from './clock.ts'
import { withFault } from './faults.ts'
import { seedsOf, T0 } from './make.ts'
import { secret, temporaryDirectory } from './temp.ts'

const clock = manualClock(T0)
const options = (passphrase = 'first') => ({ passphrase: secret(passphrase), clock, random: systemRandom, workFactor: 1 })

async function make(t: TestContext): Promise<string> {
  const path = join(temporaryDirectory(t), 'home')
  const made = await createKeystore(path, { ...options(), identity: { seeds: seedsOf('d 0'), next: seedsOf('d 1') }, name: 'node' })
  await made.close()
  return path
}

async function withDevice<T>(path: string, passphrase: string, run: (parts: Parameters<typeof setDuress>[0]) => Promise<T>): Promise<T> {
  await using home = await openHome(path)
  using device = await openDevice(home, { ...options(passphrase), renew: false })
  return await run({ home, device, clock, random: systemRandom, workFactor: 1 })
}

const didBy = async (path: string, passphrase: string): Promise<string> => {
  await using home = await openHome(path)
  using identity = await openIdentity(home, options(passphrase))
  return identity.did
}

/** What can be seen of the second keystore without any passphrase. */
function look(path: string): { readonly names: readonly string[]; readonly sizes: readonly number[]; readonly headers: readonly string[] } {
  const directory = spareDirectory(path)
  const names = readdirSync(directory).sort()
  const files = names.map((name) => readFileSync(join(directory, name)))
  const headers = files.map((file) =>
    file.includes('age-encryption')
      ? file
          .toString('latin1')
          .split('\n')
          .slice(0, 4)
          .map((line) => line.replaceAll(/[A-Za-z0-9+/]{22,43}/g, '*'))
          .join('|')
      : '',
  )
  for (const name of names) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name)
  return { names, sizes: files.map(({ length }) => length), headers }
}

test('second keystore, set or not, looks the same from outside', async (t) => {
  const path = await make(t)
  await (await openHome(path)).close()
  const without = look(path)
  await withDevice(path, 'first', async (parts) => {
    const { workFactor: _, ...full } = parts
    await setDuress(full, secret('second'))
  })
  const set = look(path)
  assert.deepEqual(set.names, without.names)
  assert.deepEqual(set.headers, without.headers)
  const at = (name: string): number => set.names.indexOf(name)
  for (const name of set.names) if (name !== 'identity.age') assert.equal(set.sizes[at(name)], without.sizes[at(name)], name)
  // The phrase is the one part of no fixed length: 24 words of 3 to 8 letters.
  const phrase = await withDevice(path, 'second', async ({ home }) => {
    using identity = await openIdentity(home, options('second'))
    return identity.phrase()?.length as number
  })
  assert.equal((set.sizes[at('identity.age')] as number) - phrase, 5_833 + (phrase < 128 ? 1 : 2))
  for (const { sizes } of [without, set]) assert.ok(Math.abs((sizes[at('identity.age')] as number) - 5_985) <= 70)
  await withDevice(path, 'first', removeDuress)
  assert.deepEqual(look(path).headers, without.headers)
})

test('second passphrase, opens another identity, and whatever is saved then leaves the first untouched', async (t) => {
  const path = await make(t)
  const did = await didBy(path, 'first')
  assert.equal(await withDevice(path, 'first', isDuressSet), false)
  await withDevice(path, 'first', (parts) => setDuress(parts, secret('second')))
  assert.equal(await withDevice(path, 'first', isDuressSet), true)
  assert.equal(await withDevice(path, 'second', isDuressSet), false, 'the second one knows of none')
  const second = await didBy(path, 'second')
  assert.notEqual(second, did)
  const files = ['identity.age', 'identity.age.sum', 'device.age', 'device.age.sum', 'boot'].map((name) => join(path, name))
  const before = files.map((file) => readFileSync(file))
  const opened = await openKeystore(path, options('second'))
  assert.equal(opened.identity.did, second)
  await renewBinding(opened.home, opened.device, opened.identity, options('second'))
  ;(await rotateDeviceKey(opened.home, opened.device, opened.identity, options('second'))).close()
  const rotated = await rotateIdentity(opened.home, opened.device, opened.identity, { ...options('second'), reason: 'lost', next: seedsOf('other') })
  rotated.identity.close()
  await opened.close()
  await changePassphrase(path, secret('second'), secret('third'), { environment: {}, workFactor: 1 })
  assert.equal(await didBy(path, 'third'), second)
  assert.deepEqual(
    files.map((file) => readFileSync(file)),
    before,
  )
  assert.equal(await didBy(path, 'first'), did)
})

test('home, opened by one passphrase, is that identity’s until it is closed', async (t) => {
  const path = await make(t)
  await withDevice(path, 'first', (parts) => setDuress(parts, secret('second')))
  for (const [one, other] of [
    ['first', 'second'],
    ['second', 'first'],
  ] as const) {
    await using home: Home = await openHome(path)
    await assert.rejects(openDevice(home, options('neither')), { code: 'PASSPHRASE_WRONG' })
    using device = await openDevice(home, options(one))
    await assert.rejects(openIdentity(home, options(other)), { code: 'PASSPHRASE_WRONG' })
    using identity = await openIdentity(home, options(one))
    assert.equal(identity.did, device.did)
  }
})

test('second passphrase, the same as the first, refused; removed or replaced, opens nothing', async (t) => {
  const path = await make(t)
  await assert.rejects(
    withDevice(path, 'first', (parts) => setDuress(parts, secret('first'))),
    { code: 'USAGE' },
  )
  await withDevice(path, 'first', (parts) => setDuress(parts, secret('second')))
  await withDevice(path, 'first', (parts) => setDuress(parts, secret('newer')))
  await assert.rejects(didBy(path, 'second'), { code: 'PASSPHRASE_WRONG' })
  assert.ok(await didBy(path, 'newer'))
  await withDevice(path, 'first', removeDuress)
  await assert.rejects(didBy(path, 'newer'), { code: 'PASSPHRASE_WRONG' })
  assert.equal(await withDevice(path, 'first', isDuressSet), false)
})

test('second passphrase, its setting cut at every step, leaves a home that the first opens', async (t) => {
  const path = await make(t)
  const did = await didBy(path, 'first')
  for (let step = 1; ; step++) {
    const { steps, error } = await withFault('kill', step, () => withDevice(path, 'first', (parts) => setDuress(parts, secret('second'))))
    assert.equal(await didBy(path, 'first'), did)
    assert.ok(existsSync(spareDirectory(path)))
    assert.deepEqual(
      readdirSync(path).filter((name) => /^\.spare\./.test(name)),
      [],
    )
    if (steps < step) {
      assert.equal(error, undefined)
      break
    }
  }
  assert.notEqual(await didBy(path, 'second'), did)
})

test('second passphrase, given, runs the command that was asked for; the first does not', async (t) => {
  const path = await make(t)
  const folder = temporaryDirectory(t)
  await withDevice(path, 'first', (parts) => setDuress(parts, secret('second'), `echo help > '${join(folder, 'signal')}'`))
  const open = async (passphrase: string): Promise<void> => {
    await using home = await openHome(path)
    using device = await openDeviceWith(home, { ...options(passphrase), renew: false })
    assert.ok(device.did)
  }
  const signalled = new Promise<void>((resolve, reject) => {
    const watcher = watch(folder, () => {
      if (!existsSync(join(folder, 'signal'))) return
      watcher.close()
      resolve()
    })
    const timer = setTimeout(() => reject(new Error('nothing was run')), 20_000)
    t.after(() => {
      clearTimeout(timer)
      watcher.close()
    })
  })
  await open('first')
  assert.ok(!existsSync(join(folder, 'signal')))
  await open('second')
  await signalled
})

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isKithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { openHome } from '../../src/identity/home.ts'
import { createKeystore } from '../../src/identity/keystore.ts'
import { unpackDevice, unpackIdentity } from '../../src/identity/keystore-codec.ts'
import { loadKeyFile, saveKeyFile, sumPath } from '../../src/identity/keystore-file.ts'
import { manualClock } from './clock.ts'
import { seedsOf, T0 } from './make.ts'
import { secret, temporaryDirectory } from './temp.ts'

const PASSPHRASE = () => secret('right')
const CHANGER = fileURLToPath(new URL('./passphrase-changer.ts', import.meta.url))

/** Small files: an identity without post-quantum keys has some 500 bytes, so that every byte can be tried. */
async function home(t: TestContext): Promise<string> {
  const path = join(temporaryDirectory(t), 'home')
  const identity = { seeds: seedsOf('bad 0', false), next: seedsOf('bad 1', false) }
  const made = await createKeystore(path, { passphrase: PASSPHRASE(), clock: manualClock(T0), random: systemRandom, workFactor: 1, identity, name: 'x' })
  await made.close()
  return path
}

async function failure(run: Promise<Secret | undefined>): Promise<{ code: string; next: string | undefined }> {
  const error: unknown = await run.then(
    (opened) => {
      opened?.wipe()
      return new Error('it opened')
    },
    (caught: unknown) => caught,
  )
  assert.ok(isKithError(error), String(error))
  return { code: error.code, next: error.next }
}

for (const [name, unpack, step] of [
  ['identity.age', unpackIdentity, 1],
  // Its binding has 12,000 bytes of post-quantum signatures, which one MAC covers like the rest: the header byte by byte, then every 37th.
  ['device.age', unpackDevice, 37],
] as const) {
  test(`${name}, one bit changed or cut at every byte, is KEYSTORE_DAMAGED with its next step, by its checksum; without it never opens`, async (t) => {
    const at = join(await home(t), name)
    const good = readFileSync(at)
    const sum = readFileSync(sumPath(at))
    const header = good.indexOf('\n--- ') + 64
    const without: Record<string, number> = {}
    for (let byte = 0; byte < good.length; byte += byte < header ? 1 : step) {
      const flipped = Buffer.from(good)
      flipped[byte] = (flipped[byte] as number) ^ (1 << (byte % 8))
      for (const bad of [flipped, good.subarray(0, byte)]) {
        writeFileSync(at, bad)
        writeFileSync(sumPath(at), sum, { mode: 0o600 })
        // A work factor that a flipped bit raised beyond 20 is refused before it is computed; below, it costs what it says.
        const { code, next } = await failure(loadKeyFile(at, PASSPHRASE()))
        assert.equal(code, 'KEYSTORE_DAMAGED', `byte ${byte}`)
        assert.ok(next !== undefined, `byte ${byte} has no next step`)
        assert.deepEqual((await failure(loadKeyFile(at, secret('wrong')))).code, 'KEYSTORE_DAMAGED', `byte ${byte}`)
      }
      writeFileSync(at, flipped)
      writeFileSync(sumPath(at), '')
      const { code } = await failure(loadKeyFile(at, PASSPHRASE()))
      without[code] = (without[code] ?? 0) + 1
    }
    assert.deepEqual(Object.keys(without).sort(), ['KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED', 'PASSPHRASE_WRONG'])
    writeFileSync(at, good)
    const opened = (await loadKeyFile(at, PASSPHRASE())) as Secret
    unpack(opened)
  })

  test(`${name}, its content cut or changed at every byte under a valid seal, is refused by code or understood whole`, async (t) => {
    const at = join(await home(t), name)
    const good = ((await loadKeyFile(at, PASSPHRASE())) as Secret).use((bytes) => Buffer.from(bytes))
    for (let byte = 0; byte < good.length; byte += step) {
      for (const bad of [good.subarray(0, byte), Buffer.from(good).fill((good[byte] as number) ^ 0x81, byte, byte + 1)]) {
        if (bad.length === 0) continue
        try {
          unpack(Secret.take(Uint8Array.from(bad)))
        } catch (error) {
          assert.ok(isKithError(error), `byte ${byte}: ${String(error)}`)
          assert.ok(['KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED'].includes(error.code), error.code)
        }
      }
    }
  })
}

test('key file, a wrong passphrase for a whole one, is told from damage and changes nothing', async (t) => {
  const at = join(await home(t), 'identity.age')
  const before = readFileSync(at)
  for (const wrong of ['wrong', 'Right', 'right ', 'r', 'x'.repeat(4096)])
    assert.equal((await failure(loadKeyFile(at, secret(wrong)))).code, 'PASSPHRASE_WRONG')
  assert.deepEqual(readFileSync(at), before)
})

test('key file, whose replacement does not come back from the disk as it was written, stays and says so', async (t) => {
  const path = await home(t)
  const at = join(path, 'identity.age')
  const before = readFileSync(at)
  const opened = (await loadKeyFile(at, PASSPHRASE())) as Secret
  // A directory where the staged file should stand: every way of writing it fails.
  mkdirSync(`${at}.new`)
  await assert.rejects(saveKeyFile(at, opened, PASSPHRASE(), { random: systemRandom, workFactor: 1 }), { code: 'KEYSTORE_NOT_SAVED' })
  assert.deepEqual(readFileSync(at), before)
})

test('two processes that change the passphrase of one home at once: one does, the other is told who holds the home, and one passphrase opens it', async (t) => {
  const path = await home(t)
  const spare = join(path, '..', 'copy')
  mkdirSync(spare, { mode: 0o700 })
  for (const file of ['identity.age', 'device.age']) copyFileSync(join(path, file), join(spare, file))
  const children = ['one', 'two'].map((next) =>
    fork(CHANGER, [path, 'right', next], { execArgv: process.execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
  )
  const results = await Promise.all(
    children.map(async (child) => {
      const [[message]] = await Promise.all([once(child, 'message'), once(child, 'exit')])
      return message as string
    }),
  )
  const won = ['one', 'two'].filter((_, at) => results[at] === 'changed')
  assert.ok(won.length >= 1, results.join(' '))
  for (const result of results) assert.ok(['changed', 'HOME_IN_USE', 'PASSPHRASE_WRONG'].includes(result), result)
  await using taken = await openHome(path)
  for (const file of [taken.paths.identity, taken.paths.device]) {
    const opens = await Promise.all(won.map(async (passphrase) => loadKeyFile(file, secret(passphrase)).catch(() => undefined)))
    assert.equal(opens.filter((opened) => opened !== undefined).length, 1)
  }
  assert.ok(!existsSync(`${taken.paths.identity}.new`))
})

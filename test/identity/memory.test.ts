import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/core/random.ts'
import type { Secret } from '../../src/core/secret.ts'
import { openHome } from '../../src/identity/home.ts'
import { createKeystore, openDevice } from '../../src/identity/keystore.ts'
import { generatePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { deriveIdentitySeeds } from '../../src/vault/identity-seeds.ts'
import { scanMemory } from './memory-scan.ts'
import { secret, temporaryDirectory } from './temp.ts'

const TARGET = fileURLToPath(new URL('./memory-target.ts', import.meta.url))
const bytesOf = (value: Secret): Uint8Array => value.use((bytes) => Uint8Array.from(bytes))
const linuxOnly = { skip: process.platform !== 'linux' && 'reads /proc' }

const names = (found: readonly { name: string }[]): string[] => [...new Set(found.map((one) => one.name))].sort()

async function target(t: TestContext, ...args: string[]): Promise<ChildProcess> {
  const child = fork(TARGET, args, { execArgv: [...process.execArgv, '--expose-gc'] })
  t.after(() => child.kill('SIGKILL'))
  assert.deepEqual((await once(child, 'message'))[0], 'ready')
  return child
}

const _names = (found: readonly { name: string }[]): string[] => [...new Set(found.map((one) => one.name))].sort()

test(
  'process that has made an identity and opened it, its memory searched, shows no phrase, passphrase or key; a planted one is found',
  linuxOnly,
  async (t) => {
    const base = temporaryDirectory(t)
    const path = join(base, 'home')
    const phrase = generatePhrase(24, systemRandom)
    const passphrase = `passphrase ${Buffer.from(systemRandom.bytes(12)).toString('hex')}`
    writeFileSync(join(base, 'passphrase'), passphrase, { mode: 0o600 })
    writeFileSync(join(base, 'phrase'), bytesOf(phrase), { mode: 0o600 })
    const seed = phraseToSeed(phrase)
    const [first, next] = [deriveIdentitySeeds(seed, 0), deriveIdentitySeeds(seed, 1)]
    const child = await target(t, 'init', path, join(base, 'passphrase'), join(base, 'phrase'))
    const needles = {
      phrase: bytesOf(phrase),
      passphrase: Buffer.from(passphrase),
      seed: bytesOf(seed),
      'identity key': bytesOf(first.ed25519),
      'identity post-quantum seed': bytesOf(first.mldsa),
      'next key': bytesOf(next.ed25519),
      'next post-quantum seed': bytesOf(next.mldsa),
    }
    assert.deepEqual(scanMemory(child.pid as number, needles), [])
    child.send('plant')
    await once(child, 'message')
    assert.deepEqual(names(scanMemory(child.pid as number, needles)), ['phrase'])
  },
)

test('process that holds an open device, its memory searched, shows no key but what the runtime needs; closed, none', linuxOnly, async (t) => {
  const base = temporaryDirectory(t)
  const path = join(base, 'home')
  const passphrase = `passphrase ${Buffer.from(systemRandom.bytes(12)).toString('hex')}`
  writeFileSync(join(base, 'passphrase'), passphrase, { mode: 0o600 })
  const options = { passphrase: secret(passphrase), random: systemRandom, workFactor: 4 }
  await (await createKeystore(path, options)).close()
  const home = await openHome(path)
  const device = await openDevice(home, options)
  const needles = {
    passphrase: Buffer.from(passphrase),
    'link key': bytesOf(device.content.seeds.ed25519),
    'device post-quantum seed': bytesOf(device.content.seeds.mldsa as Secret),
  }
  device.close()
  await home.close()
  const child = await target(t, 'open', path, join(base, 'passphrase'), '')
  // node:crypto keeps the seed of an open ML-DSA key in OpenSSL's heap (README, "Where the runtime still copies").
  assert.deepEqual(names(scanMemory(child.pid as number, needles)), ['device post-quantum seed'])
  child.send('close')
  await once(child, 'message')
  assert.deepEqual(scanMemory(child.pid as number, needles), [])
})

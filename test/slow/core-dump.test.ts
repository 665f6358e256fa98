import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/core/random.ts'
import type { Secret } from '../../src/core/secret.ts'
import { generatePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { deriveIdentitySeeds } from '../../src/vault/identity-seeds.ts'
import { temporaryDirectory } from '../identity/temp.ts'

const TARGET = fileURLToPath(new URL('../identity/memory-target.ts', import.meta.url))
const bytesOf = (value: Secret): Buffer => value.use((bytes) => Buffer.from(bytes))

/** Core files must land in the working directory of the process that ends. */
function unfit(): string | false {
  if (process.platform !== 'linux') return 'needs Linux'
  return /^[^/|]/.test(readFileSync('/proc/sys/kernel/core_pattern', 'latin1')) ? false : 'the system sends core dumps elsewhere'
}

/** Makes an identity in a process, lets it end with a core dump, and gives the names of what stands in the dump. */
async function dumped(t: TestContext, plant: boolean): Promise<string[]> {
  const base = temporaryDirectory(t)
  const phrase = generatePhrase(24, systemRandom)
  const passphrase = `passphrase ${Buffer.from(systemRandom.bytes(12)).toString('hex')}`
  writeFileSync(join(base, 'passphrase'), passphrase, { mode: 0o600 })
  writeFileSync(join(base, 'phrase'), bytesOf(phrase), { mode: 0o600 })
  const args = [process.execPath, ...process.execArgv, '--expose-gc', TARGET, 'init', join(base, 'home'), join(base, 'passphrase'), join(base, 'phrase')]
  const child = spawn('sh', ['-c', 'ulimit -c unlimited && exec "$0" "$@"', ...args], { cwd: base, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  await once(child, 'message')
  if (plant) {
    child.send('plant')
    await once(child, 'message')
  }
  child.kill('SIGABRT')
  await once(child, 'exit')
  const core = readdirSync(base).find((name) => name.startsWith('core'))
  assert.ok(core !== undefined, 'no core file was written')
  const seed = phraseToSeed(phrase)
  const needles = {
    phrase: bytesOf(phrase),
    passphrase: Buffer.from(passphrase),
    seed: bytesOf(seed),
    'identity key': bytesOf(deriveIdentitySeeds(seed, 0).ed25519),
    'next key': bytesOf(deriveIdentitySeeds(seed, 1).ed25519),
  }
  return search(join(base, core), needles)
}

async function search(file: string, needles: Readonly<Record<string, Buffer>>): Promise<string[]> {
  const found = new Set<string>()
  let tail = Buffer.alloc(0)
  for await (const chunk of createReadStream(file, { highWaterMark: 8 * 1024 * 1024 })) {
    const bytes = Buffer.concat([tail, chunk as Buffer])
    for (const [name, needle] of Object.entries(needles)) if (bytes.includes(needle)) found.add(name)
    tail = bytes.subarray(-512)
  }
  return [...found]
}

test('core dump of a process that made and opened an identity, shows no phrase, passphrase or key', { skip: unfit(), timeout: 120_000 }, async (t) => {
  assert.deepEqual(await dumped(t, false), [])
})

test('core dump of a process with a planted phrase, shows exactly that', { skip: unfit(), timeout: 120_000 }, async (t) => {
  assert.deepEqual(await dumped(t, true), ['phrase'])
})

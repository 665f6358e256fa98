import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/core/random.ts'
import { generatePhrase } from '../../src/vault/bip39.ts'
import { temporaryDirectory } from '../identity/temp.ts'
import { searchFile } from '../shows/core-file.ts'
import { PLAINTEXT, vaultNeedles } from '../vault/needles.ts'

const TARGET = fileURLToPath(new URL('../vault/memory-target.ts', import.meta.url))

/** Core files must land in the working directory of the process that ends. */
function unfit(): string | false {
  if (process.platform !== 'linux') return 'needs Linux'
  return /^[^/|]/.test(readFileSync('/proc/sys/kernel/core_pattern', 'latin1')) ? false : 'the system sends core dumps elsewhere'
}

/** Lets a process do these things with a vault and end with a core dump, the limit lifted; gives the names of what stands in the dump. */
async function dumped(t: TestContext, ...acts: readonly string[]): Promise<string[]> {
  const base = temporaryDirectory(t)
  const phrase = generatePhrase(24, systemRandom)
  const file = join(base, 'phrase')
  writeFileSync(
    file,
    phrase.use((bytes) => Uint8Array.from(bytes)),
    { mode: 0o600 },
  )
  const args = [process.execPath, ...process.execArgv, TARGET, file]
  const child = spawn('sh', ['-c', 'ulimit -c unlimited && exec "$0" "$@"', ...args], { cwd: base, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  await once(child, 'message')
  for (const act of acts) {
    child.send(act)
    assert.equal((await once(child, 'message'))[0], act)
  }
  child.kill('SIGABRT')
  await once(child, 'exit')
  const core = readdirSync(base).find((name) => name.startsWith('core'))
  assert.ok(core !== undefined, 'no core file was written')
  return await searchFile(join(base, core), { ...vaultNeedles(phrase), plaintext: PLAINTEXT })
}

const options = { skip: unfit(), timeout: 120_000 }

test('core dump of a process with an open vault, shows the keys of encryption in OpenSSL and no guarded page', options, async (t) => {
  assert.deepEqual(await dumped(t, 'unlock', 'derive', 'encrypt'), ['encryption key 2', 'encryption key 3'])
})

test('core dump of a process with a locked vault, shows nothing', options, async (t) => {
  assert.deepEqual(await dumped(t, 'unlock', 'derive', 'encrypt', 'lock'), [])
})

test('core dump of a process with a planted phrase and key, shows exactly those', options, async (t) => {
  assert.deepEqual(await dumped(t, 'unlock', 'derive', 'lock', 'plant'), ['encryption key 3', 'phrase'])
})

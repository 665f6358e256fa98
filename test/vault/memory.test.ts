import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/core/random.ts'
import { generatePhrase } from '../../src/vault/bip39.ts'
import { scanMemory } from '../identity/memory-scan.ts'
import { temporaryDirectory } from '../identity/temp.ts'
import { PLAINTEXT, vaultNeedles } from './needles.ts'

/** Searches the memory of a process that uses a vault, outside of guarded pages (README.md says what may be found). */
const TARGET = fileURLToPath(new URL('./memory-target.ts', import.meta.url))
/** While a vault is open, OpenSSL holds the keys it encrypts with. */
const IN_OPENSSL = ['encryption key 2', 'encryption key 3']
const linuxOnly = { skip: process.platform !== 'linux' && 'reads /proc' }

async function target(
  t: TestContext,
): Promise<{ child: ChildProcess; needles: Record<string, Uint8Array>; act(message: string): Promise<void>; found(): string[] }> {
  const base = temporaryDirectory(t)
  const phrase = generatePhrase(24, systemRandom)
  const file = join(base, 'phrase')
  writeFileSync(
    file,
    phrase.use((bytes) => Uint8Array.from(bytes)),
    { mode: 0o600 },
  )
  const child = fork(TARGET, [file], { execArgv: process.execArgv })
  t.after(() => child.kill('SIGKILL'))
  assert.deepEqual((await once(child, 'message'))[0], 'ready')
  const needles = { ...vaultNeedles(phrase), plaintext: PLAINTEXT }
  return {
    child,
    needles,
    async act(message) {
      child.send(message)
      assert.deepEqual((await once(child, 'message'))[0], message)
    },
    found: () => [...new Set(scanMemory(child.pid as number, needles).map(({ name }) => name))].sort(),
  }
}

test('vault, opened and every kind of key used, its memory searched, shows the keys of encryption in OpenSSL and nothing else', linuxOnly, async (t) => {
  const { act, found } = await target(t)
  await act('unlock')
  assert.deepEqual(found(), [])
  await act('derive')
  assert.deepEqual(found(), [])
  await act('encrypt')
  assert.deepEqual(found(), IN_OPENSSL)
})

test('vault, locked, its memory searched, shows nothing; what is planted is found', linuxOnly, async (t) => {
  const { act, found } = await target(t)
  for (const message of ['unlock', 'derive', 'encrypt', 'lock']) await act(message)
  assert.deepEqual(found(), [])
  await act('plant')
  assert.deepEqual(found(), ['encryption key 3', 'phrase'])
})

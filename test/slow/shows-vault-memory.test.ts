import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import type { Secret } from '../../src/core/secret.ts'
import { generatePhrase } from '../../src/vault/bip39.ts'
import { createStage, type Stage } from '../cli/support.ts'
import { scanMemory } from '../identity/memory-scan.ts'
import { deviceNeedles, type Needles } from '../shows/secrets.ts'
import { hasTerminal } from '../shows/terminal.ts'
import { PLAINTEXT, vaultNeedles } from '../vault/needles.ts'

/** Searches the memory of a real daemon while its vaults are open and after they were locked, whatever way a secret came and went. */
const PASSPHRASE = 'correct horse battery staple 4711'
/** Of the device's open ML-DSA key (docs/limits.md). */
const DEVICE = 'device post-quantum seed'
const skip = hasTerminal ? false : 'needs Linux'

let stage: Stage
let home = ''
let file = ''
let phrase: Secret
let needles: Needles = {}

const found = (pid: number): string[] => [...new Set(scanMemory(pid, needles).map(({ name }) => name))].sort()
const vault = (...args: string[]): string[] => ['vault', ...args, '--home', home]

before(async () => {
  stage = await createStage()
  home = stage.home('desk')
  file = join(stage.folder, 'passphrase')
  await writeFile(file, `${PASSPHRASE}\n`, { mode: 0o600 })
  phrase = generatePhrase(24, systemRandom)
  const words = phrase.use((bytes) => bytes.toString())
  const made = await stage.kith(['init', '--restore', '--home', home, '--passphrase-file', file], { input: words })
  assert.equal(made.status, 0, made.stderr)
})
after(() => stage.close())

test('daemon whose vault is unlocked and used in every way, holds the keys of encryption in OpenSSL and nothing else; locked, not even those', {
  skip,
}, async () => {
  const node = await stage.up(home, ['--passphrase-file', file])
  needles = { ...vaultNeedles(phrase), plaintext: PLAINTEXT, passphrase: Buffer.from(PASSPHRASE), ...(await deviceNeedles(home, PASSPHRASE)) }
  await stage.json(vault('unlock', '--passphrase-file', file))
  assert.deepEqual(found(node.ready.pid), [DEVICE])

  for (const path of ["m/74'/0'/0'/0'", "m/74'/0'/1'/0'", "m/44'/60'/0'/0/0"]) await stage.json(vault('derive', path))
  const site = await stage.kith(vault('site-password', 'example.org'))
  assert.equal(site.stdout.trim(), Buffer.from(needles['site password'] as Uint8Array).toString())
  assert.deepEqual(found(node.ready.pid), [DEVICE])

  const form = await stage.json(vault('encrypt'), { input: PLAINTEXT.toString() })
  const rotated = await stage.json(vault('rotate', '--key-version', '3'), { input: JSON.stringify(form) })
  const opened = await stage.kith(vault('decrypt'), { input: JSON.stringify(rotated) })
  assert.equal(opened.stdout, PLAINTEXT.toString())
  assert.deepEqual(found(node.ready.pid), [DEVICE, 'encryption key 2', 'encryption key 3'])

  await stage.json(vault('lock'))
  assert.deepEqual(found(node.ready.pid), [DEVICE])
  // The same search finds what stands there: the DID is in the daemon's heap.
  assert.ok(scanMemory(node.ready.pid, { planted: Buffer.from(node.ready.did ?? '') }).length > 0)
  await stage.json(['down', '--home', home])
})

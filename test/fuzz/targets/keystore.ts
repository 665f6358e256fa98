import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8 } from '../../../src/core/bytes.ts'
import { KithError } from '../../../src/core/errors.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'
import { openAge, sealAge } from '../../../src/identity/age-file.ts'
import { openExport, sealExport } from '../../../src/identity/identity-export.ts'
import { finishKeyChange } from '../../../src/identity/key-change.ts'
import { publicKeysOf, wipeSeeds } from '../../../src/identity/keys.ts'
import { person, seedsOf, T0 } from '../../identity/make.ts'
import type { FuzzTarget } from '../mutate.ts'

const random = seededRandom('key files of the fuzzer')
const passphrase = Secret.take(Buffer.from('of the fuzzer'))
const seal = { random, workFactor: 1 }

async function exported(mldsa: boolean): Promise<Uint8Array> {
  const { chain } = person('fuzz', { mldsa })
  const content = { createdMs: T0, generation: 0, mayRotate: true, seeds: seedsOf('fuzz 0', mldsa), next: seedsOf('fuzz 1', mldsa), phrase: undefined, chain }
  const opened = await openAge(await sealExport(content, passphrase, seal), passphrase)
  return opened.use((bytes) => Uint8Array.from(bytes))
}

/** What is under a valid seal: somebody may have been given a file and its passphrase. */
const exports: FuzzTarget = {
  name: 'identity-export',
  seeds: [await exported(false), await exported(true)],
  codes: ['EXPORT_INVALID', 'KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED'],
  async run(input) {
    if (input.length === 0) return 'empty'
    using plain = Secret.take(Uint8Array.from(input))
    const content = await openExport(await sealAge(plain, passphrase, seal), passphrase)
    assert.deepEqual(publicKeysOf(content.seeds).ed25519, content.chain.keys.ed25519)
    wipeSeeds(content.seeds)
    wipeSeeds(content.next)
    content.phrase?.wipe()
    return 'opened'
  },
  iterations: 1_500,
}

let folder = ''
const sum = 'a'.repeat(64)
/** The note of a change of the key files, from a home that came from elsewhere: it may end a change, and touch nothing but key files and kept passphrases. */
const notes: FuzzTarget = {
  name: 'key-change-note',
  seeds: [
    { version: 1, files: [] },
    { version: 1, files: [{ name: 'identity.age', sum }] },
    { version: 1, files: [{ name: 'vaults/a.age', sum }], move: ['x', 'y'].map((name) => `/nowhere/${name}/${'0'.repeat(32)}.passphrase`) },
    { version: 1, files: [{ name: 'device.age', sum }], remove: [`/nowhere/${'0'.repeat(32)}.sealed.json`] },
  ].map((note) => utf8(JSON.stringify(note))),
  codes: ['KEYSTORE_DAMAGED', 'KEYSTORE_NOT_SAVED'],
  tokens: ['../', '/etc/passwd', '"move":', '"remove":', '"files":', '.age', 'null', '[]', '{}'].map(utf8),
  async open() {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-fuzz-')))
    await mkdir(join(folder, 'home'), { mode: 0o700 })
    await writeFile(join(folder, 'kept'), 'kept')
  },
  async close() {
    await rm(folder, { recursive: true, force: true })
  },
  async run(input) {
    const home = join(folder, 'home')
    await writeFile(join(home, 'keys.change'), input, { mode: 0o600 })
    try {
      await finishKeyChange(home)
    } catch (error) {
      assert.ok(error instanceof KithError, String(error))
      throw error
    } finally {
      assert.deepEqual(await readdir(folder), ['home', 'kept'])
      for (const name of await readdir(home)) assert.match(name, /^(keys\.change|vaults|.+\.age\.sum)$/)
    }
    assert.ok(!existsSync(join(home, 'keys.change')))
    return 'ended'
  },
  iterations: 1_500,
}

export const keystoreTargets: readonly FuzzTarget[] = [exports, notes]

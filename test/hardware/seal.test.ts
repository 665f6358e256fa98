import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { forgetSealed, formatSealed, isSealed, loadSealed, parseSealed, type Sealed, seal, unseal } from '../../src/identity/hardware/sealed.ts'
import { changedPcrs, parsePcrs } from '../../src/identity/hardware/tpm.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { privateKeyring } from './keyring.ts'
import { softwareTpm } from './swtpm.ts'

const HOME = { id: '00112233445566778899aabbccddeeff', paths: { root: '/nowhere' } }
const secret = (text: string): Secret => Secret.take(Buffer.from(text))
const textOf = (value: Secret): string => value.use((bytes) => bytes.toString())

function directories(t: TestContext): { XDG_STATE_HOME: string; XDG_RUNTIME_DIR: string } {
  const directory = mkdtempSync(join(tmpdir(), 'kith-seal-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const [XDG_STATE_HOME, XDG_RUNTIME_DIR] = ['state', 'run'].map((name) => join(directory, name)) as [string, string]
  for (const path of [XDG_STATE_HOME, XDG_RUNTIME_DIR]) mkdirSync(path, { mode: 0o700 })
  return { XDG_STATE_HOME, XDG_RUNTIME_DIR }
}

test('passphrase sealed by a TPM, comes back until a PCR changes, then is SEAL_BROKEN and names the PCR', async (t) => {
  const tpm = await softwareTpm()
  if (typeof tpm === 'string') return t.skip(tpm)
  t.after(() => tpm.close())
  const environment = { ...directories(t), ...tpm.environment }
  const options = { environment, random: systemRandom, unknown: false }
  await seal(HOME, secret('correct horse'), { pcrs: [0, 7] }, options)
  const found = await resolvePassphrase({ home: HOME, environment: { ...environment } })
  assert.deepEqual([textOf(found.secret), found.source, found.random], ['correct horse', 'tpm', false])

  tpm.extend(16)
  assert.equal(
    textOf(await unseal((await loadSealed(HOME, environment)) as Sealed, environment)),
    'correct horse',
    'a PCR that is not in the policy changes nothing',
  )

  tpm.extend(7)
  const sealed = (await loadSealed(HOME, environment)) as Sealed
  assert.deepEqual(await changedPcrs(sealed.tpm as NonNullable<Sealed['tpm']>, environment), [7])
  await assert.rejects(
    resolvePassphrase({ home: HOME, environment: { ...environment } }),
    (error: { code: string; details: { changed: string }; next: string }) => {
      assert.deepEqual([error.code, error.details.changed], ['SEAL_BROKEN', '7'])
      return error.next.startsWith('kith id seal --tpm')
    },
  )
  // Lying about what was measured does not help: the TPM itself decides.
  const lied: Sealed = { ...sealed, tpm: { ...(sealed.tpm as NonNullable<Sealed['tpm']>), values: await now(sealed, environment) } }
  await assert.rejects(unseal(lied, environment), { code: 'SEAL_BROKEN' })
  // The way back: whoever knows the passphrase says it, and seals it anew.
  const said = await resolvePassphrase({ home: HOME, environment: { ...environment }, prompt: async () => secret('correct horse') })
  assert.equal(said.source, 'prompt')
  await seal(HOME, said.secret, { pcrs: [0, 7] }, options)
  assert.equal((await resolvePassphrase({ home: HOME, environment: { ...environment } })).source, 'tpm')
  assert.deepEqual(readdirSync(environment.XDG_RUNTIME_DIR), [], 'nothing is left in the private directory')
})

test('passphrase sealed by one TPM, another TPM, is SEAL_INVALID; no TPM at all SEAL_UNAVAILABLE', async (t) => {
  const [one, two] = await Promise.all([softwareTpm(), softwareTpm()])
  if (typeof one === 'string' || typeof two === 'string') return t.skip(String(one))
  t.after(() => Promise.all([one.close(), two.close()]))
  const state = directories(t)
  const sealed = await seal(
    HOME,
    secret('correct horse'),
    { pcrs: [7] },
    { environment: { ...state, ...one.environment }, random: systemRandom, unknown: true },
  )
  await assert.rejects(unseal(sealed, { ...state, ...two.environment }), { code: 'SEAL_INVALID' })
  await one.close()
  await assert.rejects(unseal(sealed, { ...state, ...one.environment }), { code: 'SEAL_UNAVAILABLE' })
})

test('seal, tools not installed, is SEAL_UNAVAILABLE with the package', async (t) => {
  const environment = { ...directories(t), PATH: '/nonexistent' }
  const options = { environment, random: systemRandom, unknown: true }
  const names = (name: string) => (error: { code: string; next: string }) => error.code === 'SEAL_UNAVAILABLE' && error.next === `apt install ${name}`
  await assert.rejects(seal(HOME, secret('x'), { pcrs: [7] }, options), names('tpm2-tools'))
  await assert.rejects(seal(HOME, secret('x'), 'keyring', options), names('libsecret-tools'))
  assert.equal(isSealed(HOME, environment), false)
})

test('program that never ends, says too much or fails, is ended and SEAL_UNAVAILABLE', async (t) => {
  const environment = { ...directories(t), PATH: '' }
  const bin = join(environment.XDG_STATE_HOME, 'bin')
  mkdirSync(bin)
  environment.PATH = `${bin}:/usr/bin:/bin`
  for (const body of ['while :; do echo 0123456789012345678901234567890123456789; done', 'echo no tpm here >&2; exit 1']) {
    writeFileSync(join(bin, 'tpm2_createprimary'), `#!/bin/sh\n${body}\n`)
    writeFileSync(join(bin, 'tpm2_flushcontext'), '#!/bin/sh\n')
    for (const name of ['tpm2_createprimary', 'tpm2_flushcontext']) chmodSync(join(bin, name), 0o755)
    await assert.rejects(seal(HOME, secret('x'), { pcrs: [7] }, { environment, random: systemRandom, unknown: true }), { code: 'SEAL_UNAVAILABLE' })
  }
})

test('programs get no secret in their arguments or environment', async (t) => {
  const environment = { ...directories(t), PATH: '', ICN_KEYSTORE_PASSPHRASE: 'in the environment', OTHER: 'other' }
  const bin = join(environment.XDG_STATE_HOME, 'bin')
  mkdirSync(bin)
  environment.PATH = `${bin}:/usr/bin:/bin`
  const log = join(environment.XDG_STATE_HOME, 'log')
  writeFileSync(
    join(bin, 'secret-tool'),
    `#!/bin/sh\n{ echo "$0 $@"; env; } >> ${log}\n[ "$1" = store ] && cat > ${log}.key\n[ "$1" = lookup ] && cat ${log}.key\nexit 0\n`,
  )
  chmodSync(join(bin, 'secret-tool'), 0o755)
  await seal(HOME, secret('correct horse'), 'keyring', { environment, random: systemRandom, unknown: true })
  const [said, key] = [readFileSync(log, 'utf8'), readFileSync(`${log}.key`, 'utf8')]
  assert.match(key, /^[0-9a-f]{64}$/)
  for (const word of ['horse', 'in the environment', 'OTHER', key]) assert.equal(said.includes(word), false, word)
})

test('passphrase in a keyring on a private bus, comes back; forgotten, it is gone from the keyring too', async (t) => {
  const keyring = await privateKeyring()
  if (typeof keyring === 'string') return t.skip(keyring)
  t.after(() => keyring.close())
  const environment = { ...directories(t), ...keyring.environment }
  const sealed = await seal(HOME, secret('correct horse'), 'keyring', { environment, random: systemRandom, unknown: true })
  const found = await resolvePassphrase({ home: HOME, environment: { ...environment } })
  assert.deepEqual([textOf(found.secret), found.source, found.random], ['correct horse', 'keyring', true])
  const stranger = { id: 'ff112233445566778899aabbccddeeff' }
  await assert.rejects(unseal({ ...sealed, home: stranger.id }, environment), { code: 'SEAL_INVALID' })
  await forgetSealed(HOME, environment)
  await assert.rejects(unseal(sealed, environment), { code: 'SEAL_INVALID' })
  await assert.rejects(resolvePassphrase({ home: HOME, environment: { ...environment } }), { code: 'PASSPHRASE_REQUIRED' })
  await keyring.close()
  await assert.rejects(unseal(sealed, environment), { code: 'SEAL_UNAVAILABLE' })
})

test('sealed file, written, is read again; anything else is SEAL_INVALID', () => {
  const sealed: Sealed = {
    home: HOME.id,
    kind: 'tpm',
    random: true,
    box: new Uint8Array(40).fill(3),
    tpm: { pcrs: [0, 7], values: ['ab'.repeat(32), 'cd'.repeat(32)], publicPart: Uint8Array.of(1), privatePart: Uint8Array.of(2) },
  }
  const text = formatSealed(sealed)
  assert.deepEqual(parseSealed(text), sealed)
  const value = JSON.parse(text) as { tpm: object }
  const changes: object[] = [
    { version: 2 },
    { home: '../x' },
    { kind: 'cloud' },
    { kind: 'keyring' },
    { random: 'yes' },
    { box: '' },
    { box: 'A' },
    { box: Buffer.alloc(5000).toString('base64') },
    { tpm: undefined },
    { tpm: null },
    ...[{ pcrs: [] }, { pcrs: [7, 0] }, { pcrs: [0, 24] }, { pcrs: [0] }, { pcrs: 'x' }, { values: ['ab'] }, { public: '' }, { private: 7 }].map((change) => ({
      tpm: { ...value.tpm, ...change },
    })),
  ]
  for (const change of changes) assert.throws(() => parseSealed(JSON.stringify({ ...value, ...change })), { code: 'SEAL_INVALID' }, JSON.stringify(change))
  for (const other of ['', 'null', '[]', '{', '7', text.slice(0, -3)]) assert.throws(() => parseSealed(other), { code: 'SEAL_INVALID' }, other)
})

test('sealed file of another home, put in this one’s place, is SEAL_INVALID; open to others HOME_UNSAFE', async (t) => {
  const environment = directories(t)
  const directory = join(environment.XDG_STATE_HOME, 'kith')
  mkdirSync(directory, { mode: 0o700 })
  const path = join(directory, `${HOME.id}.sealed.json`)
  const other: Sealed = { home: 'ff112233445566778899aabbccddeeff', kind: 'keyring', random: true, box: new Uint8Array(40), tpm: undefined }
  writeFileSync(path, formatSealed(other), { mode: 0o600 })
  await assert.rejects(loadSealed(HOME, environment), { code: 'SEAL_INVALID' })
  chmodSync(path, 0o644)
  await assert.rejects(loadSealed(HOME, environment), { code: 'HOME_UNSAFE' })
})

test('PCR list, other than distinct numbers from 0 to 23, is USAGE', () => {
  assert.deepEqual(parsePcrs('7,0,23'), [0, 7, 23])
  for (const text of ['', '24', '7,7', '-1', 'a', '1,', '0x1', '1.5']) assert.throws(() => parsePcrs(text), { code: 'USAGE' }, text)
})

/** What the PCRs hold now, as a liar would write it down. */
async function now(sealed: Sealed, environment: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const scratch = { ...environment, XDG_STATE_HOME: `${environment.XDG_STATE_HOME}/scratch` }
  mkdirSync(scratch.XDG_STATE_HOME, { mode: 0o700 })
  const { tpm } = await seal(HOME, secret('x'), { pcrs: sealed.tpm?.pcrs ?? [] }, { environment: scratch, random: systemRandom, unknown: true })
  return tpm?.values ?? []
}

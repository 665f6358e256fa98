import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import { readPinFile } from '../../src/identity/hardware/pin.ts'
import { openHome } from '../../src/identity/home.ts'
import {
  CREDENTIAL_NAME,
  forgetStatePassphrase,
  keepStatePassphrase,
  readPassphraseFile,
  resolvePassphrase,
  statePassphrasePath,
  takeEnvironmentPassphrase,
} from '../../src/identity/passphrase.ts'
import { secret, temporaryDirectory, textOf } from './temp.ts'

const home = { id: 'ab'.repeat(16), paths: { root: '/nowhere/home' } }

test('passphrase, every source present, the first in order wins and the variable is gone', async (t) => {
  const base = temporaryDirectory(t)
  const file = join(base, 'file')
  writeFileSync(file, 'from file\n', { mode: 0o600 })
  const credentials = join(base, 'credentials')
  mkdirSync(credentials)
  writeFileSync(join(credentials, CREDENTIAL_NAME), 'from credential', { mode: 0o440 })
  const environment = (): NodeJS.ProcessEnv => ({ ICN_KEYSTORE_PASSPHRASE: 'from environment', CREDENTIALS_DIRECTORY: credentials, XDG_STATE_HOME: base })
  await keepStatePassphrase(home, systemRandom, environment())
  const prompt = async () => secret('from prompt')
  const all = { given: secret('given'), file, home, prompt }
  const resolve = async (options: Parameters<typeof resolvePassphrase>[0]) => {
    const env = options.environment ?? environment()
    const { secret: value, source } = await resolvePassphrase({ ...options, environment: env })
    assert.equal(env.ICN_KEYSTORE_PASSPHRASE, undefined)
    return [source, textOf(value)]
  }
  const { given: _, ...withoutGiven } = all
  const { file: __, ...withoutFile } = withoutGiven
  assert.deepEqual(await resolve(all), ['given', 'given'])
  assert.deepEqual(await resolve(withoutGiven), ['file', 'from file'])
  assert.deepEqual(await resolve(withoutFile), ['environment', 'from environment'])
  assert.deepEqual(await resolve({ ...withoutFile, environment: { CREDENTIALS_DIRECTORY: credentials, XDG_STATE_HOME: base } }), [
    'credential',
    'from credential',
  ])
  const kept = readFileSync(statePassphrasePath(home.id, { XDG_STATE_HOME: base }), 'utf8').trimEnd()
  assert.deepEqual(await resolve({ ...withoutFile, environment: { XDG_STATE_HOME: base } }), ['state', kept])
  assert.deepEqual(await resolve({ prompt, environment: { XDG_STATE_HOME: base } }), ['prompt', 'from prompt'])
  const nobody = { environment: { XDG_STATE_HOME: join(base, 'empty') }, home }
  await assert.rejects(resolvePassphrase(nobody), { code: 'PASSPHRASE_REQUIRED' })
  await assert.rejects(resolvePassphrase({ ...nobody, prompt: async () => undefined }), { code: 'PASSPHRASE_REQUIRED' })
})

test('environment, read once, no longer has the variable and its process neither', () => {
  process.env.ICN_KEYSTORE_PASSPHRASE = 'hidden'
  assert.equal(textOf(takeEnvironmentPassphrase() as never), 'hidden')
  assert.equal(process.env.ICN_KEYSTORE_PASSPHRASE, undefined)
  assert.equal(takeEnvironmentPassphrase(), undefined)
  assert.equal(takeEnvironmentPassphrase({ ICN_KEYSTORE_PASSPHRASE: '' }), undefined)
})

test('passphrase file, one line however it ends, is read without its end of line', (t) => {
  const file = join(temporaryDirectory(t), 'file')
  for (const [content, expected] of [
    ['word', 'word'],
    ['word\n', 'word'],
    ['word\r\n', 'word'],
    ['two words ', 'two words '],
    ['Pässwörd\n', 'Pässwörd'],
  ] as const) {
    writeFileSync(file, content, { mode: 0o600 })
    assert.equal(textOf(readPassphraseFile(file)), expected)
  }
})

test('passphrase file, empty, of several lines, too long, missing or open to others, refused', (t) => {
  const base = temporaryDirectory(t)
  const file = join(base, 'file')
  for (const content of ['', '\n', '\r\n', 'a\nb\n', 'a\0b', 'x'.repeat(4097)]) {
    writeFileSync(file, content, { mode: 0o600 })
    assert.throws(() => readPassphraseFile(file), { code: 'PASSPHRASE_REQUIRED' }, JSON.stringify(content.slice(0, 10)))
  }
  assert.throws(() => readPassphraseFile(join(base, 'none')), { code: 'PASSPHRASE_REQUIRED' })
  assert.throws(() => readPassphraseFile(base), { code: 'PASSPHRASE_REQUIRED' })
  // A file with a PIN is read by the same rules, and what is missing is called by its name.
  assert.throws(() => readPinFile(join(base, 'none')), { code: 'TOKEN_PIN_REQUIRED', message: /no PIN in/ })
  writeFileSync(file, 'word')
  for (const mode of [0o640, 0o604]) {
    chmodSync(file, mode)
    assert.throws(() => readPassphraseFile(file), { code: 'HOME_UNSAFE', next: `chmod 600 ${file}` })
  }
})

test('no passphrase, chosen, keeps a random one privately outside the home, the same the next time', async (t) => {
  const base = temporaryDirectory(t)
  const environment = { XDG_STATE_HOME: join(base, 'state') }
  const first = await keepStatePassphrase(home, systemRandom, environment)
  const path = statePassphrasePath(home.id, environment)
  assert.equal(first.source, 'state')
  assert.match(textOf(first.secret), /^[\w-]{43}$/)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(statSync(join(base, 'state', 'kith')).mode & 0o777, 0o700)
  assert.ok((await keepStatePassphrase(home, systemRandom, environment)).secret.equals(first.secret))
  const other = await keepStatePassphrase({ ...home, id: 'cd'.repeat(16) }, systemRandom, environment)
  assert.ok(!other.secret.equals(first.secret))
  await forgetStatePassphrase(home.id, environment)
  await forgetStatePassphrase(home.id, environment)
  assert.ok(!(await keepStatePassphrase(home, systemRandom, environment)).secret.equals(first.secret))
})

test('state directory, not given or not absolute, is the one of the user', { skip: process.platform === 'win32' && 'has another place' }, () => {
  const usual = join(homedir(), '.local', 'state', 'kith', `${home.id}.passphrase`)
  for (const environment of [{}, { XDG_STATE_HOME: 'relative' }, { XDG_STATE_HOME: '' }]) assert.equal(statePassphrasePath(home.id, environment), usual)
})

test('no passphrase, with a state directory inside the home or open to others, refused', async (t) => {
  const base = temporaryDirectory(t)
  const real = await openHome(join(base, 'home'))
  await assert.rejects(keepStatePassphrase(real, systemRandom, { XDG_STATE_HOME: real.paths.root }), { code: 'HOME_UNSAFE' })
  await real.close()
  mkdirSync(join(base, 'kith'))
  chmodSync(join(base, 'kith'), 0o755)
  await assert.rejects(keepStatePassphrase(home, systemRandom, { XDG_STATE_HOME: base }), { code: 'HOME_UNSAFE' })
  rmSync(join(base, 'kith'), { recursive: true })
})

import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { loadConfig } from '../../src/daemon/config/load.ts'
import { MAX_SECRET_FILE_BYTES, readSecretFile, secretReader } from '../../src/daemon/credentials/secret-file.ts'
import { reveal } from './make.ts'

let home = ''
before(async () => {
  home = await mkdtemp(join(tmpdir(), 'kith-credentials-'))
})
after(() => rm(home, { recursive: true, force: true }))

async function load(text: string, env: Record<string, string> = {}): Promise<Awaited<ReturnType<typeof loadConfig>>> {
  await writeFile(join(home, 'config.toml'), text)
  return await loadConfig({ home, env })
}

async function refused(text: string, env: Record<string, string> = {}): Promise<KithError> {
  try {
    await load(text, env)
  } catch (error) {
    assert.ok(isKithError(error, 'CONFIG_INVALID'), String(error))
    assert.ok(!inspect(error).includes('hunter2'), 'the error repeats the secret')
    return error
  }
  return assert.fail('the configuration was accepted')
}

test('credentials of the configuration are read with the place of their secret', async () => {
  const { values } = await load(`
[credentials.vast-ai]
type = "bearer"
secret_file = "/etc/kith/vast"
origins = ["https://console.vast.ai"]
[credentials.ann]
service = "vast-ai"
did = "did:icn:z6MkAnn"
type = "basic"
username = "ann"
secret_credential = "vast.ann"
[credentials.store]
type = "s3"
access_key = "AKIDEXAMPLE"
secret_file = "/etc/kith/s3"
`)
  const none = { header: undefined, username: undefined, accessKey: undefined, scheme: undefined, region: undefined, signFor: undefined }
  assert.deepEqual(values.credentials, [
    { key: { service: 'vast-ai' }, fields: { type: 'bearer', ...none }, origins: ['https://console.vast.ai'], secret: { file: '/etc/kith/vast' } },
    {
      key: { service: 'vast-ai', did: 'did:icn:z6MkAnn' },
      fields: { type: 'basic', ...none, username: 'ann' },
      origins: [],
      secret: { credential: 'vast.ann' },
    },
    { key: { service: 'store' }, fields: { type: 's3', ...none, accessKey: 'AKIDEXAMPLE' }, origins: [], secret: { file: '/etc/kith/s3' } },
  ])
})

test('secret that stands in the configuration is an error that says where it belongs, and does not repeat it', async () => {
  for (const key of ['token', 'password', 'secret', 'secret_key', 'api_key', 'access_token', 'client_secret', 'passphrase', 'value']) {
    const error = await refused(`[credentials.a]\ntype = "bearer"\n${key} = "hunter2"\n`)
    assert.equal(error.details.path, `credentials.a.${key}`)
    assert.match(error.message, /a secret never stands in the configuration; put it into a file of your own \(0600\) and name that with secret_file/)
  }
  assert.match((await refused('[credentials]\na = "hunter2"\n')).message, /name its file with secret_file/)
  assert.match((await refused('', { KITH_CREDENTIALS: 'hunter2' })).message, /secrets are never in the environment/)
})

test('tables of another form are refused with the path of what is wrong', async () => {
  const cases: readonly (readonly [string, string])[] = [
    ['[credentials.a]\ntype = "bearer"\n', 'credentials.a'],
    ['[credentials.a]\ntype = "hunter2"\nsecret_file = "/a"\n', 'credentials.a.type'],
    ['[credentials.a]\ntype = "oidc"\nsecret_file = "/a"\n', 'credentials.a.type'],
    ['[credentials.a]\ntype = "bearer"\nsecret_file = "a"\n', 'credentials.a.secret_file'],
    ['[credentials.a]\ntype = "bearer"\nsecret_file = 5\n', 'credentials.a.secret_file'],
    ['[credentials.a]\ntype = "bearer"\nsecret_file = "/a"\nsecret_credential = "b"\n', 'credentials.a'],
    ['[credentials.a]\ntype = "bearer"\nsecret_credential = "../b"\n', 'credentials.a.secret_credential'],
    ['[credentials.a]\ntype = "bearer"\nsecret_file = "/a"\norigins = ["http://api.example"]\n', 'credentials.a.origins'],
    ['[credentials.a]\ntype = "bearer"\nsecret_file = "/a"\ndid = "ann"\n', 'credentials.a.did'],
    ['[credentials.A]\ntype = "bearer"\nsecret_file = "/a"\n', 'credentials.A'],
    ['[credentials.a]\ntype = "bearer"\nsecret_file = "/a"\n[credentials.b]\nservice = "a"\ntype = "bearer"\nsecret_file = "/a"\n', 'credentials.b'],
    ['credentials = 5\n', 'credentials'],
    ['[[credentials]]\ntype = "bearer"\n', 'credentials'],
  ]
  for (const [text, path] of cases) assert.equal((await refused(text)).details.path, path, text)
})

test('secret file, read, is exactly its bytes; one that others can read, is missing, empty or too long is refused', async () => {
  const path = join(home, 'secret')
  await writeFile(path, 'line one\nline two\n', { mode: 0o600 })
  assert.equal(reveal(readSecretFile(path)), 'line one\nline two\n')
  assert.equal(reveal(secretReader({})({ file: path })), 'line one\nline two\n')
  assert.equal(reveal(secretReader({ CREDENTIALS_DIRECTORY: home })({ credential: 'secret' })), 'line one\nline two\n')
  assert.throws(() => secretReader({})({ credential: 'secret' }), { code: 'CREDENTIAL_INVALID' })
  await chmod(path, 0o640)
  assert.throws(() => readSecretFile(path), { code: 'HOME_UNSAFE', next: `chmod 600 ${path}` })
  await chmod(path, 0o600)
  await writeFile(path, '')
  assert.throws(() => readSecretFile(path), { code: 'CREDENTIAL_INVALID' })
  await writeFile(path, 'x'.repeat(MAX_SECRET_FILE_BYTES + 1))
  assert.throws(() => readSecretFile(path), { code: 'CREDENTIAL_INVALID' })
  for (const other of [join(home, 'nothing'), home]) assert.throws(() => readSecretFile(other), { code: 'CREDENTIAL_INVALID' })
})

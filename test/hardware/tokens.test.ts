import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { labeled } from '../../src/core/crypto/labels.ts'
import { Secret } from '../../src/core/secret.ts'
import { checkModule } from '../../src/identity/hardware/module.ts'
import { Tokens } from '../../src/identity/hardware/tokens.ts'
import { parseTokenUri } from '../../src/identity/hardware/uri.ts'
import { PIN, type SoftHsm, softHsm } from './softhsm.ts'

const hsm = await softHsm()
if (typeof hsm !== 'string') for (const label of ['one', 'two']) hsm.addToken(label)
after(() => typeof hsm === 'string' || hsm.close())

const message = labeled('icn/test/v1', Buffer.from('message'))

function withToken(name: string, run: (hsm: SoftHsm, open: (pin?: string) => Tokens, t: TestContext) => void | Promise<void>): void {
  test(name, async (t) => {
    if (typeof hsm === 'string') return t.skip(hsm)
    const open = (pin: string | undefined = PIN): Tokens => {
      const tokens = new Tokens({ load: hsm.load, module: hsm.module, environment: { ICN_TOKEN_PIN: pin } })
      t.after(() => tokens.close())
      return tokens
    }
    await run(hsm, open, t)
  })
}

withToken('token key, made once, is found again by the address it was given', (_, open) => {
  const first = open().ensure('pkcs11:token=one;object=mine')
  assert.equal(first.made, true)
  const { id, serial, modulePath } = parseTokenUri(first.key.uri)
  assert.equal(id?.length, 16)
  assert.ok(serial !== undefined && modulePath !== undefined)
  for (const text of ['pkcs11:token=one;object=mine', first.key.uri]) assert.deepEqual(open().ensure(text), { key: first.key, made: false })
  assert.notDeepEqual(open().ensure('pkcs11:token=one;object=other').key.publicKey, first.key.publicKey)
})

withToken('token, wrong PIN, is TOKEN_PIN_WRONG once and is not tried a second time with the same one', (_, open) => {
  const { key } = open().ensure('pkcs11:token=one;object=mine')
  const tokens = open('999999')
  assert.throws(() => tokens.open(key), { code: 'TOKEN_PIN_WRONG' })
  assert.throws(() => tokens.open(key), { code: 'TOKEN_PIN_REQUIRED' })
  using right = Secret.take(Buffer.from(PIN))
  tokens.givePin(right)
  const signer = tokens.open(key)
  assert.equal(signer.sign(message).length, 64)
  signer.close()
})

withToken('token, no PIN from anywhere, is TOKEN_PIN_REQUIRED with the ways to give one', (_, open) => {
  const { key } = open().ensure('pkcs11:token=one;object=mine')
  const tokens = open('')
  assert.equal(tokens.hasPin, false)
  assert.throws(
    () => tokens.open(key),
    (error: { code: string; next: string }) => error.code === 'TOKEN_PIN_REQUIRED' && error.next.includes('--pin-file'),
  )
})

withToken('token, PIN from a file, is refused when others can read the file', (softhsm, open, t) => {
  const { key } = open().ensure('pkcs11:token=one;object=mine')
  const directory = mkdtempSync(join(tmpdir(), 'kith-pin-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'pin')
  writeFileSync(file, `${PIN}\n`, { mode: 0o600 })
  const tokens = new Tokens({ load: softhsm.load, module: softhsm.module, file, environment: {} })
  tokens.open(key).close()
  chmodSync(file, 0o644)
  assert.throws(() => tokens.open(key), { code: 'HOME_UNSAFE' })
})

withToken('token, PIN from the environment, is taken out of it', (softhsm, open) => {
  const { key } = open().ensure('pkcs11:token=one;object=mine')
  const environment: NodeJS.ProcessEnv = { ICN_TOKEN_PIN: PIN }
  const tokens = new Tokens({ load: softhsm.load, module: softhsm.module, environment })
  tokens.open(key).close()
  assert.deepEqual(environment, {})
  tokens.open(key).close()
})

withToken('token, address that fits two tokens or none, is TOKEN_UNAVAILABLE', (_, open) => {
  assert.throws(() => open().ensure('pkcs11:object=mine'), { code: 'TOKEN_UNAVAILABLE', message: '2 tokens match' })
  assert.throws(() => open().ensure('pkcs11:token=three'), { code: 'TOKEN_UNAVAILABLE', message: 'the token is not there' })
})

withToken('token key, another one under the same address, is caught by its first signature', (_, open) => {
  const mine = open().ensure('pkcs11:token=one;object=mine').key
  const other = open().ensure('pkcs11:token=one;object=other').key
  const signer = open().open({ ...mine, uri: other.uri })
  assert.throws(() => signer.sign(message), { code: 'TOKEN_FAILED' })
  signer.close()
})

withToken('token key, removed from the token, is TOKEN_KEY_MISSING', (softhsm, open, t) => {
  const { key } = open().ensure('pkcs11:token=one;object=short-lived')
  const held = open().open(key)
  const args = ['--module', softhsm.module, '--token-label', 'one', '--login', '--pin', PIN, '--delete-object', '--type', 'privkey', '--label', 'short-lived']
  if (!runs('pkcs11-tool', args, softhsm)) return t.skip('pkcs11-tool is not installed (opensc)')
  assert.throws(() => held.sign(message), { code: 'TOKEN_KEY_MISSING' })
  held.close()
  assert.throws(() => open().open(key), { code: 'TOKEN_KEY_MISSING' })
})

withToken('token, pulled while a signer is open, signs nothing more, and signs again when it is back', (softhsm, open) => {
  const { key } = open().ensure('pkcs11:token=two;object=mine')
  const held = open().open(key)
  held.sign(message)
  const away = `${softhsm.tokens}-away`
  renameSync(softhsm.tokens, away)
  mkdirSync(softhsm.tokens)
  assert.throws(() => held.sign(message), { code: 'TOKEN_UNAVAILABLE' })
  assert.throws(() => open().open(key), { code: 'TOKEN_UNAVAILABLE' })
  held.close()
  rmSync(softhsm.tokens, { recursive: true })
  renameSync(away, softhsm.tokens)
  const again = open().open(key)
  assert.equal(again.sign(message).length, 64)
  again.close()
})

test('module, relative, missing, a directory, or open to others, is TOKEN_UNAVAILABLE; a link counts as what it leads to', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'kith-module-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const own = join(directory, 'own.so')
  copyFileSync(process.execPath, own)
  chmodSync(own, 0o755)
  assert.equal(checkModule(own), own)
  const link = join(directory, 'link.so')
  symlinkSync(own, link)
  assert.equal(checkModule(link), own)
  for (const path of ['own.so', './own.so', join(directory, 'none.so'), directory]) assert.throws(() => checkModule(path), { code: 'TOKEN_UNAVAILABLE' }, path)
  chmodSync(own, 0o775)
  assert.throws(() => checkModule(link), { code: 'TOKEN_UNAVAILABLE' })
  chmodSync(own, 0o755)
  chmodSync(directory, 0o777)
  assert.throws(() => checkModule(own), { code: 'TOKEN_UNAVAILABLE' })
})

function runs(program: string, args: readonly string[], { environment }: SoftHsm): boolean {
  try {
    execFileSync(program, args, { env: { ...process.env, ...environment }, stdio: 'pipe' })
    return true
  } catch {
    return false
  }
}

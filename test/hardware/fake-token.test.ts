import assert from 'node:assert/strict'
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { labeled } from '../../src/core/crypto/labels.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Signer } from '../../src/core/signer.ts'
import * as ck from '../../src/identity/hardware/cryptoki.ts'
import { Tokens } from '../../src/identity/hardware/tokens.ts'

/** A token in this process, for what SoftHSM does not do: locking, broken signatures, an unknown mechanism. */
class FakeToken implements ck.Cryptoki {
  flags: number = ck.CKF_TOKEN_INITIALIZED | ck.CKF_LOGIN_REQUIRED
  /** Return value of a call by its name. */
  readonly failing = new Map<string, number>()
  readonly logins: (string | undefined)[] = []
  initialised = 0
  sessions = 0
  extractable = false
  corrupt = false
  readonly #signer: Signer = createSigner('identity', Secret.take(Buffer.alloc(32, 5)))

  get publicKey(): Buffer {
    return Buffer.from(this.#signer.publicKey)
  }
  #fail(name: string): void {
    const code = this.failing.get(name)
    if (code !== undefined) throw Object.assign(new Error(name), { code })
  }
  load(): void {
    this.#fail('load')
  }
  C_Initialize(): void {
    this.#fail('C_Initialize')
    this.initialised++
  }
  C_Finalize(): void {
    this.initialised--
  }
  C_GetSlotList(): Buffer[] {
    return [Buffer.alloc(8)]
  }
  C_GetTokenInfo(): ck.CryptokiTokenInfo {
    this.#fail('C_GetTokenInfo')
    const pad = (text: string): string => text.padEnd(32)
    return { label: pad('fake'), manufacturerID: pad('test'), model: pad('one'), serialNumber: pad('1'), flags: this.flags }
  }
  C_GetMechanismInfo(): { flags: number } {
    this.#fail('C_GetMechanismInfo')
    return { flags: ck.CKF_HW }
  }
  C_OpenSession(): Buffer {
    this.sessions++
    return Buffer.alloc(8)
  }
  C_CloseSession(): void {
    this.sessions--
  }
  C_Login(_session: Buffer, _user: number, pin?: string): void {
    this.logins.push(pin)
    this.#fail('C_Login')
  }
  C_Logout(): void {}
  C_FindObjectsInit(): void {}
  C_FindObjects(): Buffer[] {
    return [Buffer.alloc(8)]
  }
  C_FindObjectsFinal(): void {}
  C_GetAttributeValue(_session: Buffer, _object: Buffer, [wanted]: readonly { readonly type: number }[]): { type: number; value: Buffer }[] {
    const type = wanted?.type ?? 0
    const yes = Buffer.of(1)
    if (type === ck.CKA_EC_POINT) return [{ type, value: this.publicKey }]
    if (type === ck.CKA_ID || type === ck.CKA_LABEL) return [{ type, value: Buffer.from('k') }]
    if (type === ck.CKA_EXTRACTABLE) return [{ type, value: Buffer.of(this.extractable ? 1 : 0) }]
    return [{ type, value: yes }]
  }
  C_GenerateKeyPair(): { publicKey: Buffer; privateKey: Buffer } {
    throw new Error('not here')
  }
  C_SignInit(): void {
    this.#fail('C_SignInit')
  }
  C_Sign(_session: Buffer, message: Buffer): Buffer {
    this.#fail('C_Sign')
    const signature = Buffer.from(this.#signer.sign(message))
    if (this.corrupt) signature[5] = (signature[5] as number) ^ 1
    return signature
  }
}

const message = labeled('icn/test/v1', Buffer.from('message'))

function setUp(t: TestContext): { token: FakeToken; tokens: Tokens; module: string } {
  const directory = mkdtempSync(join(tmpdir(), 'kith-fake-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const module = join(directory, 'fake.so')
  copyFileSync(import.meta.filename, module)
  chmodSync(module, 0o600)
  const token = new FakeToken()
  const tokens = new Tokens({ load: () => token, module, environment: { ICN_TOKEN_PIN: '1234' } })
  t.after(() => tokens.close())
  return { token, tokens, module }
}

test('token, PIN locked, is TOKEN_PIN_LOCKED, before a login and by it', (t) => {
  const { token, tokens } = setUp(t)
  token.failing.set('C_Login', ck.CKR_PIN_LOCKED)
  assert.throws(() => tokens.ensure('pkcs11:token=fake'), { code: 'TOKEN_PIN_LOCKED' })
  token.flags |= ck.CKF_USER_PIN_LOCKED
  assert.throws(() => tokens.ensure('pkcs11:token=fake'), { code: 'TOKEN_PIN_LOCKED' })
  assert.equal(token.logins.length, 1)
})

test('token, one wrong PIN away from locking, is not given a stored PIN, but one that a person gave', (t) => {
  const { token, tokens } = setUp(t)
  token.flags |= ck.CKF_USER_PIN_FINAL_TRY
  assert.throws(() => tokens.ensure('pkcs11:token=fake'), { code: 'TOKEN_PIN_WRONG' })
  assert.deepEqual(token.logins, [])
  using pin = Secret.take(Buffer.from('4321'))
  tokens.givePin(pin)
  tokens.ensure('pkcs11:token=fake')
  assert.deepEqual(token.logins, ['4321'])
})

test('token with a keypad of its own is given no PIN; one without login none either', (t) => {
  const { token, tokens } = setUp(t)
  token.flags |= ck.CKF_PROTECTED_AUTHENTICATION_PATH
  tokens.ensure('pkcs11:token=fake')
  assert.deepEqual(token.logins, [undefined])
  token.flags = ck.CKF_TOKEN_INITIALIZED
  tokens.ensure('pkcs11:token=fake')
  assert.equal(token.logins.length, 1)
})

test('token whose signature does not verify, its signature is not given out', (t) => {
  const { token, tokens } = setUp(t)
  const signer = tokens.open(tokens.ensure('pkcs11:token=fake').key)
  signer.sign(message)
  token.corrupt = true
  assert.throws(() => signer.sign(message), { code: 'TOKEN_FAILED' })
})

test('token key that could be read out is not taken', (t) => {
  const { token, tokens } = setUp(t)
  token.extractable = true
  assert.throws(() => tokens.ensure('pkcs11:token=fake'), { code: 'TOKEN_KEY_UNSAFE' })
})

test('token, failing at each call, gives its code and leaves no session and no module behind', (t) => {
  for (const [call, value, code] of [
    ['C_Initialize', 5, 'TOKEN_UNAVAILABLE'],
    ['C_GetTokenInfo', 5, 'TOKEN_UNAVAILABLE'],
    ['C_Login', ck.CKR_PIN_INCORRECT, 'TOKEN_PIN_WRONG'],
    ['C_Login', ck.CKR_PIN_EXPIRED, 'TOKEN_PIN_WRONG'],
    ['C_Login', ck.CKR_USER_PIN_NOT_INITIALIZED, 'TOKEN_UNAVAILABLE'],
    ['C_GetMechanismInfo', ck.CKR_MECHANISM_INVALID, 'TOKEN_UNAVAILABLE'],
    ['C_SignInit', ck.CKR_USER_NOT_LOGGED_IN, 'TOKEN_PIN_REQUIRED'],
    ['C_SignInit', ck.CKR_KEY_HANDLE_INVALID, 'TOKEN_KEY_MISSING'],
    ['C_Sign', ck.CKR_DEVICE_REMOVED, 'TOKEN_UNAVAILABLE'],
    ['C_Sign', 5, 'TOKEN_FAILED'],
  ] as const) {
    const { token, tokens } = setUp(t)
    token.failing.set(call, value)
    assert.throws(
      () => {
        const signer = tokens.open(tokens.ensure('pkcs11:token=fake').key)
        try {
          signer.sign(message)
        } finally {
          signer.close()
        }
      },
      { code },
      call,
    )
    assert.deepEqual([token.sessions, token.initialised], [0, 0], call)
  }
})

test('signers of one token share one session, which ends with the last of them', (t) => {
  const { token, tokens } = setUp(t)
  const { key } = tokens.ensure('pkcs11:token=fake')
  const [one, two] = [tokens.open(key), tokens.open(key)]
  assert.deepEqual([token.sessions, token.logins.length], [1, 2])
  one.close()
  two.sign(message)
  two.close()
  two.close()
  assert.deepEqual([token.sessions, token.initialised], [0, 0])
})

test('module of somebody else in this process, who set it up, is left to them', (t) => {
  const { token, tokens } = setUp(t)
  token.failing.set('C_Initialize', ck.CKR_CRYPTOKI_ALREADY_INITIALIZED)
  tokens.ensure('pkcs11:token=fake')
  assert.equal(token.initialised, 0)
})

test('pkcs11js absent, a key in a token, is TOKEN_UNAVAILABLE with the command that installs it', (t) => {
  const { module } = setUp(t)
  const tokens = new Tokens({ module, environment: { ICN_TOKEN_PIN: '1234' } })
  assert.throws(
    () => tokens.ensure('pkcs11:token=fake'),
    (error: { code: string; next: string }) => error.code === 'TOKEN_UNAVAILABLE' && error.next.startsWith('npm install pkcs11js'),
  )
})

import assert from 'node:assert/strict'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { verify } from '../../src/core/crypto/ed25519.ts'
import { KithError } from '../../src/core/errors.ts'
import type { Secret } from '../../src/core/secret.ts'
import { grantAccess, revokeGrant } from '../../src/daemon/access/acts.ts'
import { openRuntime, type Runtime } from '../../src/daemon/runtime.ts'
import { phraseToSeed } from '../../src/vault/bip39.ts'
import { holdKey, type KeyLeaseEvent } from '../../src/vault/key-lease.ts'
import { deriveEd25519 } from '../../src/vault/slip10.ts'
import { until } from './three-nodes.ts'

const WORKER = 'm/74h/0h/0h/3h'
let folder = ''
const state = process.env.XDG_STATE_HOME
const runtimes: Runtime[] = []
let keeper: Runtime
let worker: Runtime

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-vault-calls-')))
  process.env.XDG_STATE_HOME = join(folder, 'state')
  for (const name of ['keeper', 'worker'])
    runtimes.push(
      await openRuntime({
        home: join(folder, name),
        env: { ...process.env },
        create: { name },
        control: false,
        flags: { listen: ['tcp://127.0.0.1:0'], 'discovery.mdns': false },
      }),
    )
  ;[keeper, worker] = runtimes as [Runtime, Runtime]
  const { ticket } = await keeper.mesh.invites.create({})
  await worker.mesh.join(ticket)
})
after(async () => {
  for (const runtime of runtimes) await runtime.close()
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
  await rm(folder, { recursive: true, force: true })
})

const call = <T = Record<string, string>>(operation: string, input: unknown): Promise<T> => worker.calls.call(`/keeper/vault/${operation}`, input) as Promise<T>
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof KithError ? error.code : String(error)),
  )
const give = (...scopes: string[]): Promise<unknown> => grantAccess(keeper, { principal: worker.mesh.did, scopes })
const DATA = Buffer.from('a secret of a worker').toString('base64')
const INPUTS: [operation: string, input: unknown][] = [
  ['encrypt', { data: DATA }],
  ['decrypt', { encrypted: { key_version: 2, salt: '', iv: '', data: '' } }],
  ['sign', { path: WORKER, message: DATA }],
  ['public-key', { path: WORKER }],
  ['site-password', { site: 'example.com' }],
  ['derive', { path: WORKER }],
]

test('a remote caller without the scope, finds no operation of the vault, and none differs from what is not there', async () => {
  const listed = await worker.calls.operations('keeper')
  assert.deepEqual(
    listed.filter(({ name }) => name.startsWith('vault/')),
    [],
  )
  const told = async (path: string, input: unknown): Promise<unknown> => {
    const error = await worker.calls.call(path, input).catch((reason: unknown) => reason)
    assert.ok(error instanceof KithError)
    return [error.code, error.message.replace(path.slice('/keeper/'.length), 'OP'), error.next]
  }
  for (const [operation, input] of INPUTS) {
    assert.deepEqual(await told(`/keeper/vault/${operation}`, input), await told('/keeper/vault/nothing', input))
    assert.deepEqual(await told(`/keeper/vault/${operation}`, 'bad input'), await told('/keeper/vault/nothing', 'bad input'), 'nor by what it takes')
  }
})

test('a locked vault, says so to who has the scope', async () => {
  await give('secrets:encrypt')
  assert.equal(await codeOf(call('encrypt', { data: DATA })), 'VAULT_LOCKED')
  assert.equal(await codeOf(call('decrypt', INPUTS[1]?.[1])), 'CALL_UNKNOWN', 'one scope is not another')
})

test('callers with the scopes, encrypt, decrypt, sign and ask, and every use is in the audit log', async () => {
  await keeper.vaults.unlock('default', undefined)
  await give('secrets:decrypt', 'secrets:sign', 'secrets:public', 'secrets:site-password')
  const encrypted = await call('encrypt', { data: DATA })
  assert.equal(JSON.stringify(encrypted).includes(DATA), false)
  assert.deepEqual(await call('decrypt', { encrypted }), { data: DATA })
  assert.equal(await codeOf(call('decrypt', { encrypted: { ...encrypted, data: `A${encrypted.data?.slice(1)}` } })), 'DECRYPT_FAILED')
  assert.equal(await codeOf(call('sign', { path: WORKER, message: DATA })), 'CALL_DENIED', 'the scope alone gives no key')
  await grantAccess(keeper, { principal: worker.mesh.did, scopes: [], resources: { [`vault:${WORKER}`]: ['sign'] } })
  const { signature = '', public_key = '' } = await call('sign', { path: WORKER, message: DATA })
  assert.equal(verify(Buffer.from(public_key, 'hex'), Buffer.from(DATA, 'base64'), Buffer.from(signature, 'base64')), true)
  assert.deepEqual(await call('public-key', { path: WORKER }), { type: 'ed25519', public_key })
  const { password = '' } = await call('site-password', { site: 'example.com' })
  assert.equal(password.length, 24)
  const rows = (await keeper.assembly.audit.list({ limit: 100 })).filter(({ action }) => action.startsWith('vault.call.'))
  assert.ok(rows.every(({ actor }) => actor === worker.mesh.did))
  assert.deepEqual([...new Set(rows.map(({ action }) => action.slice('vault.call.'.length)))].sort(), [
    'decrypt',
    'encrypt',
    'public-key',
    'sign',
    'site-password',
  ])
  assert.ok(rows.some(({ details }) => details?.result === 'CALL_DENIED'))
  for (const word of [DATA, password, signature]) assert.equal(JSON.stringify(rows).includes(word), false)
})

test('keys of the node itself, sign and leave for nobody, whatever is granted', async () => {
  await give('secrets:derive')
  for (const path of [
    'm/74h/0h/0h/0h',
    'm/74h/0h/2h/1h',
    'm/74h/0h/1h/0h',
    'm/74h/0h/1h/2h',
    'm/74h/2h/0h/0h',
    'm/74h/2h/1h/0h',
    'm/74h/2h/2h/0h',
    'm/74h/1h/0h/5h',
  ]) {
    await grantAccess(keeper, { principal: worker.mesh.did, scopes: [], resources: { [`vault:${path}`]: ['sign'] } })
    await keeper.mesh.policy.allow('worker', 'call', `vault/derive/${path}`)
    assert.equal(await codeOf(call('sign', { path, message: DATA })), 'CALL_DENIED', path)
    assert.equal(await codeOf(call('derive', { path })), 'CALL_DENIED', path)
  }
  for (const path of ["m/74'/0'/0'/3'", 'm/74/0', 'm', 'm/2147483648h', 'm/07h']) assert.notEqual(await codeOf(call('derive', { path })), 'none', path)
})

test('a private key, goes to the caller that a rule names with the path, and to nobody by a wildcard', async () => {
  assert.equal(await codeOf(call('derive', { path: WORKER })), 'CALL_DENIED')
  const { policy } = keeper.mesh
  await policy.allow('worker', 'call', 'vault/*')
  await policy.allow('worker', 'call')
  await policy.allow('*', '*')
  assert.equal(await codeOf(call('derive', { path: WORKER })), 'CALL_DENIED', 'no rule names the path')
  await assert.rejects(policy.allow('worker', 'call', 'vault/derive/*'), TypeError)
  await assert.rejects(policy.allow('known', 'call', `vault/derive/${WORKER}`), TypeError)
  await assert.rejects(policy.allow('scope:secrets:derive', 'call', `vault/derive/${WORKER}`), TypeError)
  await policy.allow('worker', 'call', `vault/derive/${WORKER}`)
  assert.equal(await codeOf(call('derive', { path: 'm/74h/0h/0h/4h' })), 'CALL_DENIED')
  const stream = async function* (): AsyncGenerator<KeyLeaseEvent> {
    for await (const { value } of worker.calls.stream('/keeper/vault/derive', { path: WORKER })) yield value as KeyLeaseEvent
  }
  using lease = await holdKey(stream(), { clock: worker.clock })
  const expected = await keeper.identity.withIdentity(undefined, async ({ identity }) => {
    using phrase = disposable(identity.phrase() as Secret)
    using seed = disposable(phraseToSeed(phrase.secret))
    using key = disposable(deriveEd25519(seed.secret, "m/74'/0'/0'/3'"))
    return { result: key.secret.use((bytes) => bytes.toString('hex')) }
  })
  assert.equal(
    lease.use((key) => key.toString('hex')),
    expected,
  )
  await policy.deny('worker', 'call', `vault/derive/${WORKER}`)
  await until(() => lease.ended)
  assert.throws(() => lease.use(() => 0), { code: 'CREDENTIAL_EXPIRED' })
})

test('a key handed out, ends when the vault locks', async () => {
  await keeper.mesh.policy.allow('worker', 'call', `vault/derive/${WORKER}`)
  const events: unknown[] = []
  for await (const { value } of worker.calls.stream('/keeper/vault/derive', { path: WORKER })) {
    events.push(value)
    if (events.length === 1) keeper.vaults.lock('default')
  }
  assert.deepEqual(events[1], { ended: 'locked' })
  assert.equal(events.length, 2)
})

test('a scope taken back, is gone with the next call', async () => {
  assert.equal(await codeOf(call('encrypt', { data: DATA })), 'VAULT_LOCKED')
  await keeper.mesh.policy.deny('worker', 'call', 'vault/encrypt')
  assert.equal(await codeOf(call('encrypt', { data: DATA })), 'CALL_UNKNOWN')
  await revokeGrant(keeper, worker.mesh.did, ['secrets:site-password'], false)
  await keeper.mesh.policy.deny('worker', 'call')
  assert.equal(await codeOf(call('site-password', { site: 'a.b' })), 'CALL_UNKNOWN')
})

function disposable(secret: Secret): { readonly secret: Secret } & Disposable {
  return { secret, [Symbol.dispose]: () => secret.wipe() }
}

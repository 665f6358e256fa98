import assert from 'node:assert/strict'
import { test } from 'node:test'
import { guardedSecrets } from '../../src/core/guarded-memory.ts'
import { configCredentials } from '../../src/vault/credentials/config.ts'
import { type Credentials, createCredentials } from '../../src/vault/credentials/credentials.ts'
import { inject } from '../../src/vault/credentials/inject.ts'
import { MAX_LEASE_MS, MAX_LEASES } from '../../src/vault/credentials/lease.ts'
import { decodeRow, encodeRow } from '../../src/vault/credentials/record.ts'
import { type Credential, mapSecrets } from '../../src/vault/credentials/types.ts'
import { ANN, type Bench, bearer, bench, everyKind, reveal, secret } from './make.ts'

const NS = 'vault/credentials'
const never = async (): Promise<never> => {
  throw new TypeError('nothing is to be renewed here')
}

function open(base: Bench, config?: Parameters<typeof createCredentials>[0]['config']): Credentials {
  return createCredentials({ ...base.common, refresh: never, ...(config === undefined ? {} : { config }) })
}

function tokenOf(credential: Credential): string {
  return reveal(credential.type === 'bearer' ? credential.token : secret('?'))
}

test('credential of each kind, kept and handed out, is the same', async () => {
  const base = await bench()
  using credentials = open(base)
  for (const [i, credential] of everyKind().entries()) {
    await credentials.add({ service: `service-${i}` }, credential)
    const lease = await credentials.lease(`service-${i}`)
    assert.deepEqual(
      lease.use((value) => mapSecrets(value, reveal)),
      mapSecrets(credential, reveal),
    )
    lease.release()
  }
  assert.equal((await credentials.list()).length, everyKind().length)
})

test('nothing of a secret stands in the store in the clear', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'a' }, bearer('very-secret-token'))
  for await (const { key, value } of base.store.scan(NS)) assert.ok(!Buffer.concat([key, value]).includes('very-secret'))
})

test('credential for one identity, asked on its behalf, goes before the one for all', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'a' }, bearer('all'))
  await credentials.add({ service: 'a', did: ANN }, bearer('ann'))
  const ask = async (did?: string): Promise<string> => (await credentials.lease('a', did === undefined ? {} : { did })).use(tokenOf)
  assert.equal(await ask(ANN), 'ann')
  assert.equal(await ask('did:icn:z6MkBen'), 'all')
  assert.equal(await ask(), 'all')
  await credentials.remove({ service: 'a' })
  await assert.rejects(ask('did:icn:z6MkBen'), { code: 'CREDENTIAL_UNKNOWN' })
  assert.equal(await ask(ANN), 'ann')
})

test('vault that locks ends what is handed out, wipes it, and hands out no more until it is unlocked', async () => {
  const base = await bench()
  const before = guardedSecrets()
  using credentials = open(base)
  const token = bearer()
  await credentials.add({ service: 'a' }, token)
  const lease = await credentials.lease('a')
  base.vault.lock()
  assert.ok(lease.ended)
  assert.throws(() => lease.use(() => {}), { code: 'VAULT_LOCKED' })
  mapSecrets(token, (value) => value.wipe())
  assert.ok(guardedSecrets() < before)
  await assert.rejects(credentials.lease('a'), { code: 'VAULT_LOCKED' })
  await assert.rejects(credentials.add({ service: 'b' }, bearer()), { code: 'VAULT_LOCKED' })
  await assert.rejects(credentials.lease('nothing'), { code: 'CREDENTIAL_UNKNOWN' })
  assert.deepEqual(
    (await credentials.list()).map(({ service }) => service),
    ['a'],
  )
  await credentials.remove({ service: 'a' })
  assert.deepEqual(await credentials.list(), [])
})

test('vault that locks while a credential is being opened hands nothing out', async () => {
  const base = await bench()
  let lockNow = (): void => {}
  const store = {
    ...base.store,
    scan: base.store.scan.bind(base.store),
    get: async (ns: string, key: Uint8Array) => base.store.get(ns, key),
    put: base.store.put.bind(base.store),
  }
  const sealing = {
    ...base.common.sealing,
    locked: false,
    open: (sealed: Uint8Array) => {
      const content = base.common.sealing.open(sealed)
      lockNow()
      return content
    },
  }
  Object.defineProperty(sealing, 'locked', { get: () => base.common.sealing.locked })
  using credentials = createCredentials({ ...base.common, store: store as never, sealing, refresh: never })
  await credentials.add({ service: 'a' }, bearer())
  lockNow = () => base.vault.lock()
  await assert.rejects(credentials.lease('a'), { code: 'VAULT_LOCKED' })
})

test('lease, at its end, is over by the monotonic clock, also when the wall clock is set back', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'a' }, bearer())
  const lease = await credentials.lease('a')
  assert.equal(lease.expiresMs, base.clock.now() + MAX_LEASE_MS)
  base.clock.setWall(base.clock.now() - 86_400_000)
  base.clock.advance(MAX_LEASE_MS - 1)
  assert.equal(lease.use(tokenOf), 'token-one')
  base.clock.advance(1)
  assert.throws(() => lease.use(tokenOf), { code: 'CREDENTIAL_EXPIRED' })
  assert.ok(lease.ended)
})

test('credential that is rotated reaches its users when their leases end', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'a' }, bearer('old'))
  const held = await credentials.lease('a', { maxMs: 60_000 })
  const info = await credentials.add({ service: 'a' }, bearer('new'), { mode: 'replace' })
  assert.equal(info.revision, 2)
  assert.equal(held.use(tokenOf), 'old')
  assert.equal((await credentials.lease('a')).use(tokenOf), 'new')
  base.clock.advance(60_000)
  assert.throws(() => held.use(tokenOf), { code: 'CREDENTIAL_EXPIRED' })
})

test('credential with an end of its own is not handed out beyond it', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'a' }, bearer(), { expiresMs: base.clock.now() + 10_000 })
  assert.equal((await credentials.lease('a')).expiresMs, base.clock.now() + 10_000)
  base.clock.advance(10_000)
  await assert.rejects(credentials.lease('a'), { code: 'CREDENTIAL_EXPIRED' })
})

test('lease given back, used again, is closed; more leases than there may be are refused', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'a' }, bearer())
  const first = await credentials.lease('a')
  first.release()
  first.release()
  assert.throws(() => first.use(tokenOf), { code: 'CLOSED' })
  for (let i = 0; i < MAX_LEASES; i++) await credentials.lease('a')
  await assert.rejects(credentials.lease('a'), { code: 'BUDGET_EXCEEDED' })
  credentials.purge()
  const before = base.clock.pending
  await credentials.lease('a')
  assert.equal(base.clock.pending, before + 1)
})

test('second credential of a service, added without saying so, leaves the first', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'a' }, bearer('first'))
  await assert.rejects(credentials.add({ service: 'a' }, bearer('second')), { code: 'CREDENTIAL_INVALID', next: 'kith credential add SERVICE --replace' })
  assert.equal((await credentials.lease('a')).use(tokenOf), 'first')
  await assert.rejects(credentials.remove({ service: 'b' }), { code: 'CREDENTIAL_UNKNOWN' })
})

test('row moved under another name, or with other origins beside it, is not what it says', async () => {
  const base = await bench()
  using credentials = open(base)
  await credentials.add({ service: 'good' }, bearer(), { origins: ['https://good.example'] })
  let row: { readonly key: Uint8Array; readonly value: Uint8Array } | undefined
  for await (const entry of base.store.scan(NS)) row = entry
  assert.ok(row)
  const value = decodeRow(row.value)
  await base.store.put(NS, Buffer.from('evil\0'), row.value)
  await assert.rejects(credentials.lease('evil'), { code: 'CREDENTIAL_INVALID' })
  await base.store.put(NS, Buffer.from('evil\0'), encodeRow({ ...value, key: { service: 'evil' } }))
  await assert.rejects(credentials.lease('evil'), { code: 'CREDENTIAL_INVALID' })
  await base.store.put(NS, row.key, encodeRow({ ...value, origins: [] }))
  await assert.rejects(credentials.lease('good'), { code: 'CREDENTIAL_INVALID' })
  await base.store.put(NS, row.key, encodeRow({ ...value, sealed: Buffer.from(value.sealed).reverse() }))
  await assert.rejects(credentials.lease('good'), { code: 'DECRYPT_FAILED' })
  await credentials.add({ service: 'good' }, bearer('again'), { mode: 'replace' })
  assert.equal((await credentials.lease('good')).use(tokenOf), 'again')
})

test('credential of the configuration goes before the vault’s and needs no unlocked vault; its file is read each time', async () => {
  const base = await bench()
  let text = 'from-file'
  const config = configCredentials({
    configured: () => [{ key: { service: 'a' }, fields: { type: 'bearer' }, origins: [], secret: { file: '/secret' } }],
    read: (from) => {
      assert.deepEqual(from, { file: '/secret' })
      return secret(text)
    },
  })
  using credentials = open(base, config)
  await credentials.add({ service: 'a' }, bearer('from-vault'))
  await credentials.add({ service: 'a', did: ANN }, bearer('of-ann'))
  assert.equal((await credentials.lease('a', { did: ANN })).use(tokenOf), 'of-ann')
  base.vault.lock()
  assert.equal((await credentials.lease('a')).use(tokenOf), 'from-file')
  text = 'another'
  assert.equal((await credentials.lease('a')).use(tokenOf), 'another')
  text = 'two\nlines'
  await assert.rejects(credentials.lease('a'), { code: 'CREDENTIAL_INVALID' })
  assert.deepEqual(
    (await credentials.list()).map(({ source }) => source),
    ['config', 'vault', 'vault'],
  )
})

test('request, given its credential, carries it and nothing that the caller claimed in its place', async () => {
  const base = await bench()
  using credentials = open(base)
  const url = new URL('https://api.example/v1')
  const expected = [
    'k-123',
    `Basic ${Buffer.from('ann:päss:word').toString('base64')}`,
    'Bearer token-one',
    undefined,
    undefined,
    'Bearer access-1',
    'Bearer a',
    'Hawk id="dh37", mac="6R\\"4\\\\x"',
  ]
  for (const [i, credential] of everyKind().entries()) {
    const info = await credentials.add({ service: `s${i}` }, credential, { origins: i === 2 ? ['https://api.example'] : [] })
    const given = { Authorization: 'Bearer mine', 'X-API-Key': 'mine', Accept: 'a/b' }
    if (credential.type === 's3') {
      assert.throws(() => inject({ url, headers: given }, credential, info), { code: 'CREDENTIAL_INVALID' })
      continue
    }
    const headers = inject({ url, headers: given }, credential, info)
    const name = credential.type === 'api-key' ? 'x-api-key' : 'authorization'
    assert.equal(headers[name], expected[i])
    assert.equal(headers.Accept, 'a/b')
    assert.deepEqual(
      Object.keys(headers).filter((known) => known.toLowerCase() === name),
      [name],
    )
    assert.throws(() => inject({ url: new URL('http://api.example'), headers: {} }, credential, info), { code: 'CREDENTIAL_ORIGIN' })
    if (i === 2) assert.throws(() => inject({ url: new URL('https://api.example:444'), headers: {} }, credential, info), { code: 'CREDENTIAL_ORIGIN' })
    else inject({ url: new URL('http://127.0.0.1:8080/'), headers: {} }, credential, info)
  }
})

test('credentials, closed, hand out nothing and leave no timer', async () => {
  const base = await bench()
  const credentials = open(base)
  await credentials.add({ service: 'a' }, bearer())
  ;(await credentials.lease('a')).release()
  const before = base.clock.pending
  const lease = await credentials.lease('a')
  credentials.close()
  credentials.close()
  assert.ok(lease.ended)
  assert.equal(base.clock.pending, before)
  await assert.rejects(credentials.lease('a'), { code: 'CLOSED' })
})

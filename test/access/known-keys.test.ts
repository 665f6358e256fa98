import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { apiKeyHash } from '../../src/access/api-key.ts'
import type { ApiKeyRecord, Grant, IdentitySource } from '../../src/access/sources.ts'
import type { Presentation } from '../../src/access/types.ts'
import { formatDid } from '../../src/identity/did.ts'
import { keyFrom, NOW, world } from './support.ts'

const TEXT = 'alk_testsecret123'
const SHOWN: Presentation = { kind: 'api-key', text: TEXT }
const DID = formatDid(keyFrom(4).publicKey)

function recordOf(...scopes: readonly string[]): ApiKeyRecord {
  return { name: 'bench', hash: apiKeyHash(TEXT), grant: { scopes } }
}

test('an API key, asked for at once, gives what waiting for it gives, and the same caller while nothing changes', async () => {
  const { provider } = await world({ apiKeys: [recordOf('a', 'b')] })
  const now = provider.resolveNow(SHOWN)
  const waited = await provider.resolve(SHOWN)
  assert.deepEqual([now?.id, now?.via, [...(now?.scopes ?? [])], now?.did], ['key:bench', 'api-key', ['a', 'b'], undefined])
  assert.deepEqual([waited?.id, waited?.via, [...(waited?.scopes ?? [])]], ['key:bench', 'api-key', ['a', 'b']])
  assert.equal(waited?.revoked, now?.revoked)
  assert.equal(provider.resolveNow(SHOWN), now)
})

test('anything but a known API key, asked for at once, has to be waited for', async () => {
  const { provider } = await world({ apiKeys: [recordOf('a')] })
  for (const shown of [
    { kind: 'api-key', text: `${TEXT}4` },
    { kind: 'api-key', text: 'nonsense' },
    { kind: 'token', text: TEXT },
    { kind: 'local' },
    { kind: 'link', did: DID },
  ] satisfies Presentation[])
    assert.equal(provider.resolveNow(shown), undefined)
})

test('a key that is taken back, renamed or given others, asked for at once, is so from that moment on', async () => {
  const { provider, put } = await world({ apiKeys: [recordOf('a', 'b')] })
  assert.equal(provider.resolveNow(SHOWN)?.scopes.has('b'), true)
  put({ apiKeys: [recordOf('a')] })
  assert.deepEqual([...(provider.resolveNow(SHOWN)?.scopes ?? [])], ['a'])
  put({ apiKeys: [{ ...recordOf('a'), name: 'other' }] })
  assert.equal(provider.resolveNow(SHOWN)?.id, 'key:other')
  put({})
  assert.equal(provider.resolveNow(SHOWN), undefined)
  assert.equal(await provider.resolve(SHOWN), undefined)
  put({ apiKeys: [recordOf('c')] })
  assert.deepEqual([...(provider.resolveNow(SHOWN)?.scopes ?? [])], ['c'])
})

test('what another source gives by name, added or taken back, counts from that moment on', async () => {
  let grant: Grant | undefined = { scopes: ['more'], resources: { bucket: ['read'] } }
  const other: IdentitySource = { name: 'other', grant: (principal) => (principal === 'key:bench' ? grant : undefined) }
  const { provider } = await world({ apiKeys: [recordOf('a')], sources: [other] })
  const first = provider.resolveNow(SHOWN)
  assert.deepEqual([[...(first?.scopes ?? [])], first?.resources.get('bucket')], [['a', 'more'], ['read']])
  grant = { scopes: ['more'] }
  assert.equal(provider.resolveNow(SHOWN)?.resources.size, 0)
  grant = undefined
  assert.deepEqual([...(provider.resolveNow(SHOWN)?.scopes ?? [])], ['a'])
})

test('a key that expires, used before, does not come in from then on', async () => {
  const { provider, clock } = await world({ apiKeys: [{ ...recordOf('a'), expiresMs: NOW + 1_000 }] })
  const caller = provider.resolveNow(SHOWN)
  assert.equal(caller?.revoked?.aborted, false)
  clock.advance(999)
  assert.equal(provider.resolveNow(SHOWN), caller)
  const told = once(caller?.revoked as AbortSignal, 'abort')
  clock.advance(1)
  assert.equal(provider.resolveNow(SHOWN), undefined)
  await told
})

test('whoever is told to go, with a key that still counts, comes in again by another signal', async () => {
  const { provider, put } = await world({ apiKeys: [recordOf('a', 'b')] })
  const before = provider.resolveNow(SHOWN)
  put({ apiKeys: [recordOf('a')] })
  assert.equal(await provider.recheck({ disconnect: true }), 1)
  assert.equal(before?.revoked?.aborted, true)
  const after = provider.resolveNow(SHOWN)
  assert.equal(after?.revoked?.aborted, false)
  assert.equal(provider.resolveNow(SHOWN), after)
})

test('a key that came in again, looked at once more, is counted as gone once more', async () => {
  const all = recordOf('a', 'b')
  let record: ApiKeyRecord | undefined = all
  const source: IdentitySource = { name: 'own', apiKey: () => record }
  const { provider } = await world({ sources: [source] })
  const caller = provider.resolveNow(SHOWN)
  record = undefined
  assert.equal(await provider.recheck({ disconnect: false }), 1)
  assert.equal(await provider.recheck({ disconnect: false }), 0)
  record = all
  assert.equal(provider.resolveNow(SHOWN), caller)
  record = undefined
  assert.equal(await provider.recheck({ disconnect: false }), 1)
})

test('a key that is somebody’s, asked for at once, has to be waited for, since its identity is asked about too', async () => {
  const { provider } = await world({ apiKeys: [{ ...recordOf('a'), grant: { scopes: ['a'], did: DID } }], grants: new Map([[DID, { scopes: ['own'] }]]) })
  assert.equal(provider.resolveNow(SHOWN), undefined)
  assert.deepEqual([...((await provider.resolve(SHOWN))?.scopes ?? [])].sort(), ['a', 'own'])
})

test('a source that takes its time, or fails, is waited for and never gone round', async () => {
  const failing: IdentitySource = { name: 'failing', grant: () => Promise.reject(new Error('not reached')) }
  const broken = await world({ apiKeys: [recordOf('a')], sources: [failing] })
  assert.equal(broken.provider.resolveNow(SHOWN), undefined)
  await assert.rejects(broken.provider.resolve(SHOWN), /not reached/)
  // One that answered at once before.
  let later = false
  const turning: IdentitySource = { name: 'turning', grant: () => (later ? Promise.resolve({ scopes: ['late'] }) : undefined) }
  const { provider } = await world({ apiKeys: [recordOf('a')], sources: [turning] })
  assert.deepEqual([...(provider.resolveNow(SHOWN)?.scopes ?? [])], ['a'])
  later = true
  assert.equal(provider.resolveNow(SHOWN), undefined)
  assert.deepEqual([...((await provider.resolve(SHOWN))?.scopes ?? [])].sort(), ['a', 'late'])
  assert.equal(provider.resolveNow(SHOWN), undefined)
})

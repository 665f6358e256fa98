import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { guardedSecrets } from '../../src/core/guarded-memory.ts'
import { Secret } from '../../src/core/secret.ts'
import { decodeContent, encodeContent } from '../../src/vault/credentials/codec.ts'
import { composeCredential } from '../../src/vault/credentials/compose.ts'
import { checkKey, isHeaderName, MAX_SECRET_BYTES, parseOrigin } from '../../src/vault/credentials/limits.ts'
import { decodeRow, encodeRow } from '../../src/vault/credentials/record.ts'
import { CREDENTIAL_TYPES, type Credential, mapSecrets, wipeCredential } from '../../src/vault/credentials/types.ts'
import { ANN, bearer, everyKind, reveal, secret } from './make.ts'

const shown = (credential: Credential): unknown => mapSecrets(credential, reveal)

test('credential of each kind, encoded and decoded, is the same, and nothing is left behind', () => {
  const before = guardedSecrets()
  for (const credential of everyKind()) {
    for (const key of [{ service: 'vast-ai' }, { service: 's3.eu', did: ANN }]) {
      const content = encodeContent({ key, origins: ['https://api.example'], credential })
      const back = decodeContent(content)
      assert.deepEqual(back.key, key)
      assert.deepEqual(back.origins, ['https://api.example'])
      assert.deepEqual(shown(back.credential), shown(credential))
      wipeCredential(back.credential)
      content.wipe()
    }
    wipeCredential(credential)
  }
  assert.equal(guardedSecrets(), before)
})

test('encoded credential, cut or changed at every byte, is refused with one code or is another valid one', () => {
  for (const credential of everyKind()) {
    const content = encodeContent({ key: { service: 'vast-ai', did: ANN }, origins: [], credential })
    const bytes = content.use((from) => Buffer.from(from))
    for (let length = 1; length < bytes.length; length++)
      assert.throws(() => decodeContent(Secret.take(Buffer.from(bytes.subarray(0, length)))), { code: 'CREDENTIAL_INVALID' })
    assert.throws(() => decodeContent(Secret.take(Buffer.concat([bytes, Buffer.from([0])]))), { code: 'CREDENTIAL_INVALID' })
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] as number) ^ 0x80
      try {
        wipeCredential(decodeContent(Secret.take(changed)).credential)
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'CREDENTIAL_INVALID')
      }
    }
  }
})

test('secrets of a credential, printed in any way, are not shown', () => {
  for (const credential of everyKind()) {
    const text = `${inspect(credential, { depth: 9, showHidden: true })} ${JSON.stringify(credential)} ${String(credential)}`
    mapSecrets(credential, (value) => assert.ok(reveal(value).length < 2 || !text.includes(reveal(value)), credential.type))
  }
})

test('row of the store, whatever is in it, comes back or is refused with one code', () => {
  const row = {
    key: { service: 'a' },
    origins: ['https://a.example'],
    type: 'bearer' as const,
    renews: false,
    revision: 1,
    createdMs: 5,
    changedMs: 6,
    expiresMs: undefined,
    sealed: Uint8Array.of(1, 2),
  }
  const bytes = encodeRow(row)
  assert.deepEqual(decodeRow(bytes), row)
  for (let length = 0; length < bytes.length; length++) assert.throws(() => decodeRow(bytes.subarray(0, length)), { code: 'CREDENTIAL_INVALID' })
  assert.throws(() => decodeRow(Uint8Array.from([9, ...bytes.subarray(1)])), { code: 'CREDENTIAL_INVALID' })
})

test('key of a credential, of another form, is refused', () => {
  for (const service of ['', 'A', '-a', 'a b', 'a/b', 'ä', 'a'.repeat(65)]) assert.throws(() => checkKey({ service }), { code: 'CREDENTIAL_INVALID' })
  for (const did of ['', 'ann', 'did:icn:', 'did:icn:a b', `did:icn:${'z'.repeat(200)}`])
    assert.throws(() => checkKey({ service: 'a', did }), { code: 'CREDENTIAL_INVALID' })
})

test('values that would break a header, or name one that is not a credential’s, are refused', () => {
  const lines: readonly Credential[] = [
    { type: 'bearer', token: secret('a\r\nx: y') },
    { type: 'bearer', token: secret('tökén') },
    { type: 'bearer', token: secret(' a') },
    { type: 'api-key', header: 'host', token: secret('a') },
    { type: 'api-key', header: 'content-length', token: secret('a') },
    { type: 'api-key', header: 'x y', token: secret('a') },
    { type: 'basic', username: 'a:b', password: secret('c') },
    { type: 'basic', username: 'a\nb', password: secret('c') },
    { type: 's3', accessKey: 'a/b', secretKey: secret('c'), sessionToken: undefined },
    { type: 's3', accessKey: 'a', secretKey: secret('c'), sessionToken: undefined, scope: { region: 'eu/s3', service: 's3' } },
    { type: 's3', accessKey: 'a', secretKey: secret('c'), sessionToken: undefined, scope: { region: 'eu', service: '' } },
    { type: 'custom', scheme: 'a b', params: [{ name: 'a', value: secret('b') }] },
    { type: 'custom', scheme: 'a', params: [] },
    {
      type: 'custom',
      scheme: 'a',
      params: [
        { name: 'A', value: secret('b') },
        { name: 'a', value: secret('c') },
      ],
    },
    { type: 'oidc', accessToken: undefined, refreshToken: undefined, client: undefined },
    { type: 'oidc', accessToken: undefined, refreshToken: secret('r'), client: undefined },
    {
      type: 'oidc',
      accessToken: secret('a'),
      refreshToken: undefined,
      client: { tokenEndpoint: 'http://issuer.example/t', clientId: 'k', clientSecret: undefined },
    },
    {
      type: 'oidc',
      accessToken: secret('a'),
      refreshToken: undefined,
      client: { tokenEndpoint: 'https://u:p@issuer.example/t', clientId: 'k', clientSecret: undefined },
    },
    bearer('x'.repeat(MAX_SECRET_BYTES + 1)),
  ]
  for (const credential of lines) {
    assert.throws(() => encodeContent({ key: { service: 'a' }, origins: [], credential }), { code: 'CREDENTIAL_INVALID' }, JSON.stringify(credential))
  }
  assert.ok(isHeaderName('x-api-key') && !isHeaderName('X-Api-Key') && !isHeaderName('via'))
})

test('origin, read, is canonical, encrypted or of this machine', () => {
  assert.equal(parseOrigin('https://API.example:443'), 'https://api.example')
  assert.equal(parseOrigin('http://127.0.0.1:80'), 'http://127.0.0.1')
  assert.equal(parseOrigin('http://[::1]:8080'), 'http://[::1]:8080')
  for (const text of ['http://api.example', 'ftp://a', 'https://u@a', 'https://a/path', 'https://a?x', 'a', '', 'http://127.0.0.1.evil.example'])
    assert.equal(parseOrigin(text), undefined, text)
})

test('secret file, read by kind, gives the credential of its lines', () => {
  const made = (fields: Parameters<typeof composeCredential>[0], text: string): unknown => {
    const credential = composeCredential(fields, secret(text))
    const plain = shown(credential)
    wipeCredential(credential)
    return plain
  }
  const client = { tokenEndpoint: 'https://issuer.example/token', clientId: 'kith' }
  assert.deepEqual(made({ type: 'bearer' }, 'abc\n'), { type: 'bearer', token: 'abc' })
  assert.deepEqual(made({ type: 'api-key' }, 'abc\r\n'), { type: 'api-key', header: 'x-api-key', token: 'abc' })
  assert.deepEqual(made({ type: 'api-key', header: 'X-Token' }, 'abc'), { type: 'api-key', header: 'x-token', token: 'abc' })
  assert.deepEqual(made({ type: 'basic', username: 'ann' }, 'pw'), { type: 'basic', username: 'ann', password: 'pw' })
  const keys = { type: 's3', accessKey: 'AK', secretKey: 'sk', sessionToken: undefined }
  assert.deepEqual(made({ type: 's3', accessKey: 'AK', region: 'eu-west-1' }, 'sk'), { ...keys, scope: { region: 'eu-west-1', service: 's3' } })
  assert.deepEqual(made({ type: 's3', accessKey: 'AK', signFor: 'sqs' }, 'sk'), { ...keys, scope: { region: 'us-east-1', service: 'sqs' } })
  assert.deepEqual(made({ type: 's3', accessKey: 'AK' }, 'sk\nst\n'), { type: 's3', accessKey: 'AK', secretKey: 'sk', sessionToken: 'st' })
  assert.deepEqual(made({ type: 'oidc', ...client }, '\nr\nc'), {
    type: 'oidc',
    accessToken: undefined,
    refreshToken: 'r',
    client: { ...client, clientSecret: 'c' },
  })
  assert.deepEqual(made({ type: 'oidc' }, 'a'), { type: 'oidc', accessToken: 'a', refreshToken: undefined, client: undefined })
  assert.deepEqual(made({ type: 'custom', scheme: 'Hawk' }, 'id=1\nmac=a=b\n'), {
    type: 'custom',
    scheme: 'Hawk',
    params: [
      { name: 'id', value: '1' },
      { name: 'mac', value: 'a=b' },
    ],
  })
})

test('secret file or fields that do not fit the kind are refused without repeating them, and nothing is left behind', () => {
  const before = guardedSecrets()
  const cases: readonly (readonly [Parameters<typeof composeCredential>[0], string])[] = [
    [{ type: 'bearer' }, 'hunter2\nhunter3'],
    [{ type: 'bearer' }, '\n\n'],
    [{ type: 'bearer' }, '\nhunter2'],
    [{ type: 'bearer', username: 'ann' }, 'hunter2'],
    [{ type: 'basic' }, 'hunter2'],
    [{ type: 's3', accessKey: 'AK' }, 'hunter2\nb\nc'],
    [{ type: 'oidc', clientId: 'k' }, 'hunter2'],
    [{ type: 'oidc' }, 'a\nhunter2'],
    [{ type: 'custom', scheme: 'Hawk' }, 'id=1\nhunter2'],
    [{ type: 'custom', scheme: 'Hawk' }, Array.from({ length: 17 }, (_, i) => `p${i}=hunter2`).join('\n')],
  ]
  for (const [fields, text] of cases) {
    const file = secret(text)
    assert.throws(
      () => composeCredential(fields, file),
      (error: Error & { code?: string }) => error.code === 'CREDENTIAL_INVALID' && !inspect(error).includes('hunter'),
      text,
    )
    file.wipe()
  }
  assert.equal(guardedSecrets(), before)
})

test('secret files of any bytes, read as any kind, give a credential or the one refusal', () => {
  const before = guardedSecrets()
  fc.assert(
    fc.property(fc.constantFrom(...CREDENTIAL_TYPES), fc.uint8Array({ minLength: 1, maxLength: 60 }), (type, bytes) => {
      const file = Secret.take(bytes)
      const fields = { type, ...(type === 'basic' ? { username: 'u' } : type === 's3' ? { accessKey: 'A' } : type === 'custom' ? { scheme: 'S' } : {}) }
      try {
        wipeCredential(composeCredential(fields, file))
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'CREDENTIAL_INVALID')
      } finally {
        file.wipe()
      }
    }),
    { numRuns: 500 },
  )
  assert.equal(guardedSecrets(), before)
})

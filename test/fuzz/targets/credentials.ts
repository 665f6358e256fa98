import assert from 'node:assert/strict'
import { equal, utf8 } from '../../../src/core/bytes.ts'
import { Secret } from '../../../src/core/secret.ts'
import { tokensOf } from '../../../src/daemon/credentials/token-endpoint.ts'
import { decodeContent, encodeContent } from '../../../src/vault/credentials/codec.ts'
import { composeCredential } from '../../../src/vault/credentials/compose.ts'
import { decodeRow, encodeRow } from '../../../src/vault/credentials/record.ts'
import { presignRequest, signRequest } from '../../../src/vault/credentials/sigv4.ts'
import { CREDENTIAL_TYPES, wipeCredential } from '../../../src/vault/credentials/types.ts'
import { decodeShare, encodeShare } from '../../../src/vault/shares-text.ts'
import { decodeTreasury } from '../../../src/vault/treasury.ts'
import { ANN, everyKind } from '../../vault-credentials/make.ts'
import type { FuzzTarget } from '../mutate.ts'

const bytesOf = (secret: Secret): Uint8Array => {
  const bytes = secret.use((from) => new Uint8Array(from))
  secret.wipe()
  return bytes
}

/** Whatever decodes is the one encoding of what it says. */
const content: FuzzTarget = {
  name: 'credential-content',
  seeds: everyKind().map((credential, i) => {
    const encoded = bytesOf(
      encodeContent({ key: i % 2 === 0 ? { service: 'a' } : { service: 'b', did: ANN }, origins: i === 0 ? ['https://a.example'] : [], credential }),
    )
    wipeCredential(credential)
    return encoded
  }),
  codes: ['CREDENTIAL_INVALID'],
  run(input) {
    if (input.length === 0) return 'nothing'
    const secret = Secret.take(Uint8Array.from(input))
    try {
      const decoded = decodeContent(secret)
      const again = encodeContent(decoded)
      wipeCredential(decoded.credential)
      assert.ok(equal(bytesOf(again), input))
      return decoded.credential.type
    } finally {
      secret.wipe()
    }
  },
  iterations: 8_000,
}

const row: FuzzTarget = {
  name: 'credential-row',
  seeds: [
    { expiresMs: undefined, origins: [], key: { service: 'a' } },
    { expiresMs: 99, origins: ['https://a.example', 'http://127.0.0.1:81'], key: { service: 'a.b-c', did: ANN } },
  ].map((part) => encodeRow({ ...part, type: 'oidc', renews: true, revision: 3, createdMs: 1, changedMs: 2, sealed: Uint8Array.of(1, 2, 3) })),
  codes: ['CREDENTIAL_INVALID'],
  run(input) {
    assert.ok(equal(encodeRow(decodeRow(input)), input))
    return 'row'
  },
}

/** The first byte chooses the kind, the rest is the file. */
const file: FuzzTarget = {
  name: 'credential-file',
  seeds: [utf8('\0token\n'), utf8('\x01password'), utf8('\x03key\nsession\n'), utf8('\x04access\nrefresh\nsecret'), utf8('\x05id=1\nmac=2\n')],
  codes: ['CREDENTIAL_INVALID'],
  run(input) {
    const type = CREDENTIAL_TYPES[(input[0] ?? 0) % CREDENTIAL_TYPES.length] ?? 'bearer'
    if (input.length < 2) return 'nothing'
    const needs = {
      basic: { username: 'u' },
      s3: { accessKey: 'A' },
      custom: { scheme: 'S' },
      oidc: { tokenEndpoint: 'https://a.example/t', clientId: 'c' },
      bearer: {},
      'api-key': {},
    }
    const secret = Secret.take(Uint8Array.from(input.subarray(1)))
    try {
      wipeCredential(composeCredential({ type, ...needs[type] }, secret))
      return type
    } finally {
      secret.wipe()
    }
  },
  iterations: 6_000,
}

const answer: FuzzTarget = {
  name: 'credential-answer',
  seeds: [utf8('{"access_token":"a","refresh_token":"b","token_type":"bearer","expires_in":3600}'), utf8('{"access_token":"a","expires_in":"60"}')],
  tokens: ['"access_token"', '"expires_in"', '"error"', 'null', '1e999', '-1', '"invalid_client"'].map(utf8),
  codes: ['CREDENTIAL_REFUSED', 'CREDENTIAL_REFRESH_FAILED'],
  run(input) {
    const tokens = tokensOf(200, Buffer.from(input).toString('utf8'))
    assert.ok(tokens.expiresInMs === undefined || (tokens.expiresInMs >= 0 && Number.isSafeInteger(tokens.expiresInMs)))
    tokens.accessToken.wipe()
    tokens.refreshToken?.wipe()
    return 'tokens'
  },
}

const share: FuzzTarget = {
  name: 'phrase-share',
  seeds: [21, 37].map((length) =>
    bytesOf(encodeShare({ threshold: 2, count: 3, number: 1, setId: Uint8Array.of(1, 2, 3, 4), point: new Uint8Array(length).fill(7) })),
  ),
  codes: ['SHARE_DAMAGED'],
  run(input) {
    if (input.length === 0) return 'nothing'
    const text = Secret.take(Uint8Array.from(input))
    try {
      const decoded = decodeShare(text, 1)
      const again = Secret.take(bytesOf(encodeShare({ ...decoded, point: decoded.point.slice() })))
      const same = decodeShare(again, 1)
      again.wipe()
      assert.ok(equal(same.point, decoded.point))
      return decoded.point.length
    } finally {
      text.wipe()
    }
  },
  iterations: 8_000,
}

const treasury: FuzzTarget = {
  name: 'treasury-row',
  seeds: [
    Buffer.concat([
      Buffer.from([1, 4]),
      Buffer.from('coop'),
      Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex'),
      Buffer.alloc(68),
    ]),
  ],
  codes: ['KEYSTORE_DAMAGED'],
  run: (input) => decodeTreasury(input).head.name.length,
}

const key = { accessKey: 'AKIDEXAMPLE', secretKey: Secret.take(utf8('wJalrXUtnFEMI')) }

/** Any target that a request line may carry is signed, the same each time, and presigning only appends to it. */
const signing: FuzzTarget = {
  name: 'sigv4-target',
  seeds: ['/', '/a%20b/../c?x=1&y', '/%', '//a//?=&a=%zz', '/?a=b=c'].map(utf8),
  codes: [],
  run(input) {
    const target = Buffer.from(input).toString('latin1')
    const request = { method: 'GET', target, headers: [['host', 'a'] as const] }
    for (const service of ['s3', 'execute-api']) {
      const scope = { region: 'r', service, nowMs: 0 }
      const signed = signRequest(request, key, scope)
      assert.equal(signed.signature, signRequest(request, key, scope).signature)
      assert.ok(signed.canonicalRequest.split('\n')[1]?.startsWith('/') || service === 's3')
      assert.ok(presignRequest(request, key, { ...scope, expiresS: 1 }).target.startsWith(target))
    }
    return 'signed'
  },
  iterations: 3_000,
}

export const credentialTargets: readonly FuzzTarget[] = [content, row, file, answer, share, treasury, signing]

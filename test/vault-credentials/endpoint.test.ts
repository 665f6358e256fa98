import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import { manualClock, systemClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { tokenEndpoint, tokensOf } from '../../src/daemon/credentials/token-endpoint.ts'
import type { RefreshedToken } from '../../src/vault/credentials/managed.ts'
import { type OidcToken, wipeCredential } from '../../src/vault/credentials/types.ts'
import { reveal, secret } from './make.ts'

interface Seen {
  readonly method: string | undefined
  readonly authorization: string | undefined
  readonly type: string | undefined
  readonly body: URLSearchParams
}

let server: Server
let answer: (response: ServerResponse, request: IncomingMessage) => void
let arrived: () => void = () => {}
const seen: Seen[] = []

before(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { authorization, 'content-type': type } = request.headers
      seen.push({ method: request.method, authorization, type, body: new URLSearchParams(Buffer.concat(chunks).toString()) })
      answer(response, request)
      arrived()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(() => {
  server.closeAllConnections()
  server.close()
})

function token(clientSecret?: string, path = '/token'): OidcToken {
  const tokenEndpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`
  const client = { tokenEndpoint, clientId: 'kith node', clientSecret: clientSecret === undefined ? undefined : secret(clientSecret) }
  return { type: 'oidc', accessToken: undefined, refreshToken: secret('r/+=&1'), client }
}

const says = (status: number, value: unknown, headers: Record<string, string> = {}): void => {
  answer = (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(typeof value === 'string' ? value : JSON.stringify(value))
}
const ask = async (given: OidcToken = token(), clock = systemClock, signal = new AbortController().signal): Promise<RefreshedToken> =>
  tokenEndpoint(clock)(given, { signal })

test('refresh at a token endpoint sends the form of the standard and reads the answer', async () => {
  says(200, { access_token: 'new-access', refresh_token: 'new-refresh', token_type: 'Bearer', expires_in: 3600 })
  const fresh = await ask()
  assert.equal(reveal(fresh.accessToken), 'new-access')
  assert.equal(fresh.refreshToken === undefined ? '' : reveal(fresh.refreshToken), 'new-refresh')
  assert.equal(fresh.expiresInMs, 3_600_000)
  const last = seen.at(-1)
  assert.equal(last?.method, 'POST')
  assert.equal(last?.type, 'application/x-www-form-urlencoded')
  assert.deepEqual(Object.fromEntries(last?.body ?? []), { grant_type: 'refresh_token', client_id: 'kith node', refresh_token: 'r/+=&1' })
})

test('client with a secret says it in the header, and not in the form', async () => {
  says(200, { access_token: 'a' })
  const fresh = await ask(token('s:e c'))
  assert.equal(fresh.refreshToken, undefined)
  assert.equal(fresh.expiresInMs, undefined)
  const last = seen.at(-1)
  assert.equal(Buffer.from(last?.authorization?.slice('Basic '.length) ?? '', 'base64').toString(), 'kith%20node:s%3Ae%20c')
  assert.deepEqual(Object.fromEntries(last?.body ?? []), { grant_type: 'refresh_token', refresh_token: 'r/+=&1' })
})

test('answers that end a token are told from those that may pass', async () => {
  for (const error of ['invalid_grant', 'invalid_client', 'unauthorized_client']) {
    says(400, { error, error_description: 'secret details' })
    await assert.rejects(ask(), (thrown: KithError) => thrown.code === 'CREDENTIAL_REFUSED' && !inspect(thrown).includes('secret details'))
  }
  for (const [status, value] of [
    [400, { error: 'temporarily_unavailable' }],
    [500, 'oops'],
    [503, ''],
    [429, {}],
    [200, 'no json'],
    [200, []],
    [200, {}],
    [204, ''],
  ] as const) {
    says(status, value)
    await assert.rejects(ask(), { code: 'CREDENTIAL_REFRESH_FAILED' }, `${status}`)
  }
  for (const value of [
    { access_token: 'a b' },
    { access_token: 'a\r\nx: y' },
    { access_token: '' },
    { access_token: 5 },
    { access_token: 'a', refresh_token: 'ä' },
    { access_token: 'a', token_type: 'mac' },
  ]) {
    says(200, value)
    await assert.rejects(ask(), { code: 'CREDENTIAL_REFRESH_FAILED' })
  }
})

test('life of a token, whatever the issuer writes, is a sensible one or unknown', () => {
  const life = (expires_in: unknown): number | undefined => tokensOf(200, JSON.stringify({ access_token: 'a', expires_in })).expiresInMs
  assert.equal(life('60'), 60_000)
  assert.equal(life(1.5), 1_500)
  assert.equal(life(1e300), 315_360_000_000)
  for (const wrong of [0, -1, 'soon', null, {}, true]) assert.equal(life(wrong), undefined)
})

test('redirect is not followed', async () => {
  const before = seen.length
  says(302, '', { location: `http://127.0.0.1:${(server.address() as AddressInfo).port}/elsewhere` })
  await assert.rejects(ask(), { code: 'CREDENTIAL_REFRESH_FAILED' })
  assert.equal(seen.length, before + 1)
})

test('answer without end is cut off', async () => {
  answer = (response) => {
    response.writeHead(200)
    const more = (): void => {
      while (response.write('x'.repeat(16_384))) if (response.destroyed) return
      response.once('drain', more)
    }
    response.on('error', () => {})
    more()
  }
  await assert.rejects(ask(), { code: 'CREDENTIAL_REFRESH_FAILED', message: 'the issuer answers with more than an answer has' })
})

test('issuer that does not answer is given up at the deadline, before and inside its answer', async () => {
  for (const begins of [false, true]) {
    const clock = manualClock()
    const here = new Promise<void>((resolve) => {
      arrived = resolve
    })
    answer = (response) => {
      if (begins) response.writeHead(200).write('{')
    }
    const asked = ask(token(), clock)
    await here
    clock.advance(15_000)
    await assert.rejects(asked, { code: 'CREDENTIAL_REFRESH_FAILED', message: 'the issuer did not answer within 15 s' })
    assert.equal(clock.pending, 0)
  }
})

test('caller that gives up ends the request with its own reason', async () => {
  const give = new AbortController()
  const here = new Promise<void>((resolve) => {
    arrived = resolve
  })
  answer = () => {}
  const asked = ask(token(), systemClock, give.signal)
  await here
  give.abort(new KithError('VAULT_LOCKED'))
  await assert.rejects(asked, { code: 'VAULT_LOCKED' })
})

test('issuer that cannot be reached, and an address beyond this machine in the clear, are refused', async () => {
  const away = { ...token(), client: { tokenEndpoint: 'http://127.0.0.1:1/token', clientId: 'a', clientSecret: undefined } }
  await assert.rejects(ask(away), { code: 'CREDENTIAL_REFRESH_FAILED' })
  await assert.rejects(ask({ ...away, client: { ...away.client, tokenEndpoint: 'http://issuer.example/token' } }), { code: 'CREDENTIAL_REFUSED' })
  await assert.rejects(ask({ ...away, client: undefined }), { code: 'CREDENTIAL_REFUSED' })
  wipeCredential(away)
})

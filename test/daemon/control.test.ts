import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import type { NodeContext } from '../../src/daemon/context.ts'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { controlPlace, prepareControlPlace } from '../../src/daemon/control/place.ts'
import { json, lines, withSecret } from '../../src/daemon/control/route.ts'
import { sealedBody } from '../../src/daemon/control/sealing.ts'
import { type ControlServer, startControlServer } from '../../src/daemon/control/server.ts'
import { readToken, writeToken } from '../../src/daemon/control/token.ts'

let home = ''
let server: ControlServer
let token = ''
let endlessAborted: Promise<void>
let aborted: () => void = () => {}

const routes = {
  'GET /v1/echo': json(z.object({ word: z.string().max(20).optional() }), (_context, input) => ({ word: input.word ?? null })),
  'POST /v1/echo': json(z.object({ word: z.string().max(20) }), (_context, input) => input),
  'POST /v1/fail': json(z.object({}), () => {
    throw new KithError('POLICY_DENIED', 'No.', { next: 'kith allow', details: { rule: 3 } })
  }),
  'POST /v1/bug': json(z.object({}), () => {
    throw new Error('secret detail of the inside')
  }),
  'GET /v1/lines': lines(z.object({}), async function* () {
    yield { n: 1 }
    yield { n: 2 }
    throw new KithError('LINK_LOST', 'Gone.')
  }),
  'GET /v1/endless': lines(z.object({}), async function* (_context, _input, { signal }) {
    signal.addEventListener('abort', () => aborted())
    yield { n: 1 }
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  }),
  'POST /v1/secret': withSecret(z.object({ tag: z.string().optional() }), (_context, input, secret) => ({
    tag: input.tag ?? null,
    length: secret?.use((bytes) => bytes.length) ?? 0,
    sum: secret?.use((bytes) => bytes.reduce((sum, byte) => sum + byte, 0)) ?? 0,
  })),
}

before(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'kith-control-')))
  const place = controlPlace(home)
  await prepareControlPlace(place)
  token = await writeToken(place.token, systemRandom)
  server = await startControlServer({ place, token, routes, context: {} as NodeContext, logger: silentLogger })
  endlessAborted = new Promise((resolve) => {
    aborted = resolve
  })
})
after(async () => {
  await server.close()
  await rm(home, { recursive: true, force: true })
})

interface Answer {
  readonly status: number
  readonly body: { error?: { code: string; message: string; next: string | null; details: object }; [name: string]: unknown }
}

function raw(method: string, path: string, options: { headers?: Record<string, string>; body?: string | Buffer } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { socketPath: server.socket, method, path, agent: false, headers: { authorization: `Bearer ${token}`, ...options.headers } },
      (answer: IncomingMessage) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          resolve({ status: answer.statusCode ?? 0, body: text === '' ? {} : JSON.parse(text) })
        })
        answer.on('error', reject)
      },
    )
    request.on('error', reject)
    request.end(options.body)
  })
}

/** Sends bytes as they are and gives everything that comes back. */
function bytes(data: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(server.socket)
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(text))
    socket.end(data)
  })
}

const asBytes = { 'content-type': 'application/octet-stream' }
const asJson = { 'content-type': 'application/json' }

test('control, right token, answers JSON', async () => {
  assert.deepEqual(await raw('GET', '/v1/echo?word=hi'), { status: 200, body: { word: 'hi' } })
  assert.deepEqual(await raw('POST', '/v1/echo', { headers: asJson, body: '{"word":"ho"}' }), { status: 200, body: { word: 'ho' } })
})

test('control, missing or wrong token, is refused before anything is read', async () => {
  for (const authorization of ['', 'Bearer', `Bearer ${'0'.repeat(64)}`, `Bearer ${token}0`, `Bearer ${token.slice(1)}`, `Basic ${token}`, token]) {
    const answer = await raw('POST', '/v1/echo', { headers: { ...asJson, authorization }, body: '{' })
    assert.equal(answer.status, 401)
    assert.equal(answer.body.error?.code, 'CONTROL_UNAUTHORIZED')
  }
  assert.equal((await raw('GET', '/v1/nothing', { headers: { authorization: '' } })).status, 401)
})

test('control, every failure, has the one shape', async () => {
  const cases: [Answer, number, string][] = [
    [await raw('GET', '/v1/nothing'), 404, 'NOT_FOUND'],
    [await raw('DELETE', '/v1/echo'), 404, 'NOT_FOUND'],
    [await raw('GET', '/%zz'), 400, 'USAGE'],
    [await raw('POST', '/v1/echo', { headers: asJson, body: '{' }), 400, 'USAGE'],
    [await raw('POST', '/v1/echo', { headers: asJson, body: '{"word":3}' }), 400, 'USAGE'],
    [await raw('POST', '/v1/echo', { headers: asJson, body: '{"__proto__":{"word":"x"}}' }), 400, 'USAGE'],
    [await raw('POST', '/v1/echo', { headers: { 'content-type': 'text/html' }, body: 'x' }), 400, 'USAGE'],
    [await raw('POST', '/v1/echo', { headers: asJson, body: JSON.stringify({ word: 'x'.repeat(2_000_000) }) }), 413, 'MESSAGE_TOO_LARGE'],
    [await raw('POST', '/v1/secret', { headers: asBytes, body: Buffer.alloc(1_100_000) }), 413, 'MESSAGE_TOO_LARGE'],
    [await raw('POST', '/v1/secret', { headers: asBytes, body: Buffer.from('open sesame') }), 400, 'USAGE'],
    [await raw('POST', '/v1/secret', { headers: asJson, body: '"word"' }), 400, 'USAGE'],
    [await raw('POST', '/v1/fail', { headers: asJson, body: '{}' }), 403, 'POLICY_DENIED'],
    [await raw('POST', '/v1/bug', { headers: asJson, body: '{}' }), 500, 'INTERNAL'],
  ]
  for (const [answer, status, code] of cases) {
    assert.equal(answer.body.error?.code, code)
    assert.equal(answer.status, status, code)
    assert.deepEqual(Object.keys(answer.body.error ?? {}).sort(), ['code', 'details', 'message', 'next'])
  }
  assert.doesNotMatch(JSON.stringify(cases.at(-1)?.[0]), /secret detail/)
})

test('control, sealed passphrase, opens once and only what was sealed to a waiting key', async () => {
  const { key } = (await raw('POST', '/v1/sealing-key', { headers: asJson, body: '{}' })).body as unknown as { key: string }
  using secret = Secret.take(Buffer.from([1, 2, 3]))
  const body = sealedBody(Buffer.from(key, 'hex'), secret)
  const send = async (bytes: Buffer): Promise<unknown> => {
    const answer = await raw('POST', '/v1/secret', { headers: asBytes, body: bytes })
    return answer.body.error?.code ?? answer.body.sum
  }
  assert.equal(await send(body), 6)
  assert.equal(await send(body), 'USAGE', 'the key is gone once it was used')
  const keys: string[] = []
  for (let i = 0; i < 17; i++) keys.push((await raw('POST', '/v1/sealing-key', { headers: asJson, body: '{}' })).body.key as string)
  const [oldest, second, third] = keys.map((each) => sealedBody(Buffer.from(each, 'hex'), secret)) as [Buffer, Buffer, Buffer]
  assert.equal(await send(oldest), 'USAGE', 'only sixteen wait')
  assert.equal(await send(second), 6)
  third[third.length - 1] = (third.at(-1) as number) ^ 1
  assert.equal(await send(third), 'USAGE')
  assert.equal(await send(third.subarray(0, 80)), 'USAGE')
})

test('control, client, gives results, errors, lines and secrets', async () => {
  // The client is typed for the node's own routes; here it meets the routes of this test.
  const client = createControlClient({ home }) as unknown as {
    call(route: string, input: object, options?: { signal?: AbortSignal }): Promise<unknown>
    callWithSecret(route: string, input: object, secret: Secret | undefined): Promise<unknown>
    lines(route: string, input: object, options?: { signal?: AbortSignal }): AsyncIterable<{ n: number }>
  }
  assert.deepEqual(await client.call('POST /v1/echo', { word: 'hi' }), { word: 'hi' })
  await assert.rejects(
    client.call('POST /v1/fail', {}),
    (error) => isKithError(error, 'POLICY_DENIED') && error.next === 'kith allow' && error.details.rule === 3,
  )
  await assert.rejects(client.call('POST /v1/nothing', {}), (error) => isKithError(error, 'NOT_FOUND'))
  const seen: number[] = []
  await assert.rejects(
    async () => {
      for await (const { n } of client.lines('GET /v1/lines', {})) seen.push(n)
    },
    (error) => isKithError(error, 'LINK_LOST'),
  )
  assert.deepEqual(seen, [1, 2])
  const secret = Secret.take(Buffer.from([1, 2, 3]))
  assert.deepEqual(await client.callWithSecret('POST /v1/secret', { tag: 'a' }, secret), { tag: 'a', length: 3, sum: 6 })
  assert.deepEqual(await client.callWithSecret('POST /v1/secret', {}, undefined), { tag: null, length: 0, sum: 0 })
  secret.wipe()
  const abort = new AbortController()
  for await (const { n } of client.lines('GET /v1/endless', {}, { signal: abort.signal })) {
    assert.equal(n, 1)
    break
  }
  await endlessAborted
})

test('control, hostile bytes, never end the server', async () => {
  const start = Buffer.from(`POST /v1/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n`)
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((data) => Buffer.from(data)),
    fc
      .constantFrom(
        'GET ',
        ' HTTP/1.1\r\n',
        '\r\n\r\n',
        'content-length: 99999999999999\r\n',
        'content-length: -1\r\n',
        'transfer-encoding: chunked\r\n\r\nzz\r\n',
        '{"a":',
        'content-type: application/json\r\n',
      )
      .map((text) => Buffer.from(text)),
  )
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(piece, { maxLength: 6 }), async (withStart, pieces) => {
      await bytes(Buffer.concat([...(withStart ? [start] : []), ...pieces]))
    }),
    { numRuns: 150 },
  )
  assert.match(await bytes(Buffer.from('NONSENSE\r\n\r\n')), /"code":"USAGE"/)
  assert.match(await bytes(Buffer.from('GET /v1/echo HTTP/1.1\r\n\r\n')), /"code":"CONTROL_UNAUTHORIZED"/)
  assert.match(await bytes(Buffer.from('GET /v1/echo HTTP/1.1\r\nhost: x\r\nexpect: much\r\n\r\n')), /"code":"USAGE"/)
  assert.match(await bytes(Buffer.from(`GET /v1/echo HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`)), /"code":"USAGE"/)
  assert.equal((await raw('GET', '/v1/echo')).status, 200)
})

test('control, arbitrary JSON bodies, are answered with 200 or one error', async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (value) => {
      const { status, body } = await raw('POST', '/v1/echo', { headers: asJson, body: JSON.stringify(value) })
      assert.ok(status === 200 || (status === 400 && body.error?.code === 'USAGE'), `${status} ${JSON.stringify(body)}`)
    }),
    { numRuns: 100 },
  )
})

test('control, socket and token, are closed to others', { skip: process.platform === 'win32' }, async () => {
  const place = controlPlace(home)
  assert.equal((await stat(join(home, 'control'))).mode & 0o777, 0o700)
  assert.equal((await stat(place.token)).mode & 0o777, 0o600)
  assert.equal((await stat(place.socket)).mode & 0o077, 0)
})

test('control, token file open to others or a link, is refused', { skip: process.platform === 'win32' }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kith-token-'))
  try {
    const path = join(folder, 'token')
    await writeToken(path, systemRandom)
    assert.match(await readToken(path), /^[0-9a-f]{64}$/)
    await chmod(path, 0o644)
    await assert.rejects(readToken(path), (error) => isKithError(error, 'HOME_UNSAFE'))
    await symlink(path, join(folder, 'link'))
    await assert.rejects(readToken(join(folder, 'link')), (error) => isKithError(error, 'HOME_UNSAFE'))
    await assert.rejects(readToken(join(folder, 'none')), (error) => isKithError(error, 'DAEMON_NOT_RUNNING'))
    await writeFile(path, 'short')
    await chmod(path, 0o600)
    await assert.rejects(readToken(path), (error) => isKithError(error, 'CONTROL_FAILED'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('control, stale socket, is replaced; a live one and a plain file are not', { skip: process.platform === 'win32' }, async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-stale-')))
  const place = controlPlace(folder)
  await prepareControlPlace(place)
  const start = (): Promise<ControlServer> => startControlServer({ place, token: 'x', routes: {}, context: {} as NodeContext, logger: silentLogger })
  try {
    await writeFile(place.socket, '')
    await assert.rejects(start(), (error) => isKithError(error, 'HOME_UNSAFE'))
    await rm(place.socket)
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(place.socket, resolve))
    await assert.rejects(start(), (error) => isKithError(error, 'DAEMON_RUNNING'))
    await new Promise((resolve) => other.close(resolve))
    await leaveStaleSocket(place.socket)
    await (await start()).close()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

/** A socket file whose process was killed. */
async function leaveStaleSocket(path: string): Promise<void> {
  const { spawn } = await import('node:child_process')
  const child = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`])
  await new Promise((resolve) => child.once('exit', resolve))
  assert.ok((await stat(path)).isSocket())
}

test('control, home with a long path, has a short socket path', { skip: process.platform === 'win32' }, async () => {
  const deep = join(home, 'x'.repeat(120))
  await mkdir(deep)
  const place = controlPlace(deep)
  assert.ok(Buffer.byteLength(place.socket) <= 103)
  assert.notEqual(place.socket, controlPlace(join(home, 'y'.repeat(120))).socket)
})

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type ControlPlace, controlPlace, endpointOf } from '../../src/daemon/control/place.ts'
import { createNode, type Node } from '../../src/index.ts'

/** Bytes on the control socket that mean one thing to the parser and another to whoever reads them next. */
const LIMITS = { skip: process.platform === 'win32', timeout: 60_000 }
let folder = ''
let node: Node
let place: ControlPlace
let auth = ''

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-control-')))
  node = await createNode({ home: join(folder, 'home'), listen: ['tcp://127.0.0.1:0'], env: { XDG_STATE_HOME: join(folder, 'state') } })
  place = controlPlace(join(folder, 'home'))
  auth = `authorization: Bearer ${(await readFile(place.token, 'utf8')).trim()}\r\n`
})
after(async () => {
  await node.close()
  await rm(folder, { recursive: true, force: true })
})

/** Everything the server says until it closes. */
async function raw(text: string): Promise<string> {
  const socket = connect(place.socket)
  socket.on('error', () => {})
  let answer = ''
  socket.on('data', (data: Buffer) => {
    answer += data.toString('latin1')
  })
  socket.write(text)
  await new Promise((resolve) => socket.once('close', resolve))
  return answer
}

function post(path: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\n${auth}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
}

const status = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0)

test('prototypes in bodies and queries, change nothing of anybody', LIMITS, async () => {
  assert.equal(status(await raw(post('/v1/why', '{"__proto__":{"allowed":true,"peer":"x"},"peer":"x"}'))), 400)
  assert.equal(status(await raw(post('/v1/why', '{"constructor":{"prototype":{"allowed":true}},"peer":"x"}'))), 400)
  assert.equal(status(await raw(`GET /v1/inbox?__proto__[limit]=5&__proto__=1&limit=3 HTTP/1.1\r\n${auth}connection: close\r\n\r\n`)), 200)
  assert.equal(({} as { allowed?: unknown }).allowed, undefined)
})

test('two readings of one request, neither of them reaches a handler', LIMITS, async () => {
  const hidden = `GET /v1/status HTTP/1.1\r\n${auth}connection: close\r\n\r\n`
  const requests = [
    `POST /v1/why HTTP/1.1\r\n${auth}content-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n${hidden}`,
    `POST /v1/why HTTP/1.1\r\n${auth}content-length: 0\r\ncontent-length: ${hidden.length}\r\nconnection: close\r\n\r\n${hidden}`,
    `POST /v1/why HTTP/1.1\r\n${auth}transfer-encoding: chunked, identity\r\nconnection: close\r\n\r\n${hidden}`,
    `POST /v1/why HTTP/1.1\n${auth}content-length: 3\r\nconnection: close\r\n\r\n{}\n${hidden}`,
    `GET /v1/status HTTP/1.1\r\nauthorization: Bearer x\r\n${auth}connection: close\r\n\r\n`,
    `GET /v1/status HTTP/1.1\r\n authorization: Bearer x\r\n${auth}connection: close\r\n\r\n`,
  ]
  for (const request of requests) {
    const answer = await raw(request)
    assert.equal(answer.includes(node.did), false, request.slice(0, 80))
    assert.ok(status(answer) >= 400)
  }
})

test('bodies that are deep, long or of another kind, are refused with one error', LIMITS, async () => {
  const bodies = [
    `{"peer":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    '["a"]',
    'null',
    '"x"',
    '{"peer":1e999}',
    '{"peer":"x","peer":{}}',
    `{"peer":"${'x'.repeat(1_000_000)}"}`,
  ]
  for (const body of bodies) {
    const answer = await raw(post('/v1/why', body))
    assert.equal(status(answer), 400, body.slice(0, 40))
    assert.ok(answer.length < 2_000)
  }
  assert.equal(status(await raw(post('/v1/why', `{"peer":"${'x'.repeat(2_000_000)}"}`))), 413)
})

test('the name of the pipe, is known only to those who can read the token', () => {
  const pipe: ControlPlace = { socket: '\\\\.\\pipe\\kith-abc', token: 'C:\\home\\control\\token' }
  const [one, two] = ['a'.repeat(64), 'b'.repeat(64)].map((token) => endpointOf(pipe, token, 'win32'))
  assert.ok(one?.startsWith(pipe.socket) && one.length > pipe.socket.length + 32)
  assert.notEqual(one, two)
  assert.equal(endpointOf({ socket: '/run/x/control.sock', token: '' }, 'a', 'linux'), '/run/x/control.sock')
})

test('the token of a node that has stopped, is gone', LIMITS, async () => {
  await node.close()
  assert.equal(existsSync(place.token), false)
})

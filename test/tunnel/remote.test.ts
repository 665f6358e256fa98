import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, beforeEach, test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { encodeAccepted, LISTEN_PROTOCOL } from '../../src/tunnel/listen-wire.ts'
import { FAR, NEAR, type Nodes, openNodes, readAll, until } from './pair.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-remote-'))
let nodes: Nodes
beforeEach(async () => {
  nodes = await openNodes()
})
afterEach(() => nodes.close())
after(() => rmSync(folder, { recursive: true, force: true }))

test('the peer listens, and its connections arrive here', async () => {
  const port = await nodes.target((socket) => socket.pipe(socket))
  const { local, target, kind } = await nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: `127.0.0.1:${port}` })
  assert.equal(kind, 'remote')
  assert.equal(target, `127.0.0.1:${port}`)
  const socket = await nodes.dial(local)
  const sent = randomBytes(1_000_000)
  socket.end(sent)
  assert.deepEqual(await readAll(socket), sent)
  const [listed] = nodes.near.list()
  assert.deepEqual([listed?.bytes_in, listed?.bytes_out, listed?.total], [sent.length, sent.length, 1])
})

test('the policy of the listening side is asked with the port it really is', async () => {
  await nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: '127.0.0.1:9' })
  const request = nodes.asked.find(({ action }) => action === 'listen')
  assert.equal(request?.peer, NEAR)
  assert.match(request?.target ?? '', /^127\.0\.0\.1:[1-9]\d*$/)
})

test('a peer that may not let this node listen, the refusal names the command', async () => {
  nodes.allowed = ({ action }) => action !== 'listen'
  await assert.rejects(
    nodes.near.remote({ peer: FAR, remote: '127.0.0.1:8080', to: '127.0.0.1:9' }),
    (error) => isKithError(error, 'FORWARD_DENIED') && error.next === `on the other machine: kith allow ${NEAR} listen 127.0.0.1:8080`,
  )
  // No rule names port 0, so the command for any port is the one for all of them.
  await assert.rejects(
    nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: '127.0.0.1:9' }),
    (error) => isKithError(error, 'FORWARD_DENIED') && error.next === `on the other machine: kith allow ${NEAR} listen 127.0.0.1:*`,
  )
  assert.deepEqual(nodes.near.list(), [])
  assert.deepEqual(nodes.far.serving(), [])
})

test('a name is no place to listen', async () => {
  await assert.rejects(nodes.near.remote({ peer: FAR, remote: 'db.internal:80', to: '127.0.0.1:9' }), (error) => isKithError(error, 'FORWARD_TARGET'))
})

test('a port that is taken there is said, and nothing listens', async () => {
  const taken = await nodes.target(() => {})
  await assert.rejects(nodes.near.remote({ peer: FAR, remote: `127.0.0.1:${taken}`, to: '127.0.0.1:9' }), (error) => isKithError(error, 'ADDRESS_IN_USE'))
})

test('a socket of the file system, on both sides, belongs to its account alone', async () => {
  const port = await nodes.target((socket) => socket.pipe(socket))
  const there = join(folder, 'there.sock')
  await nodes.near.remote({ peer: FAR, remote: `unix:${there}`, to: `127.0.0.1:${port}` })
  assert.equal(statSync(there).mode & 0o777, 0o600)
  const here = join(folder, 'here.sock')
  const { local } = await nodes.near.forward({ peer: FAR, target: `unix:${there}`, local: `unix:${here}` })
  assert.equal(local, `unix:${here}`)
  assert.equal(statSync(here).mode & 0o777, 0o600)
  const socket = await nodes.dial(local)
  socket.end('through both')
  assert.equal(String(await readAll(socket)), 'through both')
})

test('nothing listens at the destination here, the connection there is reset and the list says why', async () => {
  const { local } = await nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: '127.0.0.1:1' })
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
  assert.equal(nodes.near.list()[0]?.last_error?.code, 'FORWARD_REFUSED')
})

test('closed here, the peer listens no more', async () => {
  const { id, local } = await nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: '127.0.0.1:9' })
  await nodes.near.remove(id)
  await until(() => nodes.far.serving().length === 0)
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
})

test('permission withdrawn, the peer listens no more and the list says so', async () => {
  await nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: '127.0.0.1:9' })
  nodes.allowed = () => false
  nodes.changed()
  await until(() => nodes.near.list()[0]?.open === false)
  assert.equal(nodes.near.list()[0]?.last_error?.code, 'FORWARD_DENIED')
  assert.deepEqual(nodes.far.serving(), [])
})

test('the link was lost, the peer listens again on the same port once it is back', async () => {
  const port = await nodes.target((socket) => socket.pipe(socket))
  const { local } = await nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: `127.0.0.1:${port}` })
  await nodes.cut()
  await until(() => nodes.near.list()[0]?.open === false && nodes.far.serving().length === 0)
  await nodes.restore()
  await until(() => nodes.near.list()[0]?.open === true)
  assert.match(nodes.near.list()[0]?.local ?? '', /^127\.0\.0\.1:\d+$/)
  assert.equal(nodes.near.list()[0]?.local, local)
  const socket = await nodes.dial(local)
  socket.end('again')
  assert.equal(String(await readAll(socket)), 'again')
})

test('a peer that brings a connection nobody asked for is refused, and nothing is dialled', async () => {
  const port = await nodes.target(() => assert.fail('it was dialled'))
  await nodes.near.remote({ peer: FAR, remote: '127.0.0.1:0', to: `127.0.0.1:${port}` })
  const stream = await nodes.raw('far', LISTEN_PROTOCOL)
  const failed = new Promise<string>((resolve) => {
    stream.onError = (error) => resolve(error.code)
  })
  stream.write(encodeAccepted(new Uint8Array(16)))
  assert.equal(await failed, 'FORWARD_DENIED')
  assert.equal(nodes.near.list()[0]?.total, 0)
})

for (const [what, bytes] of [
  ['another version', Uint8Array.of(2, 0)],
  ['an unknown kind', Uint8Array.of(1, 2)],
  ['a place that is none', Buffer.concat([Uint8Array.of(1, 0), Buffer.alloc(16), Uint8Array.of(3, 47, 46, 46, 0, 80)])],
  ['a host longer than any', Buffer.concat([Uint8Array.of(1, 0), Buffer.alloc(16), Uint8Array.of(0xff, 0xff, 1)])],
] as const) {
  test(`a request to listen with ${what} is reset with WIRE_MALFORMED`, async () => {
    const stream = await nodes.raw('near', LISTEN_PROTOCOL)
    const failed = new Promise<string>((resolve) => {
      stream.onError = (error) => resolve(error.code)
    })
    stream.write(bytes)
    assert.equal(await failed, 'WIRE_MALFORMED')
  })
}

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createControlClient } from '../../src/daemon/control/client.ts'
import type { SendLine } from '../../src/daemon/control/routes/services-api.ts'
import { createNode, isKithError, type Node } from '../../src/index.ts'

const MIB = 1_048_576
let folder = ''
let near: Node
let far: Node
const servers: Server[] = []
const state = process.env.XDG_STATE_HOME

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-services-')))
  process.env.XDG_STATE_HOME = join(folder, 'state')
  const open = (name: string): Promise<Node> => createNode({ home: join(folder, name), name, listen: ['tcp://127.0.0.1:0'] })
  near = await open('near')
  far = await open('far')
  await near.join(await far.invite())
})
after(async () => {
  await near.close()
  await far.close()
  for (const server of servers) server.close()
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
  await rm(folder, { recursive: true, force: true })
})

async function serve(onSocket: (socket: Socket) => void): Promise<number> {
  const server = createServer(onSocket).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function exchange(address: string, text: string): Promise<string> {
  const socket = connect(Number(address.split(':').at(-1)), '127.0.0.1')
  socket.end(text)
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  return answer
}

async function file(name: string, bytes: number): Promise<{ path: string; sha256: string }> {
  const path = join(folder, name)
  const data = randomBytes(bytes)
  await writeFile(path, data)
  return { path, sha256: createHash('sha256').update(data).digest('hex') }
}

test('forward, refused then allowed by the printed command, carries and is listed until closed', async () => {
  const port = await serve((socket) => socket.pipe(socket))
  const target = `localhost:${port}`
  const options = { peer: 'far', target, local: '127.0.0.1:0' }
  const refused = await near.forward(options).catch((error: unknown) => error)
  assert.ok(isKithError(refused, 'FORWARD_DENIED'), String(refused))
  assert.equal(refused.next, `on the other machine: kith allow ${near.did} forward ${target}`)
  await far.policy.allow(near.did, 'forward', target)
  const forward = await near.forward(options)
  assert.equal(await exchange(forward.address, 'hello'), 'hello')
  const [listed] = near.status().tunnels
  assert.deepEqual(
    { id: listed?.id, local: listed?.local, peer: listed?.peer, target: listed?.target, total: listed?.total },
    {
      id: forward.id,
      local: forward.address,
      peer: far.did,
      target,
      total: 1,
    },
  )
  await forward.close()
  await forward.close()
  assert.deepEqual(near.status().tunnels, [])
  await assert.rejects(exchange(forward.address, 'hello'), { code: 'ECONNREFUSED' })
})

test('forward, address open to others, is refused without the flag', async () => {
  await assert.rejects(near.forward({ peer: 'far', target: 'localhost:1', local: '0.0.0.0:0' }), (error) => isKithError(error, 'BIND_REFUSED'))
  await assert.rejects(near.forward({ peer: 'nobody', target: 'localhost:1' }), (error) => isKithError(error, 'PEER_UNKNOWN'))
})

test('send, refused then allowed, arrives whole and is in the inbox when the sender is told so', async () => {
  const { path, sha256 } = await file('photo.bin', 3 * MIB + 17)
  const refused = await near.send('far', path).catch((error: unknown) => error)
  assert.ok(isKithError(refused, 'FILE_DENIED'), String(refused))
  assert.equal(refused.next, `on the other machine: kith allow ${near.did} file`)
  await far.policy.allow('near', 'file')
  const seen: number[] = []
  const sent = await near.send('far', path, { onProgress: ({ bytes }) => seen.push(bytes) })
  assert.deepEqual({ ...sent, durationMs: 0 }, { bytes: 3 * MIB + 17, resumed: 0, sha256, name: 'photo.bin', durationMs: 0, providers: 1 })
  assert.equal(seen.at(-1), 3 * MIB + 17)
  const [entry] = await far.inbox()
  assert.deepEqual({ ...entry, received_at: '' }, { name: 'photo.bin', from: near.did, bytes: 3 * MIB + 17, sha256, received_at: '', here: true })
  const stored = join(far.status().inbox, 'photo.bin')
  assert.deepEqual(await readFile(stored), await readFile(path))
  assert.equal((await stat(stored)).mode & 0o077, 0)
  assert.equal((await stat(far.status().inbox)).mode & 0o077, 0)
  await rename(stored, path)
  assert.equal((await far.inbox())[0]?.here, false)
})

test('send over the control interface, tells progress and then the receipt', async () => {
  const { path, sha256 } = await file('notes.bin', 2 * MIB)
  const client = createControlClient({ home: join(folder, 'near') })
  const lines: SendLine[] = []
  for await (const line of client.lines('POST /v1/send', { peer: 'far', path })) lines.push(line)
  const last = lines.at(-1)
  assert.ok(last?.event === 'stored')
  assert.deepEqual({ ...last, duration_ms: 0 }, { event: 'stored', bytes: 2 * MIB, sha256, duration_ms: 0, name: 'notes.bin', resumed: 0, providers: 1 })
  for (const line of lines.slice(0, -1)) assert.equal(line.event, 'progress')
  const { files, inbox } = await createControlClient({ home: join(folder, 'far') }).call('GET /v1/inbox', { limit: 1 })
  assert.equal(inbox, join(folder, 'far', 'inbox'))
  assert.deepEqual(
    files.map(({ name, from_name }) => [name, from_name]),
    [['notes.bin', 'near']],
  )
  const relative = client.lines('POST /v1/send', { peer: 'far', path: 'notes.bin' })
  await assert.rejects(relative[Symbol.asyncIterator]().next(), (error) => isKithError(error, 'USAGE'))
})

test('send over the control interface, caller goes away, ends the transfer and leaves what arrived for --resume', async () => {
  // Large enough that it cannot be over before its first progress is told.
  const { path, sha256 } = await file('large.bin', 96 * MIB)
  const client = createControlClient({ home: join(folder, 'near') })
  const leave = new AbortController()
  let begun = 0
  await assert.rejects(async () => {
    for await (const line of client.lines('POST /v1/send', { peer: 'far', path }, { signal: leave.signal })) {
      if (line.event === 'progress' && line.bytes > 0) {
        begun = line.bytes
        leave.abort(new Error('gone'))
      }
    }
  }, /gone/)
  assert.ok(begun > 0)
  const sent = await near.send('far', path, { resume: true })
  assert.ok(sent.resumed > 0 && sent.resumed < 96 * MIB, String(sent.resumed))
  assert.equal(sent.sha256, sha256)
})

test('forwards over the control interface, are made, listed with the name of the peer, and closed', async () => {
  const port = await serve((socket) => socket.end('hi'))
  await far.policy.allow('near', 'forward', `localhost:${port}`)
  const client = createControlClient({ home: join(folder, 'near') })
  const made = await client.call('POST /v1/forwards', { peer: 'far', target: `localhost:${port}`, local: '127.0.0.1:0' })
  assert.equal(made.name, 'far')
  assert.equal(await exchange(made.local, ''), 'hi')
  const { tunnels } = await client.call('GET /v1/tunnels', {})
  assert.deepEqual(
    tunnels.map(({ id }) => id),
    [made.id],
  )
  assert.deepEqual(await client.call('POST /v1/tunnels/close', { id: made.id }), { id: made.id, closed: true, saved: false })
  await assert.rejects(client.call('POST /v1/tunnels/close', { id: made.id }), (error) => isKithError(error, 'NOT_FOUND'))
})

test('close, with connections and a transfer under way, ends them and frees everything', async () => {
  const leave = async (name: string): Promise<Node> => createNode({ home: join(folder, name), name, listen: ['tcp://127.0.0.1:0'] })
  await using a = await leave('a')
  await using b = await leave('b')
  await writeFile(join(folder, 'a', 'config.toml'), '[shutdown]\ndrain = "0ms"\n')
  await createControlClient({ home: join(folder, 'a') }).call('POST /v1/config/reload', {})
  await a.join(await b.invite())
  const port = await serve((socket) => socket.on('error', () => {}).resume())
  await b.policy.allow('a', 'forward', `localhost:${port}`)
  await b.policy.allow('a', 'file')
  const { address } = await a.forward({ peer: 'b', target: `localhost:${port}`, local: '127.0.0.1:0' })
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1')
  await once(socket, 'connect')
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  const { path } = await file('unfinished.bin', 96 * MIB)
  const sending = a.send('b', path).then(
    () => undefined,
    (error: unknown) => error,
  )
  await a.close()
  await closed
  const failure = await sending
  assert.ok(isKithError(failure) && failure.retryable, String(failure))
  await assert.rejects(exchange(address, ''), { code: 'ECONNREFUSED' })
})

test('quota, reloaded, is in effect at once', async () => {
  await writeFile(join(folder, 'far', 'config.toml'), '[files]\nquota_bytes = 1000\n')
  const client = createControlClient({ home: join(folder, 'far') })
  assert.deepEqual(await client.call('POST /v1/config/reload', {}), { applied: ['files.quota_bytes'], restart: [], revoked: 0, disconnected: false })
  const { path } = await file('more.bin', 2_000)
  await assert.rejects(near.send('far', path), (error) => isKithError(error, 'FILE_QUOTA'))
})

test('inbox that cannot be used, is said, and the rest of the node works', async () => {
  const home = join(folder, 'blocked')
  await mkdir(home, { mode: 0o700 })
  await writeFile(join(home, 'inbox'), 'a file where the directory belongs')
  await using node = await createNode({ home, listen: ['tcp://127.0.0.1:0'] })
  const [trouble] = node.status().degraded
  assert.deepEqual([trouble?.service, trouble?.code], ['files', 'STORE_FAILED'])
  assert.match(trouble?.message ?? '', /blocked\/inbox \(E\w+\)/)
  await assert.rejects(node.inbox(), (error) => isKithError(error, 'STORE_FAILED'))
  await assert.rejects(node.forward({ peer: 'nobody', target: 'localhost:1' }), (error) => isKithError(error, 'PEER_UNKNOWN'))
  assert.match(await node.invite(), /^kith1/)
})

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { defineOperation } from '../../src/call/index.ts'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { createNode, isKithError, type Node } from '../../src/index.ts'

/** What the owner takes back ends, also for those who are in the middle of using it. */
const LIMITS = { timeout: 60_000 }
let folder = ''
let near: Node
let far: Node
let server: Server
const ends: Socket[] = []

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-withdrawn-')))
  const env = { XDG_STATE_HOME: join(folder, 'state') }
  near = await createNode({ home: join(folder, 'near'), listen: ['tcp://127.0.0.1:0'], env })
  far = await createNode({ home: join(folder, 'far'), listen: ['tcp://127.0.0.1:0'], env })
  await near.join(await far.invite())
  server = createServer((socket) => {
    ends.push(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(async () => {
  await near.close()
  await far.close()
  server.close()
  await rm(folder, { recursive: true, force: true })
})

test('a forward denied while connections run through it, ends those and leaves others', LIMITS, async () => {
  const { port } = server.address() as AddressInfo
  const other = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
  await once(other, 'listening')
  const kept = (other.address() as AddressInfo).port
  await far.policy.allow(near.did, 'forward', `127.0.0.1:${port}`)
  await far.policy.allow(near.did, 'forward', `127.0.0.1:${kept}`)
  const open = async (target: number): Promise<Socket> => {
    const { address } = await near.forward({ peer: far.did, target: `127.0.0.1:${target}`, local: '127.0.0.1:0' })
    const socket = connect(Number(address.split(':').at(-1)), '127.0.0.1')
    socket.on('error', () => {})
    socket.write('hello')
    await once(socket, 'data')
    return socket
  }
  const [taken, left] = [await open(port), await open(kept)]
  const ended = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()))
  const closed = [ended(taken), ended(ends[0] as Socket)]
  await far.policy.deny(near.did, 'forward', `127.0.0.1:${port}`)
  await Promise.all(closed)
  left.write('still')
  assert.equal(String((await once(left, 'data'))[0]), 'still')
  left.destroy()
  other.close()
})

test('files denied while one arrives, the rest of it is refused', LIMITS, async () => {
  await far.policy.allow(near.did, 'file')
  const path = join(folder, 'large.bin')
  await writeFile(path, randomBytes(24 * 1_048_576))
  let denied: Promise<unknown> | undefined
  const sent = near.send(far.did, path, {
    onProgress: ({ bytes }) => {
      if (bytes >= 2 * 1_048_576) denied ??= far.policy.deny(near.did, 'file')
    },
  })
  await assert.rejects(sent, (error) => isKithError(error, 'FILE_DENIED'))
  await denied
  assert.deepEqual(await far.inbox(), [])
})

test('a call denied while it runs, ends at once by every door, and what nobody denied goes on', LIMITS, async (t) => {
  let started = 0
  let ended = 0
  const endless = async function* (_input: unknown, { signal }: { signal: AbortSignal }): AsyncGenerator<number> {
    started++
    signal.addEventListener('abort', () => ended++, { once: true })
    yield 1
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  }
  const common = { kind: 'subscription', access: 'everyone', input: z.unknown(), output: z.number(), handler: endless } as const
  t.after(far.operation(defineOperation({ ...common, name: 'feed/taken' })))
  t.after(far.operation(defineOperation({ ...common, name: 'feed/left' })))
  const open = async (name: string): Promise<AsyncIterator<unknown>> => {
    const items = near.stream(`/${far.did}/${name}`, {})[Symbol.asyncIterator]()
    await items.next()
    return items
  }
  const [taken, left] = [await open('feed/taken'), await open('feed/left')]
  const refused = assert.rejects(taken.next(), (error) => isKithError(error, 'CALL_DENIED'))
  await far.policy.deny(near.did, 'call', 'feed/taken')
  await refused
  assert.deepEqual([started, ended], [2, 1])
  await left.return?.()
})

test('a class lowered while a call runs that it allowed, the call ends', LIMITS, async (t) => {
  const running = Promise.withResolvers<void>()
  const stopped = Promise.withResolvers<void>()
  t.after(
    far.operation(
      defineOperation({
        name: 'slow/wait',
        kind: 'query',
        input: z.unknown(),
        output: z.unknown(),
        handler: async (_input, { signal }) => {
          signal.addEventListener('abort', () => stopped.resolve(), { once: true })
          running.resolve()
          await stopped.promise
        },
      }),
    ),
  )
  await far.policy.allow('known', 'call', 'slow/wait')
  const refused = assert.rejects(near.call(`/${far.did}/slow/wait`, {}), (error) => isKithError(error, 'CALL_DENIED'))
  await running.promise
  await far.peers.add(near.did, { class: 'isolated' })
  await stopped.promise
  await refused
})

test('a key taken back, takes the rules with it that allowed its name something, and a later one of that name has none of them', LIMITS, async () => {
  const control = createControlClient({ home: join(folder, 'far') })
  assert.deepEqual((await control.call('POST /v1/access/key/add', { name: 'ci' })).rules, [])
  await far.policy.allow('key:ci', 'call', 'reports/read')
  await far.policy.allow('key:ci-two', 'call', 'reports/read')
  await far.policy.deny('key:ci', 'call', 'reports/delete')
  const taken = await control.call('POST /v1/access/key/revoke', { name: 'ci' })
  assert.deepEqual([taken.rules_removed, taken.rules_left], [['allow key:ci call reports/read'], []])
  assert.equal(far.policy.test('key:ci', 'call', 'reports/read').allowed, false)
  assert.equal(far.policy.test('key:ci-two', 'call', 'reports/read').allowed, true)
  assert.deepEqual((await control.call('POST /v1/access/key/add', { name: 'ci' })).rules, ['deny key:ci call reports/delete'])
})

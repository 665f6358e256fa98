import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
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

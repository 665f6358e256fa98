import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import type { MeshConfig } from '../../src/mesh/mesh-types.ts'
import { PING_PROTOCOL } from '../../src/mesh/ping.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { createWorld, type World, type WorldNode } from '../mesh/mesh-support.ts'

const TIMEOUT = { timeout: 60_000 }
const KIB = 1024
const { burst } = DEFAULT_CONSTRAINTS.isolated

/** A node that serves everyone, and a way to people whom it does not know. */
async function town(config: MeshConfig = {}): Promise<{ world: World; ann: WorldNode; stranger(name: string): Promise<WorldNode> }> {
  const world = createWorld()
  const ann = await world.node('ann', { config })
  // Takes what comes and lets nothing of it go.
  const hoard = (stream: LinkStream): void => {
    stream.onData = () => {}
  }
  ann.mesh.handleLean('test/hoard/1', hoard, { access: 'everyone' })
  const stranger = async (name: string): Promise<WorldNode> => {
    const node = await world.node(name, { listen: null })
    await world.settle(node.mesh.dial(ann.mesh.did, { url: ann.url }))
    return node
  }
  return { world, ann, stranger }
}

/** Opens a stream; what becomes of it: the code it was reset with, or `open`. */
async function opened(world: World, from: WorldNode, to: WorldNode, protocol: string, bytes?: Buffer): Promise<{ stream: LinkStream; fate(): string }> {
  const stream = await world.settle(from.mesh.openLean(to.mesh.did, protocol))
  let fate = 'open'
  stream.onData = (_data, start, end) => stream.consume(end - start)
  stream.onError = (error) => {
    fate = error.code
  }
  if (bytes !== undefined) stream.write(bytes)
  await world.run()
  return { stream, fate: () => fate }
}

async function fates(world: World, from: WorldNode, to: WorldNode, count: number, protocol = PING_PROTOCOL): Promise<string[]> {
  const out: string[] = []
  for (let index = 0; index < count; index++) {
    const { stream, fate } = await opened(world, from, to, protocol)
    out.push(fate())
    stream.reset(0)
    await world.run()
  }
  return out
}

const count = (all: readonly string[], what: string): number => all.filter((one) => one === what).length

test('a stranger that opens stream after stream, pays for each and is refused beyond its few a second', TIMEOUT, async () => {
  const { world, ann, stranger } = await town()
  const eve = await stranger('eve')
  const all = await fates(world, eve, ann, 20)
  assert.deepEqual(all, [...Array<string>(burst).fill('open'), ...Array<string>(20 - burst).fill('BUDGET_EXCEEDED')])
  await world.run(1_000)
  assert.equal(count(await fates(world, eve, ann, 20), 'open'), burst)
  await world.close()
})

test('strangers together, have the messages of the budget they share', TIMEOUT, async () => {
  const { world, ann, stranger } = await town({ isolated: { messagesPerSecond: 1, burst: burst + 2 } })
  const [eve, mallory] = [await stranger('eve'), await stranger('mallory')]
  assert.equal(count(await fates(world, eve, ann, burst), 'open'), burst)
  assert.equal(count(await fates(world, mallory, ann, burst), 'open'), 2)
  await world.close()
})

test('a peer of the address book, pays nothing for its streams', TIMEOUT, async () => {
  const { world, ann, stranger } = await town()
  const ben = await stranger('ben')
  await ann.mesh.book.add(ben.mesh.did)
  assert.equal(count(await fates(world, ben, ann, 40), 'open'), 40)
  await world.close()
})

test('streams without a header, are paid for like any others', TIMEOUT, async () => {
  const { world, ann, stranger } = await town()
  const eve = await stranger('eve')
  const known = await opened(world, eve, ann, PING_PROTOCOL)
  const codes: string[] = []
  for (let index = 0; index < burst + 3; index++) {
    const stream = await world.settle(known.stream.connection.open())
    stream.onError = (error) => codes.push(error.code)
    stream.write(Buffer.of(20))
    await world.run()
  }
  assert.deepEqual(codes, Array<string>(4).fill('BUDGET_EXCEEDED'))
  await world.close()
})

test('a stranger that leaves bytes unread, loses the stream that holds most and not the link', TIMEOUT, async () => {
  const { world, ann, stranger } = await town({ limits: { isolated: { bufferBytes: 320 * KIB } } })
  const eve = await stranger('eve')
  const small = await opened(world, eve, ann, 'test/hoard/1', Buffer.alloc(60 * KIB))
  const large = await opened(world, eve, ann, 'test/hoard/1', Buffer.alloc(200 * KIB))
  assert.deepEqual([small.fate(), large.fate()], ['open', 'open'])
  const last = await opened(world, eve, ann, 'test/hoard/1', Buffer.alloc(100 * KIB))
  assert.deepEqual([small.fate(), large.fate(), last.fate()], ['open', 'BUDGET_EXCEEDED', 'open'])
  assert.equal(ann.mesh.links().find(({ did }) => did === eve.mesh.did)?.state, 'connected')
  await world.close()
})

test('a stranger that hoards what all strangers share, loses its link to one that needs little', TIMEOUT, async () => {
  const { world, ann, stranger } = await town({ isolated: { bufferBytes: 512 * KIB } })
  const [eve, mallory, ben] = [await stranger('eve'), await stranger('mallory'), await stranger('ben')]
  for (let index = 0; index < 2; index++) await opened(world, eve, ann, 'test/hoard/1', Buffer.alloc(192 * KIB))
  await opened(world, mallory, ann, 'test/hoard/1', Buffer.alloc(100 * KIB))
  const { fate } = await opened(world, ben, ann, 'test/hoard/1', Buffer.alloc(60 * KIB))
  await world.run(2_000)
  assert.equal(fate(), 'open')
  const linked = ann.mesh.links().map(({ did }) => did)
  assert.deepEqual(
    [eve, mallory, ben].map(({ mesh }) => linked.includes(mesh.did)),
    [false, true, true],
  )
  const end = eve.events.find(({ type }) => type === 'down')
  assert.ok(end?.type === 'down' && isKithError(end.error, 'BUDGET_EXCEEDED'))
  await world.close()
})

test('bytes that are taken in the end, make room again', TIMEOUT, async () => {
  const { world, ann, stranger } = await town({ limits: { isolated: { bufferBytes: 256 * KIB } } })
  const held: { stream: LinkStream; bytes: number }[] = []
  ann.mesh.handleLean(
    'test/later/1',
    (stream) => {
      const one = { stream, bytes: 0 }
      held.push(one)
      stream.onData = (_data, start, end) => {
        one.bytes += end - start
      }
      stream.onEnd = () => stream.end()
    },
    { access: 'everyone' },
  )
  const eve = await stranger('eve')
  for (let round = 0; round < 5; round++) {
    const { stream, fate } = await opened(world, eve, ann, 'test/later/1', Buffer.alloc(200 * KIB))
    // One side has ended before the bytes are taken, which must not be forgotten either.
    stream.end()
    await world.run(1_000)
    assert.equal(fate(), 'open', `round ${round}`)
    for (const { stream: mine, bytes } of held.splice(0)) mine.consume(bytes)
  }
  await world.close()
})

test('a stranger’s link that is in use, stays when an idle one has to make room', TIMEOUT, async () => {
  const { world, ann, stranger } = await town({ isolated: { links: 2, linksPerNetwork: 2, idleMs: 10_000 } })
  const [busy, idle] = [await stranger('busy'), await stranger('idle')]
  const { stream } = await opened(world, busy, ann, PING_PROTOCOL)
  await world.run(9_000)
  stream.write(Buffer.from('still here'))
  await world.run(2_000)
  const late = await stranger('late')
  await world.run(2_000)
  const linked = ann.mesh.links().map(({ did }) => did)
  assert.deepEqual(
    [busy, idle, late].map(({ mesh }) => linked.includes(mesh.did)),
    [true, false, true],
  )
  await world.close()
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import type { Logger } from '../../src/core/observe/log.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { LINK_PROTOCOL } from '../../src/mesh/link-control.ts'
import { HEADER_DEADLINE_MS } from '../../src/mesh/router.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { acquaint, askEcho, createWorld, readAll, serveEcho, type World, type WorldNode } from './mesh-support.ts'

const TIMEOUT = { timeout: 60_000 }

/** How a stream to `to` ends when nothing is read. */
async function refusal(world: World, from: WorldNode, to: WorldNode, protocol: string): Promise<KithError> {
  const stream = await world.settle(from.mesh.open(to.mesh.did, protocol))
  stream.resume()
  const error = await world.settle(new Promise<unknown>((resolve) => stream.once('error', resolve)))
  assert.ok(isKithError(error))
  return error
}

/** A stream without any header, as a hostile peer opens it: the connection of `from` is reached through a protocol of its own. */
async function rawStream(world: World, from: WorldNode, to: WorldNode): Promise<LinkStream> {
  const known = await world.settle(from.mesh.openLean(to.mesh.did, 'test/echo/1'))
  const stream = await known.connection.open()
  known.reset(0)
  return stream
}

async function endOf(world: World, stream: LinkStream): Promise<string> {
  return await world.settle(
    new Promise<string>((resolve) => {
      stream.onData = (_data, start, end) => stream.consume(end - start)
      stream.onError = (error) => resolve(error.code)
      stream.onEnd = () => resolve('end')
    }),
  )
}

test('a protocol nobody registered, is refused with its code', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  const error = await refusal(world, ann, ben, 'test/none/1')
  assert.equal(error.code, 'PROTOCOL_UNKNOWN')
  assert.equal(error.remote, true)
  await world.close()
})

test('a protocol by default, is open to the address book only, and the printed command opens it', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  serveEcho(ben)
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben', urls: [ben.url] })
  const error = await refusal(world, ann, ben, 'test/echo/1')
  assert.equal(error.code, 'POLICY_DENIED')
  assert.equal(error.next, `kith allow ${ann.mesh.did} open test/echo/1 (on the other machine)`)
  // Neither rule nor class are told.
  assert.deepEqual(Object.keys(error.details).sort(), ['number', 'peer', 'protocol'])
  const [, verb, principal, action, target] = (error.next as string).split(' ')
  assert.equal(verb, 'allow')
  await ben.mesh.policy.allow(principal as string, action as string, target)
  assert.equal(await askEcho(world, ann, ben, 'x'), 'ben:x')
  const why = ben.mesh.why(ann.mesh.did, 'open', 'test/echo/1')
  assert.equal(why.decision, 'allowed')
  assert.equal(why.rule, `allow ${ann.mesh.did} open test/echo/1`)
  assert.equal(why.next, `kith deny ${ann.mesh.did} open test/echo/1`)
  await ben.mesh.policy.deny(ann.mesh.did, 'open', 'test/echo/1')
  assert.equal((await refusal(world, ann, ben, 'test/echo/1')).code, 'POLICY_DENIED')
  await world.close()
})

test('a protocol with another access, follows it', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  for (const access of ['everyone', 'policy', 'handler'] as const) serveProtocol(ben, access)
  await ann.mesh.book.add(ben.mesh.did, { urls: [ben.url] })
  assert.equal(await askEcho(world, ann, ben, 'x', 'test/everyone/1'), 'x')
  assert.equal(await askEcho(world, ann, ben, 'x', 'test/handler/1'), 'x')
  assert.equal((await refusal(world, ann, ben, 'test/policy/1')).code, 'POLICY_DENIED')
  await ben.mesh.policy.allow('isolated', 'open', 'test/*')
  assert.equal(await askEcho(world, ann, ben, 'x', 'test/policy/1'), 'x')
  await ben.mesh.policy.deny(ann.mesh.did, 'open', 'test/everyone/1')
  assert.equal((await refusal(world, ann, ben, 'test/everyone/1')).code, 'POLICY_DENIED')
  await world.close()
})

function serveProtocol(node: WorldNode, access: 'everyone' | 'policy' | 'handler'): void {
  node.mesh.handle(
    `test/${access}/1`,
    async (stream) => {
      stream.end(await readAll(stream))
    },
    { access },
  )
}

test('a peer that may not link or ping, is refused by policy', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await ben.mesh.policy.deny(ann.mesh.did, 'ping')
  await world.settle(ann.mesh.dial(ben.mesh.did, { url: ben.url }))
  await assert.rejects(world.settle(ann.mesh.ping(ben.mesh.did)), (error) => isKithError(error, 'POLICY_DENIED'))
  await ben.mesh.policy.deny(ann.mesh.did, 'link')
  await assert.rejects(world.settle(ann.mesh.dial(ben.mesh.did, { url: ben.url })), (error) => isKithError(error, 'POLICY_DENIED') && error.remote)
  await world.close()
})

test('a handler that throws or rejects, resets its own stream only and is logged', TIMEOUT, async () => {
  const world = createWorld()
  const logged: unknown[] = []
  const logger: Logger = { ...silentLogger, error: (event, fields) => logged.push([event, fields?.protocol]) }
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { logger })]
  await acquaint(ann, ben)
  serveEcho(ben)
  ben.mesh.handle('test/throws/1', () => {
    throw new Error('defect')
  })
  ben.mesh.handle('test/rejects/1', async (stream) => {
    await readAll(stream)
    throw new Error('later')
  })
  ben.mesh.handleLean('test/lean/1', () => {
    throw new Error('lean')
  })
  for (const protocol of ['test/throws/1', 'test/lean/1']) assert.equal((await refusal(world, ann, ben, protocol)).code, 'INTERNAL')
  const late = await world.settle(ann.mesh.open('ben', 'test/rejects/1'))
  late.end()
  late.resume()
  assert.ok(isKithError(await world.settle(new Promise<unknown>((resolve) => late.once('error', resolve))), 'INTERNAL'))
  assert.deepEqual(logged, [
    ['protocol handler failed', 'test/throws/1'],
    ['protocol handler failed', 'test/lean/1'],
    ['protocol handler failed', 'test/rejects/1'],
  ])
  assert.equal(await askEcho(world, ann, ben, 'x'), 'ben:x')
  await world.close()
})

test('a listener of events that throws, is logged and the others are told', TIMEOUT, async () => {
  const world = createWorld()
  const logged: string[] = []
  const ann = await world.node('ann', { logger: { ...silentLogger, error: (event) => logged.push(event) } })
  const ben = await world.node('ben')
  ann.mesh.onEvent(() => {
    throw new Error('listener')
  })
  const seen: string[] = []
  ann.mesh.onEvent(({ type }) => seen.push(type))
  await world.settle(ann.mesh.dial(ben.mesh.did, { url: ben.url }))
  assert.deepEqual(seen, ['up'])
  assert.deepEqual(logged, ['event listener failed'])
  await world.close()
})

test('a header of wrong length, a late one and one that never comes, are reset with their codes', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  serveEcho(ben)
  for (const bytes of [Buffer.of(0), Buffer.of(65), Buffer.of(0x80, 1)]) {
    const stream = await rawStream(world, ann, ben)
    stream.write(bytes)
    assert.equal(await endOf(world, stream), 'WIRE_MALFORMED')
  }
  const early = await rawStream(world, ann, ben)
  early.write(Buffer.from('\u000btest'))
  early.end()
  assert.equal(await endOf(world, early), 'WIRE_MALFORMED')
  const silent = await rawStream(world, ann, ben)
  silent.write(Buffer.from('\u000btest'))
  await world.run(2 * HEADER_DEADLINE_MS + 1)
  assert.equal(await endOf(world, silent), 'TIMEOUT')
  const second = await rawStream(world, ann, ben)
  second.write(Buffer.from(`\u000a${LINK_PROTOCOL}`))
  assert.equal(await endOf(world, second), 'MUX_PROTOCOL')
  assert.equal(await askEcho(world, ann, ben, 'still there'), 'ben:still there')
  await world.close()
})

test('a header cut into any pieces, is read and what follows it reaches the handler', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  serveEcho(ben)
  const whole = Buffer.concat([Buffer.of(11), Buffer.from('test/echo/1'), Buffer.from('payload')])
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: whole.length - 1 }), { maxLength: 4 }), async (cuts) => {
      const stream = await rawStream(world, ann, ben)
      const edges = [0, ...[...new Set(cuts)].sort((a, b) => a - b), whole.length]
      for (let i = 1; i < edges.length; i++) {
        stream.write(whole, edges[i - 1], edges[i])
        await world.run()
      }
      stream.end()
      assert.equal(await world.settle(readAll(stream.toDuplex())), 'ben:payload')
    }),
    { numRuns: 30 },
  )
  await world.close()
})

test('more streams than the class of a peer allows, are refused as retryable', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { config: { limits: { known: { streams: 5 } } } })]
  await acquaint(ann, ben)
  ben.mesh.handle('test/hold/1', (stream) => void stream.resume())
  const streams = await world.settle(Promise.all(Array.from({ length: 10 }, () => ann.mesh.openLean('ben', 'test/hold/1'))))
  const ends = await Promise.race([Promise.all(streams.slice(8).map((stream) => endOf(world, stream)))])
  assert.deepEqual(ends, ['BUDGET_EXCEEDED', 'BUDGET_EXCEEDED'])
  await world.close()
})

test('100 streams at once from either side, all run beside the control stream', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, bob] = [await world.node('ann'), await world.node('bob')]
  await acquaint(ann, bob)
  serveEcho(ann)
  serveEcho(bob)
  for (const [from, to] of [
    [ann, bob],
    [bob, ann],
  ] as const) {
    const streams = await world.settle(Promise.all(Array.from({ length: 100 }, () => from.mesh.open(to.mesh.did, 'test/echo/1'))))
    for (const stream of streams) stream.end('all')
    const answers = await world.settle(Promise.all(streams.map(readAll)))
    assert.deepEqual([...new Set(answers)], [`${to.name}:all`])
  }
  await world.close()
})

test('protocol names and double registration, are checked as the caller’s mistake', TIMEOUT, async () => {
  const world = createWorld()
  const ann = await world.node('ann')
  const stop = ann.mesh.handle('test/a/1', () => undefined)
  assert.throws(() => ann.mesh.handle('test/a/1', () => undefined), TypeError)
  assert.throws(() => ann.mesh.handle('', () => undefined), TypeError)
  assert.throws(() => ann.mesh.handle('with space', () => undefined), TypeError)
  assert.throws(() => ann.mesh.handle('x'.repeat(65), () => undefined), TypeError)
  assert.throws(() => ann.mesh.handle('icn/ping/1', () => undefined), TypeError)
  stop()
  ann.mesh.handle('test/a/1', () => undefined)
  await world.close()
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { encodeControl } from '../../src/mesh/link-control.ts'
import { testIdentity } from './fixtures.ts'
import { acquaint, askEcho, createWorld, readAll, serveEcho, type WorldNode } from './mesh-support.ts'

/** Everything here runs in virtual time; this only ends a test that hangs. */
const TIMEOUT = { timeout: 60_000 }

function connections(node: WorldNode): number {
  return node.mesh.network().stats.connections
}

test('two nodes that dial each other 1,000 times at once, keep one connection and lose no accepted stream', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  // In the book, but without addresses: every dial of this test is its own.
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben' })
  await ben.mesh.book.add(ann.mesh.did, { name: 'ann' })
  serveEcho(ann)
  serveEcho(ben)
  let answered = 0
  let refused = 0
  const dial = async (from: WorldNode, to: WorldNode): Promise<void> => {
    try {
      await from.mesh.dial(to.mesh.did, { url: to.url })
    } catch (error) {
      assert.ok(isKithError(error) && (error.code === 'DUPLICATE' || error.code === 'PEER_UNREACHABLE'), String(error))
      refused++
    }
  }
  const talk = async (from: WorldNode, to: WorldNode, text: string): Promise<void> => {
    const stream = await from.mesh.open(to.mesh.did, 'test/echo/1')
    stream.write(text.slice(0, 1))
    // The rest follows after the connection that carries it may have been passed over.
    await new Promise<void>((resolve) => {
      world.clock.after(50, resolve)
    })
    stream.end(text.slice(1))
    assert.equal(await readAll(stream), `${to.name}:${text}`)
    answered++
  }
  await world.settle(Promise.all([dial(ann, ben), dial(ben, ann)]))
  for (let round = 1; round < 1_000; round++) {
    const work = Promise.all([dial(ann, ben), dial(ben, ann), talk(ann, ben, `a${round}`), talk(ben, ann, `b${round}`)])
    await world.settle(work)
    await world.run(100)
  }
  await world.until(() => connections(ann) === 1 && connections(ben) === 1)
  assert.equal(answered, 1_998)
  assert.ok(refused < 1_000, `${refused} dials were refused`)
  assert.equal(ann.events.filter(({ type }) => type === 'up').length, 1)
  assert.equal(ann.events.filter(({ type }) => type === 'down').length, 0)
  assert.equal(ann.events.filter(({ type }) => type === 'warning').length, 0)
  await world.close()
})

test('two machines of one identity, both stay linked to a third', TIMEOUT, async () => {
  const world = createWorld()
  const identity = testIdentity('ben')
  const ann = await world.node('ann')
  const [desk, lap] = [await world.node('desk', { identity }), await world.node('lap', { identity })]
  assert.equal(desk.mesh.did, lap.mesh.did)
  await desk.mesh.book.add(ann.mesh.did, { urls: [ann.url] })
  await lap.mesh.book.add(ann.mesh.did, { urls: [ann.url] })
  await ann.mesh.book.add(desk.mesh.did, { name: 'ben' })
  await world.until(() => ann.mesh.links().length === 2)
  await world.run(300_000)
  assert.deepEqual(
    ann.mesh.links().map(({ state, name }) => [state, name]),
    [
      ['connected', 'ben'],
      ['connected', 'ben'],
    ],
  )
  assert.equal(ann.events.filter(({ type }) => type === 'down').length, 0)
  assert.equal(connections(ann), 2)
  await world.close()
})

test('a peer that starts again, replaces what is left of its earlier run at once', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { listen: null })]
  serveEcho(ann)
  ben.mesh.handle('test/silent/1', () => undefined, { access: 'everyone' })
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben' })
  await world.settle(ben.mesh.dial(ann.mesh.did, { url: ann.url }))
  await world.until(() => connections(ann) === 1)
  const stream = await world.settle(ann.mesh.open('ben', 'test/silent/1'))
  const lost = new Promise<unknown>((resolve) => stream.once('error', resolve))
  stream.resume()
  world.network.cut('ann', 'ben')
  const again = await world.node('ben-again', { identity: ben.identity, device: ben.device, store: ben.store, listen: null })
  await world.settle(again.mesh.dial(ann.mesh.did, { url: ann.url }))
  await world.run(1_500)
  assert.ok(isKithError(await lost, 'LINK_LOST'))
  assert.equal(connections(ann), 1)
  assert.equal(await askEcho(world, again, ann, 'x'), 'ann:x')
  world.network.mend('ann', 'ben')
  await world.close()
})

test('a device key in two running nodes, is refused and reported as cloned', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { listen: null })]
  await ann.mesh.book.add(ben.mesh.did)
  // A copy of the machine, its count of starts included.
  const copy = await world.node('ben-copy', { identity: ben.identity, device: ben.device, listen: null })
  await world.settle(ben.mesh.dial(ann.mesh.did, { url: ann.url }))
  await assert.rejects(world.settle(copy.mesh.dial(ann.mesh.did, { url: ann.url })), (error) => isKithError(error, 'DEVICE_CLONED'))
  await world.until(() => ann.events.some((event) => event.type === 'warning' && event.error.code === 'DEVICE_CLONED'))
  assert.equal(connections(ann), 1)
  assert.deepEqual(await world.settle(ben.mesh.ping(ann.mesh.did)).then((times) => times.length), 1)
  await world.close()
})

for (const [dialer, listener] of [
  ['ann', 'ben'],
  ['ben', 'ann'],
] as const) {
  test(`a dead connection when ${dialer} finds another way, is passed over within two seconds and closed within twenty`, TIMEOUT, async () => {
    const world = createWorld()
    const [from, to] = [await world.node(dialer), await world.node(listener)]
    await to.mesh.listen(`memory://${listener}-other`)
    serveEcho(to)
    serveEcho(from)
    await from.mesh.book.add(to.mesh.did, { name: listener })
    await to.mesh.book.add(from.mesh.did, { name: dialer })
    await world.settle(from.mesh.dial(listener, { url: to.url }))
    await world.run(10)
    world.network.cut(dialer, listener)
    const before = world.clock.monotonic()
    await world.settle(from.mesh.dial(listener, { url: `memory://${listener}-other` }))
    await world.run(1_200)
    assert.equal(await askEcho(world, from, to, 'there'), `${listener}:there`)
    assert.equal(await askEcho(world, to, from, 'back'), `${dialer}:back`)
    assert.ok(world.clock.monotonic() - before < 2_000)
    await world.run(20_000)
    assert.equal(connections(from), 1)
    assert.equal(connections(to), 1)
    assert.deepEqual(
      from.events.filter(({ type }) => type === 'down'),
      [],
    )
    world.network.mend(dialer, listener)
    await world.close()
  })
}

for (const [dialer, listener] of [
  ['ann', 'ben'],
  ['ben', 'ann'],
] as const) {
  test(
    `a link of ${dialer} over the less liked path, moves to the better one without cutting its streams, which end in LINK_MOVED after a minute`,
    TIMEOUT,
    async () => {
      const world = createWorld()
      const schemes = ['tcp', 'quic']
      const [from, to] = [await world.node(dialer, { schemes, listen: null }), await world.node(listener, { schemes, listen: null })]
      await to.mesh.listen('quic://there')
      serveEcho(to)
      const received: string[] = []
      const errors: unknown[] = []
      to.mesh.handle('test/long/1', (stream) => {
        stream.on('data', (chunk: Buffer) => received.push(chunk.toString()))
        stream.on('error', (error) => errors.push(error))
      })
      await to.mesh.book.add(from.mesh.did, { name: dialer })
      await from.mesh.book.add(to.mesh.did, { name: listener, urls: ['tcp://there', 'quic://there'] })
      await world.until(() => from.mesh.links()[0]?.state === 'connected')
      assert.equal(from.mesh.links()[0]?.path?.scheme, 'quic')
      assert.deepEqual(
        from.mesh.why(listener).candidates.map(({ url, result }) => [url, result]),
        [
          ['quic://there', 'active'],
          ['tcp://there', 'ADDRESS_UNREACHABLE'],
        ],
      )
      const stream = await world.settle(from.mesh.open(listener, 'test/long/1'))
      stream.write('1')
      stream.on('error', (error) => errors.push(error))
      stream.resume()
      await world.run(10)
      await to.mesh.listen('tcp://there')
      await world.until(() => from.mesh.links()[0]?.path?.scheme === 'tcp' && to.mesh.links()[0]?.path?.scheme === 'tcp', 400_000)
      stream.write('2')
      await world.run(30_000)
      assert.deepEqual(received, ['1', '2'])
      assert.equal(connections(from), 2)
      assert.equal(await askEcho(world, from, to, 'x'), `${listener}:x`)
      await world.run(31_000)
      assert.equal(errors.length, 2)
      for (const error of errors) assert.ok(isKithError(error, 'LINK_MOVED'), String(error))
      assert.equal(connections(from), 1)
      assert.equal(connections(to), 1)
      assert.deepEqual(
        from.events.map(({ type }) => type),
        ['up', 'moved'],
      )
      await world.close()
    },
  )
}

test('a peer whose connections are severed, is linked again and reported down and up', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  await world.until(() => connections(ann) >= 1 && connections(ben) >= 1)
  await world.run(61_000)
  world.network.sever('ann', 'ben')
  await world.run(1)
  assert.equal(connections(ann), 0)
  const [waiting] = ann.mesh.links()
  assert.ok(waiting?.state === 'waiting' && (waiting.retryInMs as number) <= 1_000)
  await world.run(3_000)
  await world.until(() => connections(ann) === 1 && connections(ben) === 1)
  assert.deepEqual(
    ann.events.map(({ type }) => type).filter((type) => type !== 'moved'),
    ['up', 'down', 'up'],
  )
  await world.close()
})

test('a node that closes, lets streams end and tells its peers', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  serveEcho(ben)
  const stream = await world.settle(ann.mesh.open('ben', 'test/echo/1'))
  stream.write('he')
  await world.run(10)
  const closing = ben.mesh.close()
  await world.run(100)
  stream.end('llo')
  assert.equal(await world.settle(readAll(stream)), 'ben:hello')
  await world.settle(closing)
  await world.until(() => connections(ann) === 0)
  const down = ann.events.find(({ type }) => type === 'down')
  assert.ok(down?.type === 'down' && down.error?.code === 'GOING_AWAY')
  await assert.rejects(ben.mesh.listen('memory://x'), (error) => isKithError(error, 'CLOSED'))
  await world.close()
})

test('a link older than a day, is replaced by a fresh one without being down', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  serveEcho(ben)
  await world.until(() => connections(ann) === 1 && connections(ben) === 1)
  const before = Date.parse(ann.mesh.links()[0]?.since as string)
  await world.run(24.2 * 3_600_000)
  await world.until(() => connections(ann) === 1 && connections(ben) === 1)
  assert.ok(Date.parse(ann.mesh.links()[0]?.since as string) > before + 23 * 3_600_000)
  assert.equal(await askEcho(world, ann, ben, 'x'), 'ben:x')
  assert.deepEqual(
    ann.events.map(({ type }) => type),
    ['up'],
  )
  await world.close()
})

test('a second control stream, is refused whatever it says', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  serveEcho(ann)
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben' })
  await world.settle(ann.mesh.dial(ben.mesh.did, { url: ben.url }))
  const known = await world.settle(ben.mesh.openLean(ann.mesh.did, 'test/echo/1'))
  const second = await known.connection.open()
  known.reset(0)
  second.write(Buffer.concat([Buffer.of(10), Buffer.from('icn/link/1'), encodeControl({ type: 'select', id: new Uint8Array(8) })]))
  second.onData = () => undefined
  const refused = await world.settle(
    new Promise<string>((resolve) => {
      second.onError = (error) => resolve(error.code)
    }),
  )
  assert.equal(refused, 'MUX_PROTOCOL')
  assert.equal(await askEcho(world, ben, ann, 'x'), 'ann:x')
  assert.equal(connections(ann), 1)
  await world.close()
})

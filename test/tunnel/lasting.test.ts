import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { manualClock } from '../../src/core/manual-clock.ts'
import { Connections } from '../../src/tunnel/connections.ts'
import { FAR, openNodes, readAll, until } from './pair.ts'

test('the link is away, a connection waits for it and is carried when it is back', async (t) => {
  const nodes = await openNodes()
  t.after(() => nodes.close())
  const port = await nodes.target((socket) => socket.pipe(socket))
  const { local } = await nodes.near.forward({ peer: FAR, target: `127.0.0.1:${port}`, local: '127.0.0.1:0' })
  await nodes.cut()
  const socket = await nodes.dial(local)
  socket.end('patient')
  await until(() => nodes.near.list()[0]?.connections === 1)
  await nodes.restore()
  assert.equal(String(await readAll(socket)), 'patient')
  assert.equal(nodes.near.list()[0]?.last_error, null)
})

test('a forward that is to wait for its peer, opens while the link is away', async (t) => {
  const nodes = await openNodes()
  t.after(() => nodes.close())
  const port = await nodes.target((socket) => socket.end('here'))
  await nodes.cut()
  const { local, id } = await nodes.near.forward({ peer: FAR, target: `127.0.0.1:${port}`, local: '127.0.0.1:0', check: false, id: 'db' })
  assert.equal(id, 'db')
  await assert.rejects(nodes.near.forward({ peer: FAR, target: 'localhost:1', local: '127.0.0.1:0', check: false, id: 'db' }), { code: 'FORWARD_EXISTS' })
  await nodes.restore()
  assert.equal(String(await readAll(await nodes.dial(local))), 'here')
})

test('a connection that carries nothing for longer than allowed is reset on both sides, one that carries something is not', async (t) => {
  const nodes = await openNodes(() => 1_000)
  t.after(() => nodes.close())
  const port = await nodes.target((socket) => socket.pipe(socket))
  const { local } = await nodes.near.forward({ peer: FAR, target: `127.0.0.1:${port}`, local: '127.0.0.1:0' })
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
  await until(() => nodes.far.serving().length === 0 && nodes.near.list()[0]?.connections === 0)
})

test('idle connections, counted by a clock, end at their time and not before', () => {
  const clock = manualClock()
  const connections = new Connections({ clock, idleMs: () => 60_000 })
  const ended: string[] = []
  const busy = connections.enter((idle) => ended.push(`busy ${idle}`))
  const quiet = connections.enter((idle) => ended.push(`quiet ${idle}`))
  connections.enter((idle) => ended.push(`door ${idle}`), null)
  for (let round = 0; round < 5; round++) {
    busy.meter.bytesIn += 10
    clock.advance(15_000)
  }
  assert.deepEqual(ended, ['quiet true'])
  quiet.leave()
  assert.equal(connections.bytesIn, 50)
  assert.equal(connections.size, 2)
  connections.endAll()
  assert.deepEqual(ended, ['quiet true', 'busy false', 'door false'])
})

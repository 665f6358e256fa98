import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Runtime } from '../../src/daemon/runtime.ts'
import { quicAvailability } from '../../src/transport/quic/index.ts'
import { meetAtOnce } from './meeting.ts'
import { createNodes, pair, until } from './node.ts'
import { serveEcho, startTraffic } from './traffic.ts'

const skip = !quicAvailability().ok && 'no QUIC here'
const BOTH = ['tcp://127.0.0.1:0', 'quic://127.0.0.1:0']

test('two nodes dialling each other at once, over tcp and quic, keep one connection and lose no stream', { skip, timeout: 60_000 }, async (t) => {
  await meetAtOnce(t, 32)
})

const url = (node: Runtime, scheme: string): string => node.mesh.addresses.find((each) => each.startsWith(`${scheme}:`)) as string
const scheme = (node: Runtime): string | undefined => node.status().peers.find(({ state }) => state === 'connected')?.path?.scheme

test('link over quic, a tcp path comes, moves there without losing a stream, and status and why tell', { skip, timeout: 60_000 }, async (t) => {
  const nodes = await createNodes(t)
  const [near, far] = await Promise.all([nodes.open('near', { listen: ['quic://127.0.0.1:0'] }), nodes.open('far', { listen: ['quic://127.0.0.1:0'] })])
  for (const node of [near, far]) serveEcho(node)
  await pair(far, near)
  assert.equal(scheme(near), 'quic')
  const why = near.mesh.why('far')
  assert.equal(why.path?.scheme, 'quic')
  assert.deepEqual(
    why.candidates.find((each) => each.url === 'tcp:'),
    { url: 'tcp:', result: 'untried', reason: 'no tcp address of this peer is known' },
  )
  const traffic = startTraffic(near, 'far')
  await traffic.more(5)
  await far.mesh.listen('tcp://127.0.0.1:0')
  await near.mesh.dial('far', { url: url(far, 'tcp') })
  await until([near, far], () => [near, far].every((node) => scheme(node) === 'tcp' && node.mesh.network().stats.connections === 1))
  await traffic.more(5)
  await traffic.stop()
  const moved = near.mesh.why('far')
  assert.equal(moved.path?.address, url(far, 'tcp'))
  assert.match(moved.candidates.find(({ result }) => result === 'active')?.reason ?? '', /in use; we connected to the peer/)
  assert.match(moved.candidates.find((each) => each.url === url(far, 'quic'))?.reason ?? '', /tcp is preferred and works|worked before/)
})

test('link over tcp, the peer comes back without that path, goes on over quic, and status and why tell', { skip, timeout: 60_000 }, async (t) => {
  const nodes = await createNodes(t)
  const near = await nodes.open('near', { listen: BOTH })
  let far = await nodes.open('far', { listen: BOTH })
  await pair(far, near)
  await until([near, far], () => scheme(near) === 'tcp')
  const tcp = url(far, 'tcp')
  const quic = url(far, 'quic')
  await far.close()
  far = await nodes.open('far', { listen: [quic] })
  serveEcho(far)
  const traffic = startTraffic(near, 'far')
  await traffic.more(3)
  assert.equal(scheme(near), 'quic')
  await traffic.stop()
  const why = near.mesh.why('far')
  assert.equal(why.path?.scheme, 'quic')
  assert.equal(why.candidates.find((each) => each.url === tcp)?.result, 'ADDRESS_UNREACHABLE')
})

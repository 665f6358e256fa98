/** What hostile peers do to a real node on TCP: each case ends with its code, and a good peer's pings go on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { formatDid } from '../../src/identity/did.ts'
import { greet } from '../../src/mesh/hello.ts'
import { encodeControl } from '../../src/mesh/link-control.ts'
import { dial } from '../../src/stream/dial.ts'
import { frame } from '../../src/stream/frame.ts'
import { dialStart } from '../../src/stream/handshake.ts'
import { LINK_NAMESPACE } from '../../src/stream/postquantum.ts'
import { FLAG_RST, FLAG_SYN, TYPE_DATA, TYPE_PING, TYPE_WINDOW_UPDATE } from '../../src/transport/mux/frames.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { certify, NOW, skewed, testIdentity } from '../mesh/fixtures.ts'
import { within } from '../transport/support.ts'
import { assertServes, attacker, channelTo, endedWith, fixtureClock, frameOf, linkTo, socketTo, startGood, startNode, tap } from './support.ts'

// ---- before the handshake has ended

test('a silent connection, HANDSHAKE_TIMEOUT at the deadline', async (t) => {
  const clock = manualClock(NOW)
  const node = await startNode(t, 'node', { clock })
  const good = await startGood(t, node, { clock })
  const { closed } = await socketTo(t, node)
  await untilPending(node, 1)
  clock.advance(9_999)
  await assertServes(node, good)
  assert.deepEqual(node.codes, [])
  clock.advance(1)
  assert.equal(await node.code(), 'HANDSHAKE_TIMEOUT')
  await within('the close', closed)
  await assertServes(node, good)
})

test('a byte a second, HANDSHAKE_TIMEOUT at the same deadline', async (t) => {
  const clock = manualClock(NOW)
  const node = await startNode(t, 'node', { clock })
  const good = await startGood(t, node, { clock })
  const { socket, closed } = await socketTo(t, node)
  await untilPending(node, 1)
  for (let second = 0; second < 10; second++) {
    assert.deepEqual(node.codes, [])
    socket.write(Uint8Array.of(32))
    await assertServes(node, good)
    clock.advance(1_000)
  }
  assert.equal(await node.code(), 'HANDSHAKE_TIMEOUT')
  await within('the close', closed)
})

for (const [what, bytes, code] of [
  ['a first frame of 4 GiB', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f), 'FRAME_TOO_LARGE'],
  ['a first frame one byte too long', Buffer.concat([Uint8Array.of(56), new Uint8Array(56)]), 'FRAME_TOO_LARGE'],
  ['a length without end', new Uint8Array(8).fill(0xff), 'STREAM_CORRUPT'],
  ['a first frame too short for a key', frame(new Uint8Array(31)), 'HANDSHAKE_FAILED'],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'), 'FRAME_TOO_LARGE'],
  ['a Syn of random bytes', Buffer.concat([frame(systemRandom.bytes(32)), frame(systemRandom.bytes(104))]), 'HANDSHAKE_TIMESTAMP'],
] as const) {
  test(`${what}, ${code}`, async (t) => {
    const node = await startNode(t, 'node')
    const good = await startGood(t, node)
    const { socket, closed } = await socketTo(t, node)
    socket.write(bytes)
    assert.equal(await node.code(), code)
    await within('the close', closed)
    await assertServes(node, good)
  })
}

test('keys that are only claimed, HANDSHAKE_FAILED, and nothing is charged to who really holds them', async (t) => {
  const clock = manualClock(NOW)
  const node = await startNode(t, 'node', { clock })
  const good = await startGood(t, node, { clock })
  const before = node.mesh.network().stats
  const liar = await attacker('liar', clock)
  for (let round = 0; round < 60; round++) {
    const { socket, closed } = await socketTo(t, node)
    // A good Syn, by another key than the one in front of it.
    const window = { earliest: 0, latest: Number.MAX_SAFE_INTEGER }
    const { syn } = dialStart({
      signer: liar.device.linkSigner,
      peer: node.device.linkSigner.publicKey,
      namespace: Buffer.from(LINK_NAMESPACE),
      random: systemRandom,
      now: NOW,
      ...window,
    })
    socket.write(Buffer.concat([frame(good.device.linkSigner.publicKey), frame(syn)]))
    assert.equal(await node.code(), 'HANDSHAKE_FAILED')
    await within('the close', closed)
  }
  const { isolatedLinks, links, connections } = node.mesh.network().stats
  assert.deepEqual({ isolatedLinks, links, connections }, { isolatedLinks: 0, links: before.links, connections: before.connections })
  await assertServes(node, good)
})

test('a clock an hour off, HANDSHAKE_TIMESTAMP on both sides, and why names the difference', async (t) => {
  const node = await startNode(t, 'node')
  for (const [hours, words] of [
    [1, /its clock is 36\d\d s behind ours/],
    [-1, /its clock is 3(599|6\d\d) s ahead of ours/],
  ] as const) {
    const late = await startNode(t, `late${hours}`, { clock: skewed(fixtureClock(), hours * 3_600_000) })
    await late.mesh.book.add(node.mesh.did, { name: 'node', urls: [node.url] })
    const failed = await within(
      'the refusal',
      late.mesh.dial(node.mesh.did).then(
        () => assert.fail('a link came about'),
        (error: unknown) => error as KithError,
      ),
    )
    assert.equal(await node.code(), 'HANDSHAKE_TIMESTAMP')
    const [candidate] = late.mesh.why(node.mesh.did).candidates
    assert.match(candidate?.reason ?? '', words)
    assert.equal(candidate?.result, 'HANDSHAKE_TIMESTAMP', failed.message)
  }
})

test('the recorded bytes of another’s handshake, HANDSHAKE_FAILED', async (t) => {
  const node = await startNode(t, 'node')
  const wire = await tap(t, node.port)
  const good = await startGood(t, { ...node, url: wire.url })
  // Key frame, Syn and Ack: 33 + 105 + 33 bytes.
  const recorded = wire
    .toNode()
    .map((bytes) => bytes.subarray(0, 171))
    .find((bytes) => bytes.length === 171)
  assert.ok(recorded !== undefined)
  const { socket, closed } = await socketTo(t, node)
  socket.write(recorded)
  assert.equal(await node.code(), 'HANDSHAKE_FAILED')
  await within('the close', closed)
  await assertServes(node, good)
})

test('a byte changed on the way, STREAM_CORRUPT, and the link comes back', async (t) => {
  const node = await startNode(t, 'node')
  const wire = await tap(t, node.port)
  const good = await startGood(t, { ...node, url: wire.url })
  await assertServes(node, good)
  const down = within(
    'the end of the link',
    new Promise<string | undefined>((resolve) => {
      node.mesh.onEvent((event) => event.type === 'down' && resolve(event.error?.code))
    }),
  )
  wire.damage = true
  const asked = good.mesh.ping(node.mesh.did).catch(() => undefined)
  assert.equal(await down, 'STREAM_CORRUPT')
  await within('the ping', asked)
  await within(
    'the link again',
    (async () => {
      while (good.mesh.links()[0]?.state !== 'connected') await new Promise((resolve) => setTimeout(resolve, 5))
    })(),
    30_000,
  )
  await assertServes(node, good)
})

// ---- between handshake and verdict

test('anything but an offer behind the handshake, LINK_PQ_FAILED', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { device, context } = await attacker('plain')
  for (const message of [new Uint8Array(1_187), Buffer.concat([Uint8Array.of(0x4b, 0x01, 0x01), new Uint8Array(1_184).fill(0xff)]), new Uint8Array(0)]) {
    const { socket } = await socketTo(t, node)
    const stream = await dial(socket, {
      key: device.linkSigner,
      peer: node.device.linkSigner.publicKey,
      namespace: LINK_NAMESPACE,
      maxMessageBytes: 65_536,
      clock: context.clock,
    })
    await stream.send(message)
    assert.equal(await node.code(), 'LINK_PQ_FAILED')
    await stream.close()
  }
  await assertServes(node, good)
})

test('a greeting longer than any, HELLO_INVALID', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const channel = await channelTo(t, node, await attacker('long'))
  channel.send(Buffer.concat([Uint8Array.of(0x4b, 0x04, 0x01), new Uint8Array(30_000)]))
  assert.equal(await node.code(), 'HELLO_INVALID')
  await assertServes(node, good)
})

test('a handshake and then silence, HANDSHAKE_TIMEOUT', async (t) => {
  const clock = manualClock(NOW)
  const node = await startNode(t, 'node', { clock })
  const good = await startGood(t, node, { clock })
  const channel = await channelTo(t, node, await attacker('silent', clock))
  channel.send(Uint8Array.of(0x4b))
  await untilPending(node, 1)
  clock.advance(10_000)
  const code = await node.code()
  assert.ok(code === 'HANDSHAKE_TIMEOUT' || code === 'HELLO_INVALID', code)
  await assertServes(node, good)
})

test('another identity’s name under one’s own device, BINDING_INVALID, and its owner is not touched', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const liar = await attacker('liar')
  liar.device.did = good.device.did
  liar.device.didKey = good.device.didKey
  liar.device.chain = good.device.chain
  await assert.rejects(greet(await channelTo(t, node, liar), liar.context, { expect: node.device.did }), (error) => isKithError(error, 'BINDING_INVALID'))
  assert.equal(await node.code(), 'BINDING_INVALID')
  await assertServes(node, good)
})

test('the binding of somebody else, BINDING_INVALID', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const liar = await attacker('liar')
  liar.device.binding = certify(testIdentity('other'), 'liar')
  await assert.rejects(greet(await channelTo(t, node, liar), liar.context, { expect: node.device.did }), (error) => isKithError(error, 'BINDING_INVALID'))
  await assertServes(node, good)
})

test('a greeting for another identity, WRONG_PEER', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const lost = await attacker('lost')
  await assert.rejects(greet(await channelTo(t, node, lost), lost.context, { expect: formatDid(good.device.didKey) }), (error) =>
    isKithError(error, 'WRONG_PEER'),
  )
  assert.equal(await node.code(), 'WRONG_PEER')
  await assertServes(node, good)
})

test('strangers beyond what one neighbourhood may have, BUDGET_EXCEEDED, and a known peer still gets in', async (t) => {
  const node = await startNode(t, 'node')
  for (let i = 0; i < 8; i++) await linkTo(t, node, await attacker(`stranger ${i}`))
  const ninth = await attacker('stranger 8')
  await assert.rejects(
    greet(await channelTo(t, node, ninth), ninth.context, { expect: node.device.did }),
    (error) => isKithError(error, 'BUDGET_EXCEEDED') && error.remote,
  )
  assert.equal(node.mesh.network().stats.isolatedLinks, 8)
  await assertServes(node, await startGood(t, node))
})

// ---- behind the verdict

test('streams opened and reset without end, MUX_LIMIT', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { mux } = await linkTo(t, node, await attacker('resetter'))
  const ended = endedWith(mux)
  for (let id = 1; id < 4_000 && mux.alive; id += 2) {
    frameOf(mux, TYPE_WINDOW_UPDATE, FLAG_SYN, id, 0)
    frameOf(mux, TYPE_WINDOW_UPDATE, FLAG_RST, id, 313)
  }
  assert.equal(await ended, 'MUX_LIMIT')
  await assertServes(node, good)
})

test('more streams at once than anybody may have, MUX_LIMIT', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const opener = await attacker('opener')
  // A stranger's are refused long before that.
  await node.mesh.book.add(opener.device.did, { name: 'opener' })
  const { mux } = await linkTo(t, node, opener)
  const ended = endedWith(mux)
  for (let id = 1; id < 2 * 252; id += 2) frameOf(mux, TYPE_WINDOW_UPDATE, FLAG_SYN, id, 0)
  assert.equal(await ended, 'MUX_LIMIT')
  await assertServes(node, good)
})

test('pings without end, MUX_LIMIT', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { mux } = await linkTo(t, node, await attacker('pinger'))
  const ended = endedWith(mux)
  for (let i = 0; i < 2_000; i++) frameOf(mux, TYPE_PING, FLAG_SYN, 0, i)
  assert.equal(await ended, 'MUX_LIMIT')
  await assertServes(node, good)
})

test('a frame larger than its window, MUX_PROTOCOL', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { mux } = await linkTo(t, node, await attacker('shouter'))
  const ended = endedWith(mux)
  frameOf(mux, TYPE_DATA, FLAG_SYN, 1, 0xffff_ffff)
  assert.equal(await ended, 'MUX_PROTOCOL')
  await assertServes(node, good)
})

/** The number with which the node reset a stream. */
function resetOf(stream: LinkStream): Promise<string> {
  return within(
    'a reset',
    new Promise((resolve) => {
      stream.onData = () => {}
      stream.onError = (error) => resolve(error.code)
    }),
  )
}

for (const [what, header, code] of [
  ['a protocol nobody serves', Buffer.from('\x0bacme/none/1'), 'PROTOCOL_UNKNOWN'],
  ['pairing while no ticket is out', Buffer.from('\x0aicn/pair/1'), 'PROTOCOL_UNKNOWN'],
  ['a name without length', Uint8Array.of(0), 'WIRE_MALFORMED'],
  ['a name too long', Uint8Array.of(65, 65), 'WIRE_MALFORMED'],
] as const) {
  test(`a stream with ${what}, ${code}`, async (t) => {
    const node = await startNode(t, 'node')
    const { mux } = await linkTo(t, node, await attacker('asker'))
    const stream = await mux.open()
    const reset = resetOf(stream)
    stream.write(header)
    assert.equal(await reset, code)
  })
}

test('more streams than a stranger may have open, BUDGET_EXCEEDED for the stream and nothing for the link', async (t) => {
  const node = await startNode(t, 'node')
  const { mux } = await linkTo(t, node, await attacker('many'))
  const resets: string[] = []
  for (let i = 0; i < 40; i++) {
    const stream = await mux.open()
    stream.onData = () => {}
    stream.onError = (error) => resets.push(error.code)
    stream.write(Buffer.from('\x0aicn/ping/1'))
  }
  await within('a ping of the link', mux.ping())
  await within('a second one', mux.ping())
  assert.ok(resets.length >= 7, `${resets.length} of 40 were refused`)
  assert.deepEqual(new Set(resets), new Set(['BUDGET_EXCEEDED']))
  assert.ok(mux.alive)
})

test('a header that never ends, TIMEOUT for the stream and nothing for the link', async (t) => {
  const clock = manualClock(NOW)
  const node = await startNode(t, 'node', { clock })
  const { mux } = await linkTo(t, node, await attacker('slow', clock))
  const stream = await mux.open()
  const reset = resetOf(stream)
  stream.write(Uint8Array.of(11, 0x69))
  await within('a ping of the link', mux.ping())
  clock.advance(10_000)
  await within('a ping of the link', mux.ping())
  clock.advance(10_000)
  assert.equal(await reset, 'TIMEOUT')
  assert.ok(mux.alive)
})

test('control messages without end, BUDGET_EXCEEDED', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { mux } = await linkTo(t, node, await attacker('controller'))
  const stream = await mux.open()
  stream.write(Buffer.from('\x0aicn/link/1'))
  for (let i = 0; i < 1_100; i++) stream.write(encodeControl({ type: 'prefer', id: new Uint8Array(8) }))
  assert.equal(await endedWith(mux), 'BUDGET_EXCEEDED')
  await assertServes(node, good)
})

test('control messages that are none, WIRE_MALFORMED', async (t) => {
  const node = await startNode(t, 'node')
  const { mux } = await linkTo(t, node, await attacker('controller'))
  const stream = await mux.open()
  stream.write(Buffer.from('\x0aicn/link/1'))
  stream.write(Uint8Array.of(0))
  assert.equal(await endedWith(mux), 'WIRE_MALFORMED')
})

test('a peer that asks for echoes and never reads them, memory bounded and good peers served', async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { mux } = await linkTo(t, node, await attacker('deaf'))
  const before = process.memoryUsage().rss
  const chunk = Buffer.alloc(16_384)
  let taken = 0
  for (let i = 0; i < 16; i++) {
    const stream = await mux.open()
    stream.onData = () => {}
    stream.write(Buffer.from('\x0aicn/ping/1'))
    // Echoes come back without credit: the window of each direction ends it.
    while (taken < (i + 1) * 4 * 2 ** 20 && stream.write(chunk)) taken += chunk.length
  }
  await assertServes(node, good)
  await within('a ping of the link', mux.ping())
  assert.ok(process.memoryUsage().rss - before < 128 * 2 ** 20)
})

/** So many handshakes and greetings are under way. */
async function untilPending(node: Awaited<ReturnType<typeof startNode>>, count: number): Promise<void> {
  await within(
    'an unfinished handshake',
    (async () => {
      while (node.mesh.network().stats.admission.halfOpen < count) await new Promise((resolve) => setImmediate(resolve))
    })(),
  )
}

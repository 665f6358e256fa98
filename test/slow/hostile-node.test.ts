/** The long forms of test/hostile, against the node as a program opens it: default limits, system clock, thousands of connections. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createNode, type Node } from '../../src/daemon/index.ts'
import { didPublicKey, parseDid } from '../../src/identity/did.ts'
import { encodeLocateRequest, locateTag, NO_INDEX } from '../../src/mesh/locate-codec.ts'
import { FLAG_RST, FLAG_SYN, TYPE_PING, TYPE_WINDOW_UPDATE } from '../../src/transport/mux/frames.ts'
import { flood } from '../hostile/flood.ts'
import { attacker, endedWith, fixtureClock, frameOf, linkTo, startGood, startNode } from '../hostile/support.ts'
import { within } from '../transport/support.ts'

const MIB = 2 ** 20
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function openNode(t: TestContext, name: string): Promise<Node> {
  const home = await mkdtemp(join(tmpdir(), `kith-hostile-${name}-`))
  await writeFile(join(home, 'config.toml'), '[discovery]\nmdns = false\n')
  const node = await createNode({ home, passphrase: 'correct horse', listen: ['tcp://127.0.0.1:0'], name, control: false })
  t.after(async () => {
    await node.close()
    await rm(home, { recursive: true, force: true })
  })
  return node
}

function portOf(node: Node): number {
  return Number(
    node.addresses
      .find((url) => url.startsWith('tcp:'))
      ?.split(':')
      .at(-1),
  )
}

for (const manner of ['silent', 'byte'] as const) {
  test(`5,000 half-open connections (${manner}), a good peer is served all along, memory bounded, everything closed at the deadline`, {
    timeout: 180_000,
  }, async (t) => {
    const [node, good] = [await openNode(t, 'node'), await openNode(t, 'good')]
    await good.join(await node.invite())
    await good.ping(node.did)
    const before = process.memoryUsage().rss
    const attack = flood(t, portOf(node), 5_000, manner, 120_000)
    let pings = 0
    let slowest = 0
    let over = false
    const up = attack.up.finally(() => {
      over = true
    })
    // While it comes, and for as long as the first ones may last.
    for (let left = 200; !over || left > 0; left--) {
      const started = performance.now()
      await within('a ping', good.ping(node.did))
      slowest = Math.max(slowest, performance.now() - started)
      pings++
      await pause(50)
    }
    const { connected } = await up
    assert.ok(connected > 4_000, `${connected} connections came about`)
    const grown = process.memoryUsage().rss - before
    t.diagnostic(`${pings} pings, the slowest ${Math.round(slowest)} ms; memory grew by ${Math.round(grown / MIB)} MiB`)
    assert.ok(grown < 200 * MIB, `memory grew by ${grown}`)
    const late = await openNode(t, 'late')
    await within('a newcomer', late.join(await node.invite()), 60_000)
    await attack.stop()
  })
}

test('a byte a second in real time, closed at the deadline', { timeout: 60_000 }, async (t) => {
  const node = await openNode(t, 'node')
  const socket = connect(portOf(node), '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const drip = setInterval(() => socket.write(Uint8Array.of(32)), 1_000)
  t.after(() => clearInterval(drip))
  await within('the close', closed, 30_000)
})

test('peers that reset streams, ping and open without end, one after another, memory bounded and good peers served', { timeout: 180_000 }, async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const before = process.memoryUsage().rss
  for (let round = 0; round < 200; round++) {
    const { mux } = await linkTo(t, node, await attacker(`round ${round % 5}`))
    const ended = endedWith(mux)
    for (let id = 1; id < 3_000 && mux.alive; id += 2) {
      if (round % 3 === 0) frameOf(mux, TYPE_PING, FLAG_SYN, 0, id)
      else frameOf(mux, TYPE_WINDOW_UPDATE, FLAG_SYN, id, 0)
      if (round % 3 === 1) frameOf(mux, TYPE_WINDOW_UPDATE, FLAG_RST, id, 313)
    }
    if (round % 3 === 0) for (let i = 0; i < 1_000; i++) frameOf(mux, TYPE_PING, FLAG_SYN, 0, i)
    assert.equal(await ended, 'MUX_LIMIT')
    await within('a ping', good.mesh.ping(node.mesh.did))
  }
  assert.ok(process.memoryUsage().rss - before < 128 * MIB)
  assert.equal(node.mesh.network().stats.isolatedLinks, 0)
})

test('eight strangers that ask for echoes and read nothing, for long, memory bounded and good peers served', { timeout: 180_000 }, async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const before = process.memoryUsage().rss
  const chunk = Buffer.alloc(16_384)
  for (let i = 0; i < 8; i++) {
    const { mux } = await linkTo(t, node, await attacker(`deaf ${i}`))
    for (let j = 0; j < 32; j++) {
      const stream = await mux.open()
      stream.onData = () => {}
      stream.write(Buffer.from('\x0aicn/ping/1'))
      for (let k = 0; k < 64 && stream.write(chunk); k++);
    }
    await within('a ping', good.mesh.ping(node.mesh.did))
  }
  for (let i = 0; i < 100; i++) {
    await within('a ping', good.mesh.ping(node.mesh.did))
    await pause(20)
  }
  // Attackers and node share this process: both ends of every window are in it.
  assert.ok(process.memoryUsage().rss - before < 256 * MIB)
})

test('2,000 connections that say random bytes, good peers served, nothing left', { timeout: 120_000 }, async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { device } = await attacker('random', fixtureClock())
  const nonce = new Uint8Array(16)
  const request = encodeLocateRequest({ nonce, tag: locateTag(didPublicKey(parseDid(node.mesh.did)), nonce), haveIndex: NO_INDEX })
  for (let i = 0; i < 2_000; i++) {
    const socket = connect(node.port, '127.0.0.1')
    socket.on('error', () => {})
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(1 + (i % 300))))
    const prefix = [
      Buffer.alloc(0),
      Buffer.concat([Uint8Array.of(32), device.linkSigner.publicKey]),
      Uint8Array.of(55),
      Buffer.concat([Uint8Array.of(55), request]),
    ][i % 4] as Uint8Array
    socket.resume()
    socket.end(Buffer.concat([prefix, bytes]))
    await within('the close', closed)
    if (i % 50 === 0) await within('a ping', good.mesh.ping(node.mesh.did))
  }
  assert.equal(node.mesh.network().stats.admission.halfOpen, 0)
  assert.equal(node.codes.includes('INTERNAL'), false)
})

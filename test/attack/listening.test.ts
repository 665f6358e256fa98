import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import type { Policy } from '../../src/mesh/types.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { Connections } from '../../src/tunnel/connections.ts'
import { DatagramReader, encodeDatagram } from '../../src/tunnel/datagrams.ts'
import { createGate } from '../../src/tunnel/gate.ts'
import { encodeListening } from '../../src/tunnel/listen-wire.ts'
import type { Opener } from '../../src/tunnel/opener.ts'
import { openRemote, type RemoteEntry } from '../../src/tunnel/remote-entry.ts'
import { encodeRequest } from '../../src/tunnel/wire.ts'
import { type ConnectedPair, connectedPair } from '../support/links.ts'
import { ONE_OF_EACH } from '../support/policy.ts'
import { FAR, NEAR, type Nodes, openNodes, until } from '../tunnel/pair.ts'

/** A peer that was asked to listen, or that may send datagrams, and means ill. */

let links: ConnectedPair
let nodes: Nodes
beforeEach(async () => {
  links = await connectedPair()
  nodes = await openNodes()
})
afterEach(async () => {
  await links.close()
  await nodes.close()
})

/** A remote forward whose peer answers by `answer`. */
async function remote(port: number, answer: (stream: LinkStream) => void): Promise<RemoteEntry> {
  links.far.onStream = (stream) => {
    stream.onData = (_data, start, end) => {
      stream.consume(end - start)
      stream.onData = () => {}
      answer(stream)
    }
  }
  const mesh = { did: NEAR, resolve: () => FAR, openLean: async () => await links.near.open() }
  const options = {
    mesh,
    opener: {} as Opener,
    connections: new Connections({ clock: systemClock, idleMs: () => 0 }),
    logger: silentLogger,
    clock: systemClock,
  }
  const place = { remote: { host: '127.0.0.1', port }, to: { host: '127.0.0.1', port: 9 } }
  return await openRemote({ ...options, peer: FAR, ...place, token: new Uint8Array(16), connectMs: () => 1_000 }, false, AbortSignal.timeout(5_000))
}

test('a peer that says it listens and ends with the same breath, is known not to listen', async () => {
  for (const finish of ['end', 'reset'] as const) {
    const entry = await remote(8_080, (stream) => {
      stream.write(encodeListening(8_080))
      if (finish === 'end') stream.end()
      else stream.reset(1)
    }).catch(() => undefined)
    if (entry === undefined) continue
    await until(() => !entry.listening)
    entry.stop()
  }
})

test('a peer that listens on another port than it was asked to, or on none, is not believed', async () => {
  for (const [asked, said] of [
    [8_080, 22],
    [8_080, 0],
    [0, 0],
  ] as const)
    await assert.rejects(
      remote(asked, (stream) => void stream.write(encodeListening(said))),
      { code: 'WIRE_MALFORMED' },
      `${asked} ${said}`,
    )
  const any = await remote(0, (stream) => void stream.write(encodeListening(22_222)))
  assert.equal(any.address, '127.0.0.1:22222')
  any.stop()
})

test('datagrams that are none, right behind the request, take no place for good', async () => {
  for (let i = 0; i < 100; i++) {
    const stream = await nodes.raw('near', 'icn/forward/1')
    const over = new Promise<number>((resolve) => {
      stream.onError = (error) => resolve(error.number)
      stream.onEnd = () => resolve(0)
    })
    stream.onData = (_data, start, end) => stream.consume(end - start)
    stream.write(Buffer.concat([encodeRequest({ kind: 'datagrams', host: '', port: 0 }), Buffer.from([0, 1, 0])]))
    await over
  }
  const stream = await nodes.raw('near', 'icn/forward/1')
  const answer = new Promise<number>((resolve, reject) => {
    stream.onData = (data, start, end) => {
      resolve(data[start] as number)
      stream.consume(end - start)
    }
    stream.onError = reject
  })
  stream.write(encodeRequest({ kind: 'datagrams', host: '', port: 0 }))
  assert.equal(await answer, 0)
  stream.reset(1)
})

test('a peer that names thousands of hosts, has this machine ask for few of them at once', async () => {
  let asking = 0
  let most = 0
  const waiting: (() => void)[] = []
  const policy = { decide: () => ({ allowed: true, rule: '', next: '' }), constraints: () => ONE_OF_EACH } as unknown as Policy
  const gate = createGate({
    policy,
    clock: systemClock,
    logger: silentLogger,
    resolve: async () => {
      most = Math.max(most, ++asking)
      await new Promise<void>((resolve) => waiting.push(resolve))
      asking--
      return ['192.0.2.1']
    },
  })
  const ask = (peer: string, i: number) => gate.check({ peer: peer as typeof FAR, transport: 'link' }, 'datagram', { host: `h${i}.example`, port: 53 })
  const asked = Array.from({ length: 2_000 }, (_, i) => ask(FAR, i))
  const refused = asked.map((one) =>
    one.then(
      () => 'ok',
      (error: { code: string }) => error.code,
    ),
  )
  assert.ok(most <= 256, `${most} at once`)
  // Others are not kept from theirs.
  const other = ask(NEAR, 0)
  while (waiting.length > 0) {
    for (const go of waiting.splice(0)) go()
    await new Promise(setImmediate)
  }
  assert.deepEqual((await other).addresses, ['192.0.2.1'])
  const codes = await Promise.all(refused)
  assert.deepEqual(new Set(codes), new Set(['ok', 'BUDGET_EXCEEDED']))
  assert.ok(codes.filter((code) => code === 'ok').length >= 100)
  // Once they are answered there is room again.
  const later = ask(FAR, 0)
  for (const go of waiting.splice(0)) go()
  await later
})

test('a datagram that comes a byte at a time, is copied once or twice and not with every byte', () => {
  const frame = encodeDatagram({ host: '192.0.2.1', port: 53 }, Buffer.alloc(60_000, 7)) as Buffer
  const payloads: Buffer[] = []
  const reader = new DatagramReader(({ payload }) => payloads.push(Buffer.from(payload)))
  const { concat } = Buffer
  let copied = 0
  Buffer.concat = (list, length) => {
    const all = concat(list, length)
    copied += all.length
    return all
  }
  try {
    for (const byte of frame) reader.push(Buffer.of(byte))
  } finally {
    Buffer.concat = concat
  }
  assert.deepEqual(payloads, [Buffer.alloc(60_000, 7)])
  assert.ok(copied < 20 * frame.length, `${copied} bytes copied`)
})

import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { type EnvelopeFields, MAX_ENVELOPE_BYTES, signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { framed, LIVE_PROTOCOL } from '../../src/mesh/messages/live-frames.ts'
import type { Equivocation, LiveMessage } from '../../src/mesh/messages/types.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { acquaint, createWorld, type World, type WorldNode } from '../mesh/mesh-support.ts'
import { codeOf, type NotedConduct, notedConduct } from './messages-support.ts'

const TYPE = 0x8001
const worlds: World[] = []
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close()
})

interface Scene {
  readonly world: World
  readonly ann: WorldNode
  readonly ben: WorldNode
  readonly conduct: NotedConduct
  readonly got: LiveMessage[]
  /** The session of the link, as Ben's messages name it. */
  readonly session: Uint8Array
  readonly stream: LinkStream
  readonly resets: number[]
  sign(changes?: Partial<Extract<EnvelopeFields, { class: 'live' }>>, signer?: WorldNode): Uint8Array
}

/** Ann's machine is in the hands of an attacker: what it writes on its stream is up to the test. */
async function scene(): Promise<Scene> {
  const world = createWorld()
  worlds.push(world)
  const conduct = notedConduct()
  const ann = await world.node('ann')
  const ben = await world.node('ben', { conduct, config: { limits: { known: { messagesPerSecond: 100_000, burst: 100_000 } } } })
  await acquaint(ann, ben)
  const got: LiveMessage[] = []
  ben.mesh.messages.handle(TYPE, (message) => void got.push(message))
  const back: LiveMessage[] = []
  ann.mesh.messages.handle(TYPE, (message) => void back.push(message))
  await world.settle(ben.mesh.messages.send(ann.mesh.did, TYPE, new Uint8Array(0)))
  await world.until(() => back.length === 1)
  const { session } = back[0] as LiveMessage
  const stream = await world.settle(ann.mesh.openLean(ben.mesh.did, LIVE_PROTOCOL))
  const resets: number[] = []
  stream.onError = (error) => void resets.push(error.number)
  const sign: Scene['sign'] = (changes = {}, signer = ann) =>
    signEnvelope(
      {
        class: 'live',
        suite: 'ed25519',
        from: didPublicKey(ann.mesh.did),
        device: ann.device.linkSigner.publicKey,
        to: didPublicKey(ben.mesh.did),
        session,
        seq: 1,
        timeMs: world.clock.now(),
        type: TYPE,
        payload: new Uint8Array(8),
        ...changes,
      },
      { ed25519: signer.device.linkSigner, mldsa: undefined },
    )
  return { world, ann, ben, conduct, got, session, stream, resets, sign }
}

function refused({ ben }: Scene, code: string): number {
  return ben.mesh.messages.counters.refused[code] ?? 0
}

test('live stream, honest frames in single bytes, arrive', async () => {
  const at = await scene()
  const bytes = framed([at.sign({ seq: 1 }), at.sign({ seq: 2 })])
  for (let i = 0; i < bytes.length; i++) {
    at.stream.write(bytes, i, i + 1)
    if (i % 64 === 0) await at.world.run()
  }
  await at.world.until(() => at.got.length === 2)
  assert.equal(at.conduct.reports.length, 0)
})

test('live stream, forged message, is charged to the link and the stream goes on', async () => {
  const at = await scene()
  at.stream.write(framed([at.sign({ seq: 1 }, at.ben), at.sign({ seq: 2 })]))
  await at.world.until(() => at.got.length === 1)
  assert.equal(refused(at, 'SIGNATURE_INVALID'), 1)
  assert.deepEqual(
    at.conduct.reports.map(({ kind, peer, protocol }) => [kind, peer, protocol]),
    [['invalid-signature', at.ann.mesh.did, LIVE_PROTOCOL]],
  )
})

test('live stream, replays, are counted and nobody is charged', async () => {
  const at = await scene()
  const bytes = framed([at.sign()])
  for (let i = 0; i < 50; i++) at.stream.write(bytes)
  await at.world.until(() => refused(at, 'REPLAYED') === 49)
  assert.equal(at.got.length, 1)
  assert.equal(at.conduct.reports.length, 0)
})

test('live stream, frame that is no envelope, ends the stream and is reported', async () => {
  const at = await scene()
  at.stream.write(framed([new Uint8Array(300)]))
  at.stream.write(framed([Uint8Array.of(1, 9), at.sign()]))
  await at.world.until(() => at.resets.length === 1)
  assert.deepEqual(at.resets, [new KithError('WIRE_MALFORMED').number])
  assert.equal(at.conduct.reports[0]?.kind, 'malformed-frame')
})

test('live stream, envelope of a later version, is skipped and not held against anybody', async () => {
  const at = await scene()
  const later = Uint8Array.from(at.sign())
  later[0] = 2
  at.stream.write(framed([later, at.sign()]))
  await at.world.until(() => at.got.length === 1)
  assert.equal(refused(at, 'VERSION_UNSUPPORTED'), 1)
  assert.equal(at.conduct.reports.length, 0)
})

test('live stream, frame longer than the class allows, is refused before it is held, and no violation', async () => {
  const at = await scene()
  at.stream.write(Uint8Array.of(0, 0x0c, 0, 0))
  await at.world.until(() => at.resets.length === 1)
  assert.deepEqual(at.resets, [new KithError('MESSAGE_TOO_LARGE').number])
  assert.equal(at.conduct.reports.length, 0)
})

test('live stream, frame longer than any envelope, is malformed', async () => {
  const at = await scene()
  const length = MAX_ENVELOPE_BYTES + 1
  at.stream.write(Uint8Array.of(length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff))
  await at.world.until(() => at.resets.length === 1)
  assert.equal(at.conduct.reports[0]?.kind, 'malformed-frame')
})

test('live streams, more than a peer needs, are refused', async () => {
  const at = await scene()
  const second = await at.world.settle(at.ann.mesh.openLean(at.ben.mesh.did, LIVE_PROTOCOL))
  second.write(framed([at.sign({ seq: 1 })]))
  at.stream.write(framed([at.sign({ seq: 2 })]))
  await at.world.until(() => at.got.length === 2)
  const third = await at.world.settle(at.ann.mesh.openLean(at.ben.mesh.did, LIVE_PROTOCOL))
  const codes: string[] = []
  third.onError = ({ code }) => void codes.push(code)
  third.write(framed([at.sign({ seq: 3 })]))
  await at.world.until(() => codes.length === 1)
  assert.deepEqual(codes, ['BUDGET_EXCEEDED'])
})

test('live stream, cut inside a message, harms nobody', async () => {
  const at = await scene()
  at.stream.write(framed([at.sign()]).subarray(0, 100))
  at.stream.end()
  await at.world.run(100)
  assert.equal(at.got.length, 0)
  assert.equal(at.conduct.reports.length, 0)
  const stream = await at.world.settle(at.ann.mesh.openLean(at.ben.mesh.did, LIVE_PROTOCOL))
  stream.write(framed([at.sign()]))
  await at.world.until(() => at.got.length === 1)
})

test('live stream, two messages under one number, prove the sender’s equivocation', async () => {
  const at = await scene()
  const found: Equivocation[] = []
  at.ben.mesh.messages.onEquivocation((equivocation) => void found.push(equivocation))
  at.ben.mesh.messages.onEquivocation(() => {
    throw new Error('mine')
  })
  const [one, two] = [at.sign({ payload: Uint8Array.of(1) }), at.sign({ payload: Uint8Array.of(2) })]
  at.stream.write(framed([one, one, two]))
  await at.world.until(() => found.length === 1)
  assert.equal(found[0]?.did, at.ann.mesh.did)
  assert.deepEqual(new Set(found[0]?.proof), new Set([one, two]))
})

test('live messages, handlers that never finish, hold up their sender and bound what is held', async () => {
  const at = await scene()
  let begun = 0
  at.ben.mesh.messages.handle(TYPE + 1, () => {
    begun++
    return new Promise<void>(() => undefined)
  })
  const payload = new Uint8Array(60_000)
  let sent = 0
  const sending = (async () => {
    for (; sent < 1_000; sent++) await at.ann.mesh.messages.send(at.ben.mesh.did, TYPE + 1, payload)
  })()
  sending.catch(() => undefined)
  await at.world.run(5_000)
  assert.ok(begun > 0 && begun < 100, `${begun} handlers were begun`)
  assert.ok(sent < 200, `${sent} messages were taken`)
  // Other protocols on the link go on.
  assert.equal((await at.world.settle(at.ann.mesh.ping(at.ben.mesh.did))).length, 1)
})

test('live messages, mesh that closes, does not wait for their streams', async () => {
  const at = await scene()
  await at.world.settle(at.ann.mesh.messages.send(at.ben.mesh.did, TYPE, new Uint8Array(1)))
  const before = at.world.clock.monotonic()
  await at.world.settle(at.ben.mesh.close())
  assert.ok(at.world.clock.monotonic() - before < 1_000, 'it waited for streams that have no end')
  assert.equal(await codeOf(() => at.ben.mesh.messages.send(at.ann.mesh.did, TYPE, new Uint8Array(1))), 'CLOSED')
})

test('live messages, while the link moves to another connection, arrive once each', async () => {
  const world = createWorld()
  worlds.push(world)
  const ann = await world.node('ann', { schemes: ['tcp'] })
  const ben = await world.node('ben', {
    schemes: ['tcp'],
    config: { prefer: ['tcp', 'memory'], limits: { known: { messagesPerSecond: 100_000, burst: 100_000 } } },
  })
  await ben.mesh.listen('tcp://ben')
  await acquaint(ann, ben)
  const got: string[] = []
  ben.mesh.messages.handle(TYPE, ({ payload }) => void got.push(new TextDecoder().decode(payload)))
  const send = (from: number, to: number): Promise<void>[] =>
    Array.from({ length: to - from }, (_, i) => ann.mesh.messages.send(ben.mesh.did, TYPE, new TextEncoder().encode(`${from + i}`)))
  await world.settle(Promise.all(send(0, 50)))
  const dialling = ann.mesh.dial(ben.mesh.did, { url: 'tcp://ben' })
  const during: Promise<void>[] = []
  for (let i = 50; i < 100; i++) {
    during.push(...send(i, i + 1))
    await world.run()
  }
  await world.settle(dialling)
  await world.settle(Promise.all([...during, ...send(100, 150)]))
  await world.until(() => got.length === 150)
  assert.equal(new Set(got).size, 150)
  assert.deepEqual(ben.mesh.messages.counters.refused, {})
  await world.until(() => ann.mesh.network().stats.connections === 1)
})

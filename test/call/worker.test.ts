import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { createHead } from '../../src/call/head.ts'
import type { HeadComponents, WorkerEvent, WorkerIdentity } from '../../src/call/head-types.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { createStatementReader, decodeStatement, encodeStatement } from '../../src/call/statement.ts'
import { createWorkerSession, offeredOperations, type WorkerOptions, type WorkerState } from '../../src/call/worker.ts'
import { decodeHeadFrame, decodeWorkerFrame, encodeHeadFrame, encodeWorkerFrame, FrameReader, type OfferedOperation } from '../../src/call/worker-codec.ts'
import { KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Did } from '../../src/identity/did.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { connectedPair } from '../support/links.ts'
import { callerWith, codeOf, OWNER, operation, scopesDecide } from './head-support.ts'

const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
const offered = (...names: string[]): readonly OfferedOperation[] => offeredOperations(names.map((name) => operation(name, () => name)))
const ALICE: WorkerIdentity = { peer: 'did:icn:zalice' as Did, linkKey: 'aa' }
const BOB: WorkerIdentity = { peer: 'did:icn:zbob' as Did, linkKey: 'bb' }

/** A head, and streams to it as peers open them. */
async function table(t: TestContext, options: Partial<HeadComponents> = {}) {
  const pair = await connectedPair()
  t.after(() => pair.close())
  const clock = manualClock()
  const events: WorkerEvent[] = []
  const called: string[] = []
  const registry = createRegistry()
  const authorize = scopesDecide()
  let hang: Promise<never> | undefined
  const head = createHead({
    local: createLocalCallee({ registry, authorize, clock, random: seededRandom('head'), logger: silentLogger }),
    hasLocal: (name) => registry.get(name) !== undefined,
    client: {
      async call({ linkKey }, name, _input, { cancellation }) {
        called.push(`${linkKey} ${name}`)
        if (hang !== undefined) {
          await new Promise((_, reject) => cancellation.add({ cancelled: reject }))
        }
        return linkKey
      },
      stream: () => assert.fail('not asked for'),
    },
    authorize,
    mayOffer: () => true,
    onWorker: (event) => events.push(event),
    clock,
    logger: silentLogger,
    ...options,
  })
  const waiting: WorkerIdentity[] = []
  const streams: LinkStream[] = []
  pair.far.onStream = (stream) => {
    streams.push(stream)
    head.accept(stream, waiting.shift() ?? ALICE)
  }
  const open = async (as: WorkerIdentity): Promise<LinkStream> => {
    waiting.push(as)
    return await pair.near.open()
  }
  const join = (as: WorkerIdentity, alias: string, rest: Partial<WorkerOptions> = {}) => {
    const states: WorkerState[] = []
    const session = createWorkerSession({
      open: () => open(as),
      alias,
      operations: () => offered('fs/read'),
      onState: (state) => states.push(state),
      clock,
      random: seededRandom('worker'),
      logger: silentLogger,
      ...rest,
    })
    t.after(() => session.close())
    return { session, states, phases: () => states.map(({ phase, error }) => (error === undefined ? phase : `${phase} ${error.code}`)) }
  }
  return {
    head,
    clock,
    events,
    called,
    streams,
    open,
    join,
    hangCalls: () => {
      hang = new Promise(() => {})
    },
  }
}

test('a worker that registers, is permitted, gets calls for its operations at its machine until it leaves', async (t) => {
  const { head, join, called, events } = await table(t)
  const { session, phases } = join(ALICE, 'dev1')
  await turns()
  assert.deepEqual(phases(), ['registered'])
  assert.equal(await head.call({ caller: OWNER, path: '/dev1/fs/read' }), 'aa')
  assert.deepEqual(called, ['aa fs/read'])
  session.close()
  await turns()
  assert.equal(await codeOf(head.call({ caller: OWNER, path: '/dev1/fs/read' })), 'CALL_UNKNOWN')
  assert.deepEqual(
    events.map(({ type, alias, operations }) => `${type} ${alias} ${operations}`),
    ['registered dev1 1', 'removed dev1 1'],
  )
})

test('a worker whom nobody allowed, registers, is refused with what it asked for and holds no alias', async (t) => {
  const asked: string[] = []
  const { head, join, events } = await table(t, {
    mayOffer: (worker, target) => {
      asked.push(`${worker} ${target}`)
      return false
    },
  })
  const { session, phases } = join(ALICE, 'dev1', { operations: () => offered('fs/read', 'fs/stat', 'bash/exec') })
  await turns()
  assert.deepEqual(phases(), ['refused WORKER_DENIED'])
  assert.deepEqual(session.state.error?.details, { target: 'dev1/fs' })
  assert.deepEqual(asked, ['did:icn:zalice dev1/fs'])
  assert.deepEqual(head.workers(), [])
  assert.deepEqual(
    events.map(({ type, reason }) => `${type} ${reason}`),
    ['refused WORKER_DENIED'],
  )
})

test('a worker that may offer one service of two, is registered with neither', async (t) => {
  const { head, join } = await table(t, { mayOffer: (_worker, target) => target === 'dev1/fs' })
  const { phases } = join(ALICE, 'dev1', { operations: () => offered('fs/read', 'bash/exec') })
  await turns()
  assert.deepEqual(phases(), ['refused WORKER_DENIED'])
  assert.deepEqual(head.workers(), [])
})

test('an alias that another machine holds, is a conflict, and the holder keeps it', async (t) => {
  const { head, join } = await table(t)
  join(ALICE, 'dev1')
  await turns()
  const { phases } = join(BOB, 'dev1')
  const other = join({ ...ALICE, linkKey: 'a2' }, 'dev1')
  await turns()
  assert.deepEqual(phases(), ['refused WORKER_CONFLICT'])
  assert.deepEqual(other.phases(), ['refused WORKER_CONFLICT'], 'another machine of the same identity is another machine')
  assert.equal(await head.call({ caller: OWNER, path: '/dev1/fs/read' }), 'aa')
})

test('an alias that is the name of another peer, is a conflict whoever is permitted to offer', async (t) => {
  const { join } = await table(t, { isReserved: (alias, worker) => alias === 'bob' && worker !== BOB.peer })
  const alice = join(ALICE, 'bob')
  await turns()
  assert.deepEqual(alice.phases(), ['refused WORKER_CONFLICT'])
  const bob = join(BOB, 'bob')
  await turns()
  assert.deepEqual(bob.phases(), ['registered'])
})

test('an alias that is the name of a peer, asked for by a process of this node, is a conflict', async (t) => {
  const { head } = await table(t, { isReserved: (alias) => alias === 'bob' })
  const calls = { call: () => assert.fail('not asked for'), stream: () => assert.fail('not asked for') }
  assert.throws(() => head.attach({ alias: 'bob', operations: offered('fs/read') }, calls, { peer: ALICE.peer, linkKey: '' }), { code: 'WORKER_CONFLICT' })
})

test('a worker that says nothing for 90 s, its stream stands, is removed and its calls end with one WORKER_LOST', async (t) => {
  const { head, clock, open, events, hangCalls } = await table(t)
  hangCalls()
  const stream = await open(ALICE)
  stream.onData = (_data, start, end) => stream.consume(end - start)
  stream.write(encodeWorkerFrame({ kind: 'register', sequence: 1, registration: { alias: 'dev1', operations: offered('fs/read') } }))
  await turns()
  let ends = 0
  const call = codeOf(head.call({ caller: OWNER, path: '/dev1/fs/read' }).finally(() => ends++))
  await clock.run(89_000)
  assert.equal(head.workers().length, 1)
  await clock.run(2_000)
  assert.equal(await call, 'WORKER_LOST')
  assert.equal(ends, 1)
  assert.deepEqual(head.workers(), [])
  assert.deepEqual(
    events.map(({ type, reason }) => `${type} ${reason}`),
    ['registered undefined', 'removed TIMEOUT'],
  )
})

test('a worker with nothing to do, keeps its registration by beating for an hour', async (t) => {
  const { head, clock, join } = await table(t)
  const { phases } = join(ALICE, 'dev1')
  await turns()
  for (let half = 0; half < 120; half++) {
    await clock.run(30_000)
    await turns(4)
  }
  assert.deepEqual(phases(), ['registered'])
  assert.equal(head.workers().length, 1)
})

test('a worker whose stream is lost, comes back after a pause and takes its alias again', async (t) => {
  const { head, clock, join, streams } = await table(t)
  const { phases } = join(ALICE, 'dev1')
  await turns()
  streams[0]?.reset(new KithError('LINK_LOST').number)
  await turns()
  assert.equal(phases().at(-1), 'connecting LINK_LOST')
  await clock.run(1_000)
  await turns()
  assert.equal(phases().at(-1), 'registered')
  assert.equal(head.workers().length, 1)
})

test('a machine that registers on a new stream, the loss of its former one was not noticed, takes its own place', async (t) => {
  const { head, open, join } = await table(t)
  const stream = await open(ALICE)
  stream.onData = (_data, start, end) => stream.consume(end - start)
  stream.write(encodeWorkerFrame({ kind: 'register', sequence: 1, registration: { alias: 'dev1', operations: offered('old/read') } }))
  await turns()
  const { phases } = join(ALICE, 'dev1')
  await turns()
  assert.deepEqual(phases(), ['registered'])
  assert.deepEqual(
    head.workers().map(({ services }) => services),
    [['fs']],
  )
  stream.end()
  await turns()
  assert.equal(head.workers().length, 1, 'the end of the former stream takes nothing from the new one')
})

test('operations that change, are registered as a whole, and a set that is refused leaves the former', async (t) => {
  const { head, open } = await table(t, { mayOffer: (_worker, target) => target !== 'dev1/bash' })
  const stream = await open(ALICE)
  const answers: string[] = []
  const reader = new FrameReader()
  stream.onData = (data, start, end) => {
    stream.consume(end - start)
    for (const payload of reader.push(data.subarray(start, end))) answers.push(decodeHeadFrame(payload).kind)
  }
  const register = (sequence: number, ...names: string[]): void => {
    stream.write(encodeWorkerFrame({ kind: 'register', sequence, registration: { alias: 'dev1', operations: offered(...names) } }))
  }
  register(1, 'fs/read')
  register(2, 'fs/read', 'bash/exec')
  await turns()
  assert.deepEqual(answers, ['accepted', 'refused'])
  assert.deepEqual(
    (await head.list(OWNER)).filter(({ node }) => node === 'dev1').map(({ name }) => name),
    ['fs/read'],
  )
  register(3, 'fs/stat')
  await turns()
  assert.deepEqual(
    (await head.list(OWNER)).filter(({ node }) => node === 'dev1').map(({ name }) => name),
    ['fs/stat'],
  )
})

test('rules that change, a worker may not offer any more, end its registration and tell it, and it comes back when they allow it again', async (t) => {
  let allowed = true
  const { head, join, clock, events } = await table(t, { mayOffer: () => allowed })
  const { phases } = join(ALICE, 'dev1')
  await turns()
  head.recheck()
  assert.equal(head.workers().length, 1)
  allowed = false
  head.recheck()
  assert.deepEqual(head.workers(), [])
  await turns()
  assert.deepEqual(phases(), ['registered', 'connecting WORKER_DENIED'])
  await clock.run(1_000)
  await turns()
  assert.deepEqual(phases().slice(2), ['refused WORKER_DENIED'])
  allowed = true
  await clock.run(30_000)
  await turns()
  assert.deepEqual(phases().slice(3), ['registered'])
  assert.equal(head.workers().length, 1)
  assert.deepEqual(
    events.map(({ type }) => type),
    ['registered', 'removed', 'refused', 'registered'],
  )
})

test('a draining worker, a call runs, ends its session when the call is over', async (t) => {
  let finish: (value: unknown) => void = () => {}
  const { head, join } = await table(t, {
    client: {
      call: () =>
        new Promise((resolve) => {
          finish = resolve
        }),
      stream: () => assert.fail('not asked for'),
    },
  })
  const { session, phases } = join(ALICE, 'dev1')
  await turns()
  const call = head.call({ caller: OWNER, path: '/dev1/fs/read' })
  let drained = false
  void session.drain(10_000).then(() => {
    drained = true
  })
  await turns()
  assert.equal(drained, false)
  assert.equal(await codeOf(head.call({ caller: OWNER, path: '/dev1/fs/read' })), 'WORKER_DRAINING')
  finish('done')
  assert.equal(await call, 'done')
  await turns()
  assert.equal(drained, true)
  assert.deepEqual(phases(), ['registered', 'draining', 'closed'])
})

test('a stream that never registers, is ended after ten seconds', async (t) => {
  const { clock, open } = await table(t)
  const stream = await open(ALICE)
  let number: KithError | undefined
  stream.onError = (error) => {
    number = error
  }
  stream.write(encodeWorkerFrame({ kind: 'beat', running: 0 }))
  await turns()
  await clock.run(10_001)
  await turns()
  assert.equal(number?.code, 'TIMEOUT')
})

test('garbage where a frame should be, ends the stream and nothing else', async (t) => {
  const { head, open, join } = await table(t)
  join(BOB, 'dev2')
  await turns()
  for (const bytes of [Buffer.from('ffffffff', 'hex'), Buffer.from('00000000', 'hex'), Buffer.from('0000000155', 'hex'), Buffer.from('000000020155', 'hex')]) {
    const stream = await open(ALICE)
    let ended: KithError | undefined
    stream.onError = (error) => {
      ended = error
    }
    stream.write(bytes)
    await turns()
    assert.equal(ended?.code, 'WIRE_MALFORMED')
  }
  assert.deepEqual(
    head.workers().map(({ alias }) => alias),
    ['dev2'],
  )
})

test('a worker that registers again and again without a beat, is ended', async (t) => {
  const { open } = await table(t)
  const stream = await open(ALICE)
  let ended: KithError | undefined
  stream.onData = (_data, start, end) => stream.consume(end - start)
  stream.onError = (error) => {
    ended = error
  }
  for (let sequence = 1; sequence <= 21; sequence++) {
    stream.write(encodeWorkerFrame({ kind: 'register', sequence, registration: { alias: 'dev1', operations: offered('fs/read') } }))
  }
  await turns()
  assert.equal(ended?.code, 'BUDGET_EXCEEDED')
})

test('more workers than a head takes, of one peer and of all, are refused and harm no others', async (t) => {
  const { head, join } = await table(t, { limits: { workersPerPeer: 2, workers: 3 } })
  const phases = []
  for (const [as, alias] of [
    [ALICE, 'a1'],
    [ALICE, 'a2'],
    [ALICE, 'a3'],
    [BOB, 'b1'],
    [BOB, 'b2'],
  ] as const) {
    const joined = join(as, alias)
    await turns()
    phases.push(joined.phases().at(-1))
  }
  assert.deepEqual(phases, ['registered', 'registered', 'refused BUDGET_EXCEEDED', 'registered', 'refused BUDGET_EXCEEDED'])
  assert.equal(head.workers().length, 3)
})

test('a frame that comes byte by byte, is read as one that comes at once', () => {
  const operations = offeredOperations([
    operation('fs/read', () => 1, { all: ['fs'], any: ['a', 'b'], resource: { type: 'bucket', action: 'read' } }),
    operation('fs/stat', () => 1, undefined, true),
  ])
  const frame = { kind: 'register' as const, sequence: 7, registration: { alias: 'dev1', operations } }
  const bytes = encodeWorkerFrame(frame)
  const reader = new FrameReader()
  const read = [...bytes, ...bytes].flatMap((byte) => [...reader.push(Uint8Array.of(byte))])
  assert.deepEqual(read.map(decodeWorkerFrame), [frame, frame])
})

test('frames of a head, encoded, are read back', () => {
  for (const frame of [
    { kind: 'accepted', sequence: 1, beatMs: 30_000, lostMs: 90_000 },
    { kind: 'refused', sequence: 2, number: 634, detail: 'dev1/fs' },
    { kind: 'beaten' },
    { kind: 'drained' },
  ] as const) {
    assert.deepEqual(decodeHeadFrame(encodeHeadFrame(frame).subarray(4)), frame)
  }
})

test('schemas of a registration, too deep or no schemas, are malformed before anything is parsed of them', () => {
  const bytes = Buffer.from(
    encodeWorkerFrame({
      kind: 'register',
      sequence: 1,
      registration: { alias: 'dev1', operations: [{ ...(offered('fs/read')[0] as OfferedOperation), input: { x: '#'.repeat(200) } }] },
    }).subarray(4),
  )
  const at = bytes.indexOf('{"x"')
  const swap = (text: string): Uint8Array => {
    const copy = Buffer.from(bytes)
    copy.write(text.padEnd(208, ' ').slice(0, 208), at)
    return copy
  }
  assert.throws(() => decodeWorkerFrame(swap('['.repeat(100) + ']'.repeat(100))), { code: 'WIRE_MALFORMED' })
  assert.throws(() => decodeWorkerFrame(swap('[1]')), { code: 'WIRE_MALFORMED' })
  assert.throws(() => decodeWorkerFrame(swap('nonsense')), { code: 'WIRE_MALFORMED' })
})

test('any bytes as a frame, either side, are a frame that is written back the same or malformed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const [decode, encode] of [
        [decodeWorkerFrame, encodeWorkerFrame],
        [decodeHeadFrame, encodeHeadFrame],
      ] as const) {
        let frame: ReturnType<typeof decode>
        try {
          frame = decode(bytes)
        } catch (error) {
          assert.ok(error instanceof KithError && error.code === 'WIRE_MALFORMED')
          continue
        }
        assert.deepEqual(Buffer.from((encode as (value: unknown) => Uint8Array)(frame).subarray(4)), Buffer.from(bytes))
      }
    }),
  )
})

test('a statement of a head, read back, is the caller with the head behind it', () => {
  const head = { ...callerWith('hub'), resources: new Map([['bucket:photos', ['read', 'write']]]) }
  const caller = {
    ...callerWith('fs:read', 'bash'),
    did: undefined as never,
    id: 'ssh:SHA256:abc',
    via: 'ssh-certificate' as const,
    principals: ['deploy'],
    resources: new Map([['bucket:photos', ['read']]]),
  }
  const { did: _did, ...given } = caller
  assert.deepEqual(decodeStatement(encodeStatement(given), head), { ...given, scopes: new Set(['bash', 'fs:read']), through: head })
})

test('a statement read again, for another head, is the same caller with that head behind it', () => {
  const read = createStatementReader()
  const bytes = encodeStatement({ id: 'key:ci', via: 'api-key', scopes: new Set(['fs']), resources: new Map() })
  const revoked = new AbortController().signal
  const [hub, other] = [{ ...callerWith('hub'), revoked }, callerWith('other')]
  assert.deepEqual(read(bytes, hub), decodeStatement(bytes, hub))
  assert.deepEqual(read(bytes, other), decodeStatement(bytes, other))
  assert.equal(read(bytes, other).through, other)
})

test('a statement for the owner, made or received, is refused: the owner of a head is not the owner of its workers', () => {
  assert.throws(() => encodeStatement(OWNER), TypeError)
  const bytes = Buffer.from(encodeStatement({ ...callerWith(), id: 'locax' }))
  bytes.write('local', 2)
  assert.throws(() => decodeStatement(bytes, callerWith()), { code: 'WIRE_MALFORMED' })
  const via = Buffer.from(encodeStatement({ ...callerWith(), id: 'x', via: 'token' }))
  via.write('local', 4)
  assert.throws(() => decodeStatement(via, callerWith()), { code: 'WIRE_MALFORMED' })
})

test('any bytes as a statement, are a caller who is not the owner, or malformed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        assert.notEqual(decodeStatement(bytes, callerWith()).via, 'local')
      } catch (error) {
        assert.ok(error instanceof KithError)
      }
    }),
  )
})

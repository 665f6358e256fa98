import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { z } from 'zod'
import { type AnyOperation, defineOperation } from '../../src/call/define.ts'
import { CALL_PROTOCOL } from '../../src/call/frames.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { type CallPair, callPair, deferred } from './support.ts'

const anything = jsonSchema<unknown>(true)

let started = 0
let aborted = 0
let made = 0

const operations: AnyOperation[] = [
  defineOperation({ name: 'echo/say', kind: 'query', access: 'everyone', input: anything, output: anything, handler: (input) => input ?? null }),
  defineOperation({
    name: 'slow/wait',
    kind: 'query',
    access: 'everyone',
    input: anything,
    output: anything,
    deadlineMs: null,
    handler: (_input, { signal }) => {
      started++
      signal.addEventListener('abort', () => aborted++)
      return new Promise(() => undefined)
    },
  }),
  defineOperation({
    name: 'feed/count',
    kind: 'subscription',
    access: 'everyone',
    input: anything,
    output: anything,
    handler: async function* () {
      for (;;) {
        made++
        yield 'x'.repeat(1_000)
      }
    },
  }),
  defineOperation({
    name: 'math/sum',
    kind: 'query',
    access: 'everyone',
    clientStream: true,
    deadlineMs: null,
    input: z.number(),
    output: z.number(),
    handler: async (_input, { inputs }) => {
      let total = 0
      for await (const n of inputs) total += n
      return total
    },
  }),
  defineOperation({
    name: 'chat/echo',
    kind: 'subscription',
    access: 'everyone',
    clientStream: true,
    input: anything,
    output: anything,
    handler: async function* (_input, { inputs }) {
      for await (const one of inputs) yield one
    },
  }),
]

async function pairOf(t: TestContext, options: Parameters<typeof callPair>[1] = {}): Promise<CallPair> {
  const pair = await callPair(operations, options)
  t.after(() => pair.close())
  return pair
}

function frame(kind: number, call: number, ...body: readonly (Uint8Array | readonly number[])[]): Buffer {
  const rest = Buffer.concat(body.map((part) => Uint8Array.from(part)))
  const bytes = Buffer.alloc(9 + rest.length)
  bytes.writeUInt32BE(5 + rest.length)
  bytes[4] = kind
  bytes.writeUInt32BE(call, 5)
  rest.copy(bytes, 9)
  return bytes
}

function request(call: number, path: string, json: string | undefined, flags = 0): Buffer {
  return frame(1, call, [flags, json === undefined ? 0 : 1, path.length], Buffer.from(path), Buffer.from(json ?? ''))
}

interface Raw {
  write(...frames: readonly Uint8Array[]): void
  /** Frames that came back: kind, call, body. */
  readonly frames: { readonly kind: number; readonly call: number; readonly body: Buffer }[]
  readonly error: { code: string | undefined }
  settle(): Promise<void>
}

/** A peer that writes what it likes. */
async function raw(pair: CallPair): Promise<Raw> {
  const stream = await pair.world.settle(pair.near.mesh.openLean('far', CALL_PROTOCOL))
  const frames: { kind: number; call: number; body: Buffer }[] = []
  const error: { code: string | undefined } = { code: undefined }
  let pending: Buffer = Buffer.alloc(0)
  stream.onData = (data, start, end) => {
    pending = Buffer.concat([pending, data.subarray(start, end)])
    stream.consume(end - start)
    while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
      const length = pending.readUInt32BE(0)
      frames.push({ kind: pending[4] as number, call: pending.readUInt32BE(5), body: Buffer.from(pending.subarray(9, 4 + length)) })
      pending = pending.subarray(4 + length)
    }
  }
  stream.onError = (failure) => {
    error.code ??= failure.code
  }
  return {
    write: (...given) => void stream.write(Buffer.concat(given)),
    frames,
    error,
    settle: () => pair.world.run(1),
  }
}

const codeOf = (body: Buffer): string => body.toString('latin1', 2, 2 + (body[1] as number))

describe('a peer that breaks the call protocol', () => {
  for (const [name, frames] of [
    ['a frame of no length', [Buffer.alloc(4)]],
    ['a frame shorter than its head', [Buffer.from([0, 0, 0, 4, 1, 0, 0, 0])]],
    ['a frame longer than any', [Buffer.from([0, 1, 0, 1])]],
    ['a frame of 4 GiB', [Buffer.from([255, 255, 255, 255])]],
    ['an unknown kind', [request(1, '/slow/wait', '1'), frame(9, 1)]],
    ['an answer to nobody', [request(1, '/slow/wait', '1'), frame(4, 1, [0, 1, 65, 0, 0])]],
    ['a number used twice', [request(1, '/slow/wait', '1'), request(1, '/slow/wait', '1')]],
    ['a number that goes back', [request(5, '/slow/wait', '1'), request(4, '/slow/wait', '1')]],
    ['number 0', [request(0, '/slow/wait', '1')]],
    ['a cancellation of a call never begun', [frame(5, 7, [0])]],
    ['credit for a call never begun', [frame(6, 7, [0, 0, 0, 1])]],
    ['an input that was not announced', [request(1, '/slow/wait', '1'), frame(2, 1, [1], Buffer.from('1'))]],
    ['an input behind the end of inputs', [request(1, '/math/sum', undefined, 2), frame(3, 1, [0]), frame(2, 1, [1], Buffer.from('1'))]],
    ['two ends of inputs', [request(1, '/slow/wait', undefined, 2), frame(3, 1, [0]), frame(3, 1, [0])]],
    ['an input beside a stream of inputs', [request(1, '/math/sum', '1', 2)]],
    ['a value with the end of inputs', [request(1, '/math/sum', undefined, 2), frame(3, 1, [1], Buffer.from('1'))]],
    ['an unknown form', [frame(1, 1, [0, 16, 4], Buffer.from('/a/b'))]],
    ['a path of no length', [frame(1, 1, [0, 0, 0])]],
    ['a path beyond the frame', [frame(1, 1, [0, 0, 200], Buffer.from('/a/b'))]],
    ['a path that is not ASCII', [frame(1, 1, [0, 0, 4], Buffer.from('/ä/', 'utf8'))]],
    ['a trace that is cut', [frame(1, 1, [4, 0, 4], Buffer.from('/a/b'), [1, 2, 3])]],
    ['an empty statement', [frame(1, 1, [128, 0, 4], Buffer.from('/a/b'), [0, 0])]],
    ['a piece of nothing', [request(1, '/slow/wait', '1'), frame(7, 1, [1, 1])]],
    ['no credit', [request(1, '/slow/wait', '1'), frame(6, 1, [0, 0, 0, 0])]],
    ['more credit than there is', [request(1, '/feed/count', '1', 1), frame(6, 1, [127, 255, 255, 255]), frame(6, 1, [127, 255, 255, 255])]],
    ['credit with something behind it', [request(1, '/slow/wait', '1'), frame(6, 1, [0, 0, 0, 1, 0])]],
    ['a first piece that is the whole', [frame(1, 1, [0, 5, 4], Buffer.from('/a/b'), [0, 0, 0, 1], Buffer.from('1'))]],
    ['pieces beyond the whole', [frame(1, 1, [0, 5, 4], Buffer.from('/a/b'), [0, 0, 0, 2], Buffer.from('1')), frame(7, 1, [0], Buffer.from('234'))]],
    ['an empty piece', [frame(1, 1, [0, 5, 4], Buffer.from('/a/b'), [0, 0, 0, 2], Buffer.from('1')), frame(7, 1, [1])]],
    ['a piece that ends too early', [frame(1, 1, [0, 5, 4], Buffer.from('/a/b'), [0, 0, 0, 9], Buffer.from('1')), frame(7, 1, [0], Buffer.from('2'))]],
    ['an end inside pieces', [frame(1, 1, [2, 0, 9], Buffer.from('/math/sum')), frame(2, 1, [5, 0, 0, 0, 9], Buffer.from('1')), frame(3, 1, [0])]],
  ] as const) {
    it(`${name}: the stream is reset with WIRE_MALFORMED, nothing else is disturbed`, async (t) => {
      const pair = await pairOf(t)
      const peer = await raw(pair)
      peer.write(...frames)
      await peer.settle()
      assert.equal(peer.error.code, 'WIRE_MALFORMED')
      assert.equal(pair.violations.length, 1)
      assert.equal(pair.server.running, 0)
      assert.equal(await pair.world.settle(pair.client.call('far', '/echo/say', 'well')), 'well')
    })
  }

  it('more inputs than there is credit for: the stream is reset', async (t) => {
    const pair = await pairOf(t)
    const peer = await raw(pair)
    // Nobody reads these: the operation takes one input.
    const item = frame(2, 1, [1], Buffer.from(JSON.stringify('x'.repeat(30_000))))
    peer.write(request(1, '/chat/echo', undefined, 2 | 1))
    await peer.settle()
    for (let i = 0; i < 60; i++) peer.write(item)
    await peer.settle()
    assert.equal(peer.error.code, 'WIRE_MALFORMED')
    assert.deepEqual(pair.violations, ['more than the credit'])
  })

  it('words that crossed the last one of the acceptor are ignored', async (t) => {
    const pair = await pairOf(t)
    const peer = await raw(pair)
    peer.write(request(1, '/echo/say', '1'))
    await peer.settle()
    peer.write(
      frame(5, 1, [0]),
      frame(6, 1, [0, 0, 0, 9]),
      frame(3, 1, [0]),
      frame(2, 1, [1], Buffer.from('1')),
      frame(7, 1, [1, 1]),
      request(2, '/echo/say', '2'),
    )
    await peer.settle()
    assert.equal(peer.error.code, undefined)
    assert.deepEqual(
      peer.frames.map(({ kind, call }) => [kind, call]),
      [
        [3, 1],
        [3, 2],
      ],
    )
  })

  for (const [name, body, code] of [
    ['no JSON', '{"a":', 'CALL_INPUT'],
    ['JSON nested too deeply', `${'['.repeat(70)}${']'.repeat(70)}`, 'CALL_INPUT'],
    ['JSON with a prototype in it', '{"__proto__":{"admin":true}}', 'CALL_INPUT'],
  ] as const) {
    it(`an input that is ${name} is answered with ${code}, and the stream goes on`, async (t) => {
      const pair = await pairOf(t)
      const peer = await raw(pair)
      peer.write(request(1, '/echo/say', body), request(2, '/echo/say', '2'))
      await peer.settle()
      const answer = peer.frames.find(({ call }) => call === 1)
      assert.deepEqual([answer?.kind, codeOf(answer?.body as Buffer)], [4, code])
      assert.equal(peer.frames.find(({ call }) => call === 2)?.kind, 3)
    })
  }

  it('10 MB of JSON are refused when they are announced, before they come', async (t) => {
    const pair = await pairOf(t)
    const peer = await raw(pair)
    const announced = Buffer.alloc(4)
    announced.writeUInt32BE(10_000_000)
    peer.write(frame(1, 1, [0, 5, 9], Buffer.from('/echo/say'), announced, Buffer.from('"')))
    await peer.settle()
    assert.deepEqual([peer.frames[0]?.kind, codeOf(peer.frames[0]?.body as Buffer)], [4, 'MESSAGE_TOO_LARGE'])
    await assert.rejects(
      pair.world.settle(pair.client.call('far', '/echo/say', 'x'.repeat(10_000_000))),
      (error) => isKithError(error, 'MESSAGE_TOO_LARGE') && error.remote,
    )
    assert.equal(await pair.world.settle(pair.client.call('far', '/echo/say', 'well')), 'well')
  })

  it('long payloads together take no more than their budget', async (t) => {
    const pair = await pairOf(t, { limits: { budgetBytes: 3_000_000 } })
    const peer = await raw(pair)
    const announced = Buffer.alloc(4)
    announced.writeUInt32BE(2_000_000)
    for (let call = 1; call <= 2; call++) peer.write(frame(1, call, [0, 5, 9], Buffer.from('/echo/say'), announced, Buffer.from('"')))
    await peer.settle()
    assert.deepEqual(
      peer.frames.map(({ kind, call, body }) => [kind, call, codeOf(body)]),
      [[4, 2, 'BUDGET_EXCEEDED']],
    )
  })

  it('calls beyond the limit wait, and beyond that are refused; none is lost', async (t) => {
    const pair = await pairOf(t, { limits: { calls: 2, waiting: 3 } })
    const peer = await raw(pair)
    const before = started
    for (let call = 1; call <= 7; call++) peer.write(request(call, '/slow/wait', '1'))
    await peer.settle()
    assert.equal(started - before, 2)
    assert.deepEqual(
      peer.frames.map(({ call, body }) => [call, codeOf(body)]),
      [
        [6, 'BUDGET_EXCEEDED'],
        [7, 'BUDGET_EXCEEDED'],
      ],
    )
    peer.write(frame(5, 1, [0]), frame(5, 3, [0]))
    await peer.settle()
    assert.equal(started - before, 3)
    assert.equal(pair.server.running, 2)
  })

  it('a stream that is cancelled at once, again and again, leaves nothing behind', async (t) => {
    const pair = await pairOf(t)
    const peer = await raw(pair)
    for (let call = 1; call <= 2_000; call++) peer.write(request(call, '/feed/count', '1', 1), frame(5, call, [0]))
    await peer.settle()
    assert.equal(pair.server.running, 0)
    assert.equal(peer.error.code, undefined)
    assert.equal(peer.frames.filter(({ kind }) => kind === 4).length, 2_000)
  })

  it('a statement that nobody believes refuses the call', async (t) => {
    const pair = await pairOf(t, {
      callerOf: (_context, statement) => (statement === undefined ? { id: 'x', via: 'link', scopes: new Set(), resources: new Map() } : undefined),
    })
    const peer = await raw(pair)
    peer.write(frame(1, 1, [128, 0, 9], Buffer.from('/echo/say'), [0, 3, 1, 2, 3]))
    await peer.settle()
    assert.equal(codeOf(peer.frames[0]?.body as Buffer), 'CALL_DENIED')
  })
})

describe('an acceptor that breaks the call protocol', () => {
  for (const [name, answers] of [
    ['an answer to a call never made', [frame(3, 99, [0])]],
    ['two answers', [frame(3, 1, [0]), frame(3, 1, [0])]],
    ['an item where one answer was asked for', [frame(2, 1, [1], Buffer.from('1'))]],
    ['a request', [request(1, '/a/b', '1')]],
    ['an error whose code is cut', [frame(4, 1, [0, 9, 65])]],
    ['a frame longer than any', [Buffer.from([1, 0, 0, 0])]],
  ] as const) {
    it(`${name}: every call of the stream ends in one LINK_LOST, the next goes on`, async (t) => {
      const pair = await callPair([])
      t.after(() => pair.close())
      pair.server.close()
      let count = 0
      pair.far.mesh.handleLean(
        CALL_PROTOCOL,
        (stream) => {
          let answered = false
          stream.onData = (_data, start, end) => {
            stream.consume(end - start)
            if (answered) return
            answered = true
            if (count++ === 0) stream.write(Buffer.concat(answers))
            else stream.write(frame(3, 1, [1], Buffer.from('"well"')))
          }
        },
        { access: 'everyone' },
      )
      const calls = [pair.client.call('far', '/a/b', 1), pair.client.call('far', '/a/b', 2)]
      const outcomes = (await pair.world.settle(Promise.allSettled(calls))).map((result) =>
        result.status === 'rejected' ? (result.reason as KithError).code : 'answered',
      )
      assert.equal(outcomes[1], 'LINK_LOST')
      assert.ok(outcomes[0] === 'LINK_LOST' || name === 'two answers')
      assert.equal(await pair.world.settle(pair.client.call('far', '/a/b', 3)), 'well')
    })
  }
})

describe('the life of a call on a link', () => {
  it('a lost link ends each call in one retryable error, and the handlers are told', async (t) => {
    const pair = await pairOf(t)
    const before = aborted
    const calls = Array.from({ length: 5 }, () => pair.client.call('far', '/slow/wait', 1))
    const stream = pair.client.stream('far', '/feed/count', 1)
    const outcome = Promise.allSettled([
      ...calls,
      stream
        .next()
        .then(() => stream.next())
        .then(async () => {
          for await (const _ of stream);
        }),
    ])
    await pair.world.run(5)
    pair.server.close(new KithError('LINK_LOST'))
    for (const result of await pair.world.settle(outcome)) {
      assert.ok(result.status === 'rejected' && isKithError(result.reason, 'LINK_LOST') && result.reason.retryable)
    }
    assert.equal(aborted - before, 5)
  })

  it('an abort here aborts the handler there, and the call ends at once', async (t) => {
    const pair = await pairOf(t)
    const before = aborted
    const abort = new AbortController()
    const call = pair.client.call('far', '/slow/wait', 1, { signal: abort.signal })
    await pair.world.run(5)
    abort.abort()
    await assert.rejects(call, (error) => isKithError(error, 'ABORTED'))
    await pair.world.run(5)
    assert.equal(aborted - before, 1)
    assert.equal(pair.server.running, 0)
  })

  it('a signal that is aborted already makes no call', async (t) => {
    const pair = await pairOf(t)
    const before = started
    await assert.rejects(pair.client.call('far', '/slow/wait', 1, { signal: AbortSignal.abort() }), (error) => isKithError(error, 'ABORTED'))
    await pair.world.run(5)
    assert.equal(started, before)
  })

  it('the deadline counts on both sides', async (t) => {
    const pair = await pairOf(t)
    const before = aborted
    const call = pair.client.call('far', '/slow/wait', 1, { deadlineMs: 300 })
    await pair.world.settle(assert.rejects(call, (error) => isKithError(error, 'CALL_TIMEOUT')))
    await pair.world.run(5)
    assert.equal(aborted - before, 1)
    assert.equal(pair.server.running, 0)
  })

  it('breaking off a stream ends it there', async (t) => {
    const pair = await pairOf(t)
    await pair.world.settle(
      (async () => {
        for await (const _item of pair.client.stream('far', '/feed/count', 1)) break
      })(),
    )
    await pair.world.run(5)
    assert.equal(pair.server.running, 0)
  })

  it('a reader that stops holds its own stream back and nobody else', async (t) => {
    const pair = await pairOf(t)
    const before = made
    const stream = pair.client.stream('far', '/feed/count', 1)
    await pair.world.settle(stream.next())
    await pair.world.run(50)
    const held = made - before
    assert.ok(held > 10 && held < 700, `${held} items were made for a reader that took one`)
    await pair.world.run(50)
    assert.equal(made - before, held)
    assert.equal(await pair.world.settle(pair.client.call('far', '/echo/say', 'well')), 'well')
    for (let i = 0; i < 2_000; i++) await pair.world.settle(stream.next())
    assert.ok(made - before >= 2_000)
    await stream.return?.()
  })

  it('a small call overtakes a long one', async (t) => {
    const pair = await pairOf(t)
    const order: string[] = []
    const long = pair.client.call('far', '/echo/say', 'x'.repeat(3_000_000)).then(() => order.push('long'))
    const short = pair.client.call('far', '/echo/say', 'x').then(() => order.push('short'))
    await pair.world.settle(Promise.all([long, short]))
    assert.deepEqual(order, ['short', 'long'])
  })

  it('streams of inputs, and both ways at once', async (t) => {
    const pair = await pairOf(t)
    async function* numbers(count: number): AsyncGenerator<number> {
      for (let i = 1; i <= count; i++) yield i
    }
    assert.equal(await pair.world.settle(pair.client.call('far', '/math/sum', undefined, { inputs: numbers(20_000) })), 200_010_000)
    const seen: unknown[] = []
    await pair.world.settle(
      (async () => {
        for await (const { value } of pair.client.stream('far', '/chat/echo', undefined, { inputs: numbers(1_000) })) seen.push(value)
      })(),
    )
    assert.deepEqual(
      seen,
      Array.from({ length: 1_000 }, (_, i) => i + 1),
    )
  })

  it('inputs that fail end the call here and there', async (t) => {
    const pair = await pairOf(t)
    async function* broken(): AsyncGenerator<number> {
      yield 1
      throw new Error('the sensor fell off')
    }
    await pair.world.settle(assert.rejects(pair.client.call('far', '/math/sum', undefined, { inputs: broken() }), (error) => isKithError(error, 'ABORTED')))
    await pair.world.run(5)
    assert.equal(pair.server.running, 0)
  })

  it('bytes travel as bytes, CBOR as CBOR', async (t) => {
    const pair = await pairOf(t)
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i)
    assert.deepEqual(await pair.world.settle(pair.client.call('far', '/echo/say', bytes)), bytes)
    const value = { name: 'x', key: Uint8Array.of(1, 2, 3), list: [1, -2, 3.5, null, true] }
    assert.deepEqual(await pair.world.settle(pair.client.call('far', '/echo/say', value, { encoding: 'cbor' })), value)
  })

  it('an input that cannot travel is the caller’s mistake, and harms nothing', async (t) => {
    const pair = await pairOf(t)
    await pair.world.settle(pair.client.call('far', '/echo/say', 1))
    const circle: { self?: unknown } = {}
    circle.self = circle
    for (const input of [1n, circle, () => 1]) await assert.rejects(pair.client.call('far', '/echo/say', input), TypeError)
    assert.equal(await pair.world.settle(pair.client.call('far', '/echo/say', 'well')), 'well')
  })

  it('a revoked caller’s streams end', async (t) => {
    const revoked = new AbortController()
    const pair = await pairOf(t, { callerOf: ({ peer }) => ({ id: peer, via: 'link', scopes: new Set(), resources: new Map(), revoked: revoked.signal }) })
    const call = pair.client.call('far', '/slow/wait', 1)
    await pair.world.run(5)
    revoked.abort()
    await pair.world.settle(assert.rejects(call, (error) => isKithError(error, 'POLICY_DENIED')))
  })

  it('who calls is asked anew after a change', async (t) => {
    let change = (): void => undefined
    let scopes: string[] = []
    const pair = await callPair(
      [defineOperation({ name: 'secret/read', kind: 'query', access: { all: ['secret'] }, input: anything, output: anything, handler: () => 'secret' })],
      {
        callerOf: async ({ peer }) => ({ id: peer, via: 'link', scopes: new Set(scopes), resources: new Map() }),
        onChange: (listener) => {
          change = listener
          return () => undefined
        },
      },
    )
    t.after(() => pair.close())
    const ask = (): Promise<unknown> => pair.world.settle(pair.client.call('far', '/secret/read').catch((error: unknown) => (error as KithError).code))
    assert.equal(await ask(), 'CALL_UNKNOWN')
    scopes = ['secret']
    change()
    assert.equal(await ask(), 'secret')
    scopes = []
    change()
    assert.equal(await ask(), 'CALL_UNKNOWN')
  })

  it('draining refuses new calls, waits for those under way', async (t) => {
    const gate = deferred()
    const pair = await callPair([
      defineOperation({
        name: 'slow/gate',
        kind: 'query',
        access: 'everyone',
        input: anything,
        output: anything,
        handler: () => gate.promise.then(() => 'done'),
      }),
    ])
    t.after(() => pair.close())
    const call = pair.client.call('far', '/slow/gate')
    await pair.world.run(5)
    let drained = false
    const draining = pair.server.drain().then(() => {
      drained = true
    })
    await pair.world.settle(assert.rejects(pair.client.call('far', '/slow/gate'), (error) => isKithError(error, 'GOING_AWAY') && error.retryable))
    assert.equal(drained, false)
    gate.resolve()
    assert.equal(await pair.world.settle(call), 'done')
    await pair.world.settle(draining)
  })

  it('an unused stream is ended, and the next call opens another', async (t) => {
    const pair = await pairOf(t)
    await pair.world.settle(pair.client.call('far', '/echo/say', 1))
    await pair.world.run(130_000)
    assert.equal(pair.near.mesh.links()[0]?.streams, 0)
    assert.equal(await pair.world.settle(pair.client.call('far', '/echo/say', 2)), 2)
  })

  it('closing the client ends its calls with CLOSED', async (t) => {
    const pair = await pairOf(t)
    const call = pair.client.call('far', '/slow/wait', 1)
    await pair.world.run(5)
    pair.client.close()
    await assert.rejects(call, (error) => isKithError(error, 'CLOSED'))
  })

  it('a peer that serves no calls is told by its code', async (t) => {
    const pair = await pairOf(t)
    pair.server.close()
    await pair.world.settle(assert.rejects(pair.client.call('far', '/echo/say', 1), (error) => isKithError(error, 'PROTOCOL_UNKNOWN')))
  })
})

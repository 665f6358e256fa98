import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { type AnyOperation, type CallContext, defineOperation, Event } from '../../src/call/define.ts'
import { CallError } from '../../src/call/errors.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { MAX_NESTED } from '../../src/call/running.ts'
import { type AnySchema, jsonSchema } from '../../src/call/schema.ts'
import { MAX_STRAGGLERS } from '../../src/call/stragglers.ts'
import type { Callee } from '../../src/call/types.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { deferred, localWorld, owner, testCaller } from './support.ts'

const anything = jsonSchema<unknown>(true)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function op(name: string, handler: (input: unknown, context: CallContext) => unknown, more: object = {}): AnyOperation {
  return defineOperation({ name, kind: 'query', access: 'everyone', input: anything, output: anything, ...more, handler })
}

describe('definitions', () => {
  const spec = { kind: 'query', input: anything, output: anything, handler: () => null } as const
  for (const name of ['', 'echo', 'a/b/c', '/a/b', '1a/b', 'a/', 'a b/c', 'a/../b', `${'a'.repeat(65)}/b`, '__proto__/x', 'a/b\n']) {
    it(`the name ${JSON.stringify(name.slice(0, 20))} is refused`, () => assert.throws(() => defineOperation({ ...spec, name }), TypeError))
  }
  it('bad options are refused', () => {
    for (const more of [
      { deadlineMs: 0 },
      { deadlineMs: 1e12 },
      { grants: ['with blank'] },
      { resumable: true },
      { summary: 'x'.repeat(501) },
      { access: { all: [''] } },
    ]) {
      assert.throws(() => defineOperation({ ...spec, name: 'a/b', ...more }), TypeError)
    }
    assert.throws(() => defineOperation({ ...spec, name: 'a/b', errors: { lower: anything } }), TypeError)
  })
  it('an operation of a taken name is refused and the first one stays', () => {
    const first = op('a/b', () => 1)
    const registry = createRegistry([first])
    assert.throws(
      () => registry.registerAll([op('c/d', () => 2), op('a/b', () => 3)]),
      (error) => isKithError(error, 'CALL_CONFLICT'),
    )
    assert.equal(registry.get('a/b'), first)
    assert.equal(registry.get('c/d'), undefined)
  })
  it('taking an operation out again does not take out its successor', () => {
    const registry = createRegistry()
    const withdraw = registry.register(op('a/b', () => 1))
    withdraw()
    const second = op('a/b', () => 2)
    registry.register(second)
    withdraw()
    assert.equal(registry.get('a/b'), second)
  })
})

describe('validation', () => {
  it('an input that does not fit reaches no handler, and its value is not repeated', async () => {
    let ran = false
    const { callee } = localWorld([
      op(
        'a/b',
        () => {
          ran = true
        },
        { input: z.object({ pin: z.number() }) },
      ),
    ])
    await assert.rejects(callee.call({ caller: owner, path: '/a/b', input: { pin: 'secret-4711' } }), (error) => {
      assert.ok(isKithError(error, 'CALL_INPUT'))
      assert.equal(error.details.path, '/pin')
      assert.doesNotMatch(JSON.stringify(error), /4711/)
      return true
    })
    assert.equal(ran, false)
  })

  it('the handler gets what the schema makes of the input', async () => {
    const { callee } = localWorld([op('a/b', (input) => input, { input: z.object({ n: z.number().default(7) }) })])
    assert.deepEqual(await callee.call({ caller: owner, path: '/a/b', input: { extra: 1 } }), { n: 7 })
  })

  it('a handler that answers against its schema fails without a word of the value', async () => {
    const { callee, lines } = localWorld([op('a/b', () => ({ internal: 'secret' }), { output: z.object({ n: z.number() }) })])
    await assert.rejects(
      callee.call({ caller: owner, path: '/a/b' }),
      (error) => isKithError(error, 'CALL_FAILED') && !JSON.stringify(error).includes('secret'),
    )
    assert.equal(lines.at(-1)?.event, 'operation answered against its schema')
  })

  it('fields that the schema does not name do not leave', async () => {
    const { callee } = localWorld([op('a/b', () => ({ n: 1, internal: 'secret' }), { output: z.object({ n: z.number() }) })])
    assert.deepEqual(await callee.call({ caller: owner, path: '/a/b' }), { n: 1 })
  })

  it('an exception becomes CALL_FAILED without its message', async () => {
    for (const thrown of [new Error('db password is hunter2'), new KithError('STORE_FAILED', 'at /var/ann/store'), 'text', undefined]) {
      const { callee, lines } = localWorld([
        op('a/b', () => {
          throw thrown
        }),
      ])
      await assert.rejects(callee.call({ caller: owner, path: '/a/b' }), (error) => {
        assert.ok(isKithError(error, 'CALL_FAILED'))
        assert.doesNotMatch(JSON.stringify(error), /hunter2|home/)
        return true
      })
      assert.equal(lines.at(-1)?.event, 'operation failed')
    }
  })

  it('a declared error passes with data that fits, and only then', async () => {
    const errors = { OUT_OF_STOCK: z.object({ left: z.number() }), VAULT_LOCKED: anything }
    const failing = (error: unknown): AnyOperation =>
      op(
        'a/b',
        () => {
          throw error
        },
        { errors },
      )
    const outcome = async (error: unknown): Promise<unknown> =>
      await localWorld([failing(error)])
        .callee.call({ caller: owner, path: '/a/b' })
        .catch((caught: unknown) => (caught instanceof CallError ? [caught.reason, caught.data] : isKithError(caught) ? caught.code : caught))
    assert.deepEqual(await outcome(new CallError('OUT_OF_STOCK', 'gone', { data: { left: 0, internal: 1 } })), ['OUT_OF_STOCK', { left: 0 }])
    assert.equal(await outcome(new CallError('OUT_OF_STOCK', 'gone', { data: { left: 'none' } })), 'CALL_FAILED')
    assert.equal(await outcome(new CallError('OTHER', 'gone')), 'CALL_FAILED')
    assert.equal(await outcome(new KithError('VAULT_LOCKED')), 'VAULT_LOCKED')
  })
})

describe('access', () => {
  const operations = [
    op('open/read', () => 'open'),
    op('scoped/read', () => 'scoped', { access: { all: ['a', 'b'], any: ['x', 'y'] } }),
    op('listed/read', () => 'listed', { access: { all: ['a'] }, visibility: 'listed' }),
    op('inner/read', () => 'inner', { visibility: 'internal' }),
    op('plain/read', () => 'plain', { access: undefined }),
    op('resource/read', () => 'resource', { access: { resource: { type: 'bucket:photos', action: 'read' } } }),
  ]
  const outcome = async (path: string, caller = testCaller('did:x')): Promise<unknown> =>
    await localWorld(operations)
      .callee.call({ caller, path })
      .catch((error: unknown) => (isKithError(error) ? JSON.stringify(error) : error))

  it('all-of and any-of scopes and resources decide', async () => {
    assert.equal(await outcome('/scoped/read', testCaller('did:x', ['a', 'b', 'y'])), 'scoped')
    for (const scopes of [['a', 'b'], ['a', 'x'], ['b', 'y'], []])
      assert.match(String(await outcome('/scoped/read', testCaller('did:x', scopes))), /CALL_UNKNOWN/)
    assert.equal(await outcome('/resource/read', testCaller('did:x', [], { 'bucket:photos': ['read'] })), 'resource')
    assert.match(String(await outcome('/resource/read', testCaller('did:x', [], { 'bucket:photos': ['write'] }))), /CALL_UNKNOWN/)
  })

  it('what is hidden, internal, unknown, of another node or no path is answered alike', async () => {
    const answers = await Promise.all(
      ['/scoped/read', '/plain/read', '/inner/read', '/no/such', '/node/open/read', 'nonsense', '', '/', '//', `/a/${'x'.repeat(300)}`].map((path) =>
        outcome(path),
      ),
    )
    assert.equal(new Set(answers).size, 1)
    assert.match(String(answers[0]), /CALL_UNKNOWN/)
  })

  it('authorisation is asked once for each, hidden or not there', async () => {
    const asked: string[] = []
    const { callee } = localWorld(operations, {
      authorize: (_caller, { name }) => {
        asked.push(name)
        return 'hidden'
      },
    })
    for (const path of ['/scoped/read', '/no/such', 'nonsense']) await assert.rejects(callee.call({ caller: owner, path }))
    assert.deepEqual(asked, ['scoped/read', 'no/such', 'unknown/unknown'])
  })

  it('an operation that is listed says that it is denied', async () => {
    assert.match(String(await outcome('/listed/read')), /CALL_DENIED/)
  })

  it('internal operations are out of reach even for the owner', async () => {
    assert.match(String(await outcome('/inner/read', owner)), /CALL_UNKNOWN/)
  })

  it('lists and describes only what the caller may know of', async () => {
    const { callee } = localWorld(operations)
    const names = async (caller = testCaller('did:x')): Promise<string[]> => {
      const { operations: list } = (await callee.call({ caller, path: '/services/list' })) as { operations: { name: string }[] }
      return list.map(({ name }) => name)
    }
    assert.deepEqual(await names(), ['listed/read', 'open/read', 'services/list', 'services/schema'])
    assert.deepEqual(await names(testCaller('did:x', ['a', 'b', 'x'])), ['listed/read', 'open/read', 'scoped/read', 'services/list', 'services/schema'])
    assert.ok(!(await names(owner)).includes('inner/read'))
    const schema = (name: string): Promise<unknown> => callee.call({ caller: testCaller('did:x'), path: '/services/schema', input: { name } })
    assert.equal(((await schema('open/read')) as { kind: string }).kind, 'query')
    const refusals = await Promise.all(['scoped/read', 'no/such', 'inner/read'].map((name) => schema(name).catch((error: unknown) => JSON.stringify(error))))
    assert.equal(new Set(refusals).size, 1)
    assert.match(String(refusals[0]), /CALL_UNKNOWN/)
  })
})

describe('deadlines and cancellation', () => {
  const hanging = (seen: AbortSignal[]): AnyOperation =>
    op('slow/wait', (_input, { signal }) => {
      seen.push(signal)
      return new Promise(() => undefined)
    })

  it('a call that nobody answers ends in CALL_TIMEOUT, and the handler is told', async () => {
    const seen: AbortSignal[] = []
    const { callee, clock } = localWorld([hanging(seen)])
    const call = assert.rejects(
      callee.call({ caller: owner, path: '/slow/wait', deadlineMs: 200 }),
      (error) => isKithError(error, 'CALL_TIMEOUT') && error.retryable,
    )
    await clock.run(199)
    assert.equal(seen[0]?.aborted, false)
    await clock.run(1)
    await call
    assert.equal(seen[0]?.aborted, true)
    assert.equal(clock.pending, 0)
  })

  it('without a deadline of the caller, 30 s', async () => {
    const { callee, clock } = localWorld([hanging([])])
    const call = assert.rejects(callee.call({ caller: owner, path: '/slow/wait' }), (error) => isKithError(error, 'CALL_TIMEOUT'))
    await clock.run(30_000)
    await call
  })

  it('the shorter of both deadlines counts', async () => {
    const { callee } = localWorld([op('a/b', (_input, { deadlineMs }) => deadlineMs, { deadlineMs: 100 })])
    assert.equal(await callee.call({ caller: owner, path: '/a/b', deadlineMs: 5_000 }), 100)
    assert.equal(await callee.call({ caller: owner, path: '/a/b', deadlineMs: 50 }), 50)
  })

  it('many deadlines need one timer', async () => {
    const { callee, clock } = localWorld([hanging([])])
    const calls = Array.from({ length: 100 }, (_, i) =>
      callee.call({ caller: owner, path: '/slow/wait', deadlineMs: 1_000 - i }).catch((error: unknown) => error),
    )
    assert.equal(clock.pending, 1)
    await clock.run(1_000)
    for (const error of await Promise.all(calls)) assert.ok(isKithError(error, 'CALL_TIMEOUT'))
  })

  it('an abort reaches the handler and everything it called', async () => {
    const seen: AbortSignal[] = []
    const { callee } = localWorld([
      hanging(seen),
      op('outer/call', async (_input, { call, signal }) => {
        seen.push(signal)
        return await call('/middle/call')
      }),
      op('middle/call', async (_input, { call }) => await call('/slow/wait')),
    ])
    const abort = new AbortController()
    const call = callee.call({ caller: owner, path: '/outer/call', signal: abort.signal })
    await turn()
    assert.equal(seen.length, 2)
    abort.abort()
    await assert.rejects(call, (error) => isKithError(error, 'ABORTED'))
    assert.ok(seen.every((signal) => signal.aborted))
  })

  it('no signal is made for a handler that does not ask for one', async () => {
    const controllers = globalThis.AbortController
    let made = 0
    globalThis.AbortController = class extends controllers {
      constructor() {
        super()
        made++
      }
    }
    try {
      const { callee } = localWorld([op('a/b', () => 1)])
      await callee.call({ caller: owner, path: '/a/b' })
      assert.equal(made, 0)
    } finally {
      globalThis.AbortController = controllers
    }
  })

  it('a caller that gives up again and again cannot have any number of handlers at work', async () => {
    const gate = deferred()
    const { callee } = localWorld([op('slow/deaf', () => gate.promise)])
    const caller = testCaller('did:rude')
    const give = async (): Promise<unknown> => {
      const abort = new AbortController()
      const call = callee.call({ caller, path: '/slow/deaf', signal: abort.signal })
      abort.abort()
      return await call.catch((error: unknown) => (isKithError(error) ? error.code : error))
    }
    for (let i = 0; i < MAX_STRAGGLERS; i++) assert.equal(await give(), 'ABORTED')
    assert.equal(await give(), 'BUDGET_EXCEEDED')
    const other = new AbortController()
    const call = callee.call({ caller: testCaller('did:other'), path: '/slow/deaf', signal: other.signal })
    other.abort()
    await assert.rejects(call, (error) => isKithError(error, 'ABORTED'))
    gate.resolve()
    await turn()
    assert.equal(await give(), 'ABORTED')
  })

  it('nor any number of streams whose handlers do not listen', async () => {
    const gate = deferred()
    const { callee } = localWorld([
      op(
        'feed/deaf',
        async function* () {
          await gate.promise
          yield 1
        },
        { kind: 'subscription' },
      ),
    ])
    const give = async (): Promise<unknown> => {
      const abort = new AbortController()
      const next = callee.stream({ caller: owner, path: '/feed/deaf', signal: abort.signal }).next()
      abort.abort()
      return await next.catch((error: unknown) => (isKithError(error) ? error.code : error))
    }
    for (let i = 0; i < MAX_STRAGGLERS; i++) assert.equal(await give(), 'ABORTED')
    assert.equal(await give(), 'BUDGET_EXCEEDED')
    gate.resolve()
    for (let i = 0; i < 5; i++) await turn()
    assert.equal(await give(), 'ABORTED')
  })

  it('closing ends what runs', async () => {
    const { callee } = localWorld([hanging([])])
    const call = assert.rejects(callee.call({ caller: owner, path: '/slow/wait' }), (error) => isKithError(error, 'CLOSED'))
    callee.close()
    await call
    await assert.rejects(callee.call({ caller: owner, path: '/slow/wait' }), (error) => isKithError(error, 'CLOSED'))
  })
})

describe('calls within calls', () => {
  it('a handler has no more authority than its caller: the confused deputy stays harmless', async () => {
    const { callee } = localWorld([
      op('secret/read', () => 'secret', { access: { all: ['secret'] } }),
      op('helper/fetch', async (_input, { call }) => await call('/secret/read').catch((error: unknown) => (isKithError(error) ? error.code : error))),
    ])
    assert.equal(await callee.call({ caller: testCaller('did:x'), path: '/helper/fetch' }), 'CALL_UNKNOWN')
    assert.equal(await callee.call({ caller: testCaller('did:x', ['secret']), path: '/helper/fetch' }), 'secret')
  })

  it('what it was granted counts for its own calls only', async () => {
    const seen: (readonly string[])[] = []
    const { callee } = localWorld([
      op('secret/read', (_input, { caller }) => [caller.id, ...caller.scopes], { access: { all: ['secret'] } }),
      op(
        'helper/fetch',
        async (_input, { call, caller }) => {
          seen.push([...caller.scopes])
          return await call('/secret/read')
        },
        { grants: ['secret'] },
      ),
    ])
    assert.deepEqual(await callee.call({ caller: testCaller('did:x', ['own']), path: '/helper/fetch' }), ['did:x', 'own', 'secret'])
    assert.deepEqual(seen, [['own']])
  })

  it('grants do not reach what the granted call calls in turn, unless that was granted them too', async () => {
    const { callee } = localWorld([
      op('vault/open', () => 'opened', { access: { all: ['vault'] } }),
      op('inner/relay', async (_input, { call, caller }) => [[...caller.scopes], await call('/vault/open')]),
      op('outer/relay', async (_input, { call }) => await call('/inner/relay'), { grants: ['vault'] }),
    ])
    // The inner one runs with what its caller, the outer handler, had: authority is of the chain, and never grows by itself.
    assert.deepEqual(await callee.call({ caller: testCaller('did:x'), path: '/outer/relay' }), [['vault'], 'opened'])
    await assert.rejects(callee.call({ caller: testCaller('did:x'), path: '/inner/relay' }), (error) => isKithError(error, 'CALL_FAILED'))
  })

  it('keeps the trace, names the parent, gives each call an id of its own, shrinks the deadline', async () => {
    const seen: { id: string; parentId: string | undefined; traceId: string; deadlineMs: number | null; caller: string }[] = []
    const note = ({ id, parentId, traceId, deadlineMs, caller }: CallContext): void => {
      seen.push({ id, parentId, traceId, deadlineMs, caller: caller.id })
    }
    const { callee, clock } = localWorld([
      op('outer/call', async (_input, context) => {
        note(context)
        clock.advance(100)
        await context.call('/inner/call')
        return await context.call('/inner/call', null, { deadlineMs: 50 })
      }),
      op('inner/call', (_input, context) => note(context)),
    ])
    const traceId = 'ab'.repeat(16)
    await callee.call({ caller: testCaller('did:x'), path: '/outer/call', traceId, deadlineMs: 1_000, parentId: '11'.repeat(8) })
    const [outer, first, second] = seen
    assert.equal(outer?.parentId, '11'.repeat(8))
    assert.deepEqual([first?.parentId, second?.parentId], [outer?.id, outer?.id])
    assert.equal(new Set(seen.map(({ id }) => id)).size, 3)
    assert.ok(seen.every((one) => one.traceId === traceId && one.caller === 'did:x' && /^[0-9a-f]{16}$/.test(one.id)))
    assert.deepEqual(
      seen.map(({ deadlineMs }) => deadlineMs),
      [1_000, 900, 50],
    )
  })

  it('internal operations are for handlers only', async () => {
    const { callee } = localWorld([
      op('inner/read', () => 'inner', { visibility: 'internal' }),
      op('outer/read', async (_input, { call }) => await call('/inner/read')),
    ])
    assert.equal(await callee.call({ caller: testCaller('did:x'), path: '/outer/read' }), 'inner')
  })

  it('a circle of calls ends', async () => {
    let count = 0
    const { callee } = localWorld([
      op('round/and', async (_input, { call }) => {
        count++
        return await call('/round/and')
      }),
    ])
    await assert.rejects(callee.call({ caller: owner, path: '/round/and' }), (error) => isKithError(error, 'CALL_FAILED'))
    assert.equal(count, MAX_NESTED + 1)
  })

  it('a handler whose call is over calls nothing more', async () => {
    const gate = deferred()
    const late = deferred<unknown>()
    const { callee } = localWorld([
      op('a/b', async (_input, { call }) => {
        await gate.promise
        late.resolve(await call('/c/d').catch((error: unknown) => error))
      }),
      op('c/d', () => assert.fail('it was called')),
    ])
    const abort = new AbortController()
    const call = callee.call({ caller: owner, path: '/a/b', signal: abort.signal })
    abort.abort()
    await assert.rejects(call)
    gate.resolve()
    assert.ok(isKithError(await late.promise, 'ABORTED'))
  })

  it('what is not here goes to whoever stands in front', async () => {
    const asked: string[] = []
    const front = {
      call: async ({ path, caller }: { path: string; caller: { id: string } }) => {
        asked.push(`${caller.id} ${path}`)
        return 'from afar'
      },
    } as unknown as Callee
    const { callee } = localWorld([op('a/b', async (_input, { call }) => await call('/dev1/fs/read'))], { root: () => front })
    assert.equal(await callee.call({ caller: testCaller('did:x'), path: '/a/b' }), 'from afar')
    assert.deepEqual(asked, ['did:x /dev1/fs/read'])
  })
})

describe('subscriptions', () => {
  it('the handler is asked only when somebody pulls, and told when they stop', async () => {
    let made = 0
    let ended = false
    const { callee } = localWorld([
      op(
        'feed/count',
        async function* () {
          try {
            for (;;) yield made++
          } finally {
            ended = true
          }
        },
        { kind: 'subscription' },
      ),
    ])
    const stream = callee.stream({ caller: owner, path: '/feed/count' })
    assert.equal(made, 0)
    assert.deepEqual(await stream.next(), { done: false, value: { value: 0 } })
    await turn()
    assert.equal(made, 1)
    await stream.return?.()
    await turn()
    assert.equal(ended, true)
    assert.deepEqual(await stream.next(), { done: true, value: undefined })
  })

  it('requests ahead are answered in order', async () => {
    const { callee } = localWorld([
      op(
        'feed/count',
        async function* () {
          for (let i = 0; i < 3; i++) {
            await turn()
            yield i
          }
        },
        { kind: 'subscription' },
      ),
    ])
    const stream = callee.stream({ caller: owner, path: '/feed/count' })
    const results = await Promise.all(Array.from({ length: 5 }, () => stream.next()))
    assert.deepEqual(
      results.map(({ done, value }) => (done === true ? 'done' : (value as { value: unknown }).value)),
      [0, 1, 2, 'done', 'done'],
    )
  })

  it('ids of events pass, values are validated each', async () => {
    const { callee } = localWorld([
      op(
        'feed/mixed',
        async function* () {
          yield new Event(1, 'one')
          yield 'not a number'
        },
        { kind: 'subscription', output: z.number() },
      ),
    ])
    const stream = callee.stream({ caller: owner, path: '/feed/mixed' })
    assert.deepEqual((await stream.next()).value, { value: 1, id: 'one' })
    await assert.rejects(stream.next(), (error) => isKithError(error, 'CALL_FAILED'))
  })

  it('an abort ends a stream that waits', async () => {
    const { callee } = localWorld([
      op(
        'feed/never',
        async function* () {
          await new Promise(() => undefined)
          yield 1
        },
        { kind: 'subscription' },
      ),
    ])
    const abort = new AbortController()
    const next = callee.stream({ caller: owner, path: '/feed/never', signal: abort.signal }).next()
    await turn()
    abort.abort()
    await assert.rejects(next, (error) => isKithError(error, 'ABORTED'))
  })

  it('called instead of streamed, it ends after one answer; a query streamed is one item', async () => {
    let ended = false
    const { callee } = localWorld([
      op(
        'feed/count',
        async function* () {
          try {
            for (let i = 0; ; i++) yield i
          } finally {
            ended = true
          }
        },
        { kind: 'subscription' },
      ),
      op('a/b', () => 'one'),
    ])
    assert.equal(await callee.call({ caller: owner, path: '/feed/count' }), 0)
    assert.equal(ended, true)
    const items: unknown[] = []
    for await (const { value } of callee.stream({ caller: owner, path: '/a/b' })) items.push(value)
    assert.deepEqual(items, ['one'])
  })

  it('a subscription has no deadline of its own', async () => {
    const { callee, clock } = localWorld([
      op(
        'feed/never',
        async function* () {
          await new Promise(() => undefined)
          yield 1
        },
        { kind: 'subscription' },
      ),
    ])
    void callee.stream({ caller: owner, path: '/feed/never' }).next()
    assert.equal(clock.pending, 0)
  })

  it('a handler that gives no iterable fails without a word', async () => {
    const { callee } = localWorld([op('feed/none', () => 1, { kind: 'subscription' })])
    await assert.rejects(callee.stream({ caller: owner, path: '/feed/none' }).next(), (error) => isKithError(error, 'CALL_FAILED'))
  })
})

describe('streams of inputs', () => {
  const sum = op(
    'math/sum',
    async (_input, { inputs }) => {
      let total = 0
      for await (const n of inputs) total += n as number
      return total
    },
    { clientStream: true, input: z.number() },
  )
  async function* numbers(...values: unknown[]): AsyncGenerator<unknown> {
    yield* values
  }

  it('reach the handler one by one', async () => {
    const { callee } = localWorld([sum])
    assert.equal(await callee.call({ caller: owner, path: '/math/sum', inputs: numbers(1, 2, 3) }), 6)
    assert.equal(await callee.call({ caller: owner, path: '/math/sum', input: 5 }), 5)
  })

  it('one that does not fit ends the call as the caller’s mistake', async () => {
    const { callee } = localWorld([sum])
    await assert.rejects(callee.call({ caller: owner, path: '/math/sum', inputs: numbers(1, 'x') }), (error) => isKithError(error, 'CALL_INPUT'))
  })

  it('where one input is taken, a stream is refused', async () => {
    const { callee } = localWorld([op('a/b', () => 1)])
    await assert.rejects(callee.call({ caller: owner, path: '/a/b', inputs: numbers(1) }), (error) => isKithError(error, 'CALL_INPUT'))
  })
})

describe('inputs that do not fit, in words', () => {
  const failure = async (input: AnySchema, given: unknown): Promise<string> => {
    const { callee } = localWorld([op('a/b', () => 'ran', { input })])
    return await callee.call({ caller: owner, path: '/a/b', input: given }).then(
      (value) => String(value),
      (error: unknown) => (isKithError(error, 'CALL_INPUT') ? error.message : String(error)),
    )
  }
  const text = { type: 'object', properties: { path: { type: 'string' }, mode: { enum: ['r', 'w'] } }, required: ['path'], additionalProperties: false }

  it('the sentence names the field and the problem, never the value', async () => {
    assert.equal(await failure(text, { path: 4711 }), 'The input does not fit the schema of the operation at /path: must be string')
    assert.equal(
      await failure(text, { path: 'a', mode: 'x' }),
      'The input does not fit the schema of the operation at /mode: must be equal to one of the allowed values: ["r","w"]',
    )
    assert.equal(
      await failure(text, { path: 'a', pth: 4711 }),
      "The input does not fit the schema of the operation: must NOT have additional properties: 'pth'",
    )
    assert.match(await failure(z.object({ pin: z.number() }), { pin: 'secret-4711' }), /at \/pin: .*expected number, received string$/)
  })

  it('an absent input is an empty object where the operation takes one, and what is missing is named', async () => {
    assert.equal(await failure(z.object({}), undefined), 'ran')
    assert.equal(await failure({ type: 'object' }, undefined), 'ran')
    assert.equal(await failure(z.undefined(), undefined), 'ran')
    assert.equal(await failure(text, undefined), "The input does not fit the schema of the operation: must have required property 'path'")
    assert.match(await failure(z.string(), undefined), /expected string, received undefined/)
  })
})

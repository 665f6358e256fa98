import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defineOperation } from '../../src/call/define.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import { KithError } from '../../src/core/errors.ts'
import { ask, callerWith, codeOf, hub, OWNER, operation, subscription } from './head-support.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const forever = (_input: unknown, { signal }: { signal: AbortSignal }): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

test('a call with an alias, two workers with the same operation, goes to the named one without the alias', async () => {
  const { head, add } = hub()
  const one = add('one', [operation('fs/read', () => 'of one')])
  const two = add('two', [operation('fs/read', () => 'of two')])
  assert.equal(await ask(head, '/two/fs/read'), 'of two')
  assert.equal(await ask(head, '/one/fs/read'), 'of one')
  assert.deepEqual([one.seen, two.seen], [['fs/read'], ['fs/read']])
})

test('a call by capability, the node has the operation itself, stays here', async () => {
  const { head, add } = hub([operation('fs/read', () => 'of the head')])
  const { code } = await Promise.reject(new KithError('CALL_CONFLICT')).catch((error: KithError) => error)
  assert.throws(() => add('one', [operation('fs/read', () => 'of one')]), { code })
  add('two', [operation('fs/stat', () => 'of two')])
  assert.equal(await ask(head, 'fs/read'), 'of the head')
  assert.equal(await ask(head, '/fs/stat'), 'of two')
})

test('calls by capability, three workers, go to the one with the fewest under way', async () => {
  const { head, add } = hub()
  const workers = ['one', 'two', 'three'].map((name) => add(name, [operation('fs/read', forever)]))
  const abort = new AbortController()
  const calls = Array.from({ length: 9 }, () => codeOf(ask(head, 'fs/read', OWNER, { signal: abort.signal })))
  await turn()
  assert.deepEqual(
    head.workers().map(({ running }) => running),
    [3, 3, 3],
  )
  assert.deepEqual(
    workers.map(({ seen }) => seen.length),
    [3, 3, 3],
  )
  abort.abort(new KithError('ABORTED'))
  assert.deepEqual(new Set(await Promise.all(calls)), new Set(['ABORTED']))
  assert.deepEqual(
    head.workers().map(({ running }) => running),
    [0, 0, 0],
  )
})

test('a caller without the scope, asks for what it may not and for what is not there, gets the same bytes for the same work', async () => {
  const { head, add, asked } = hub([operation('own/secret', () => 1, { all: ['secret'] })])
  add('one', [operation('fs/read', () => 'seen', { all: ['fs'] })])
  add('two', [operation('fs/read', () => 'seen', { all: ['fs'] })])
  const nobody = callerWith('other')
  const measure = async (path: string): Promise<string> => {
    asked.count = 0
    const error = await ask(head, path, nobody).then(
      () => assert.fail('it was let in'),
      (thrown: KithError) => thrown,
    )
    const { count } = asked
    asked.count = 0
    const described = await head.describe(path, nobody)
    return JSON.stringify([error, error.remote, error.next, count, described, asked.count])
  }
  const aliased = await Promise.all([await measure('/one/fs/read'), await measure('/one/fs/nothing'), await measure('/nobody/fs/read')])
  assert.equal(new Set(aliased).size, 1, aliased.join('\n'))
  const anywhere = [await measure('fs/read'), await measure('fs/nothing'), await measure('own/secret')]
  assert.equal(new Set(anywhere).size, 1, anywhere.join('\n'))
  assert.deepEqual(
    (await head.list(nobody)).map(({ name }) => name).filter((name) => !name.startsWith('services/')),
    [],
  )
  assert.deepEqual(
    (await head.list(callerWith('fs'))).map(({ name, node }) => `${node}/${name}`).filter((name) => !name.startsWith('/services/')),
    ['one/fs/read', 'two/fs/read'],
  )
})

test('streams a caller may not open, hidden and unknown, take as many questions', async () => {
  const { head, add, asked } = hub([operation('own/secret', () => 1, { all: ['secret'] })])
  add('one', [operation('fs/read', () => 'seen', { all: ['fs'] })])
  const costs: number[] = []
  for (const path of ['own/secret', 'own/nothing', 'fs/read']) {
    asked.count = 0
    assert.equal(await codeOf(head.stream({ caller: callerWith(), path }).next()), 'CALL_UNKNOWN')
    costs.push(asked.count)
  }
  assert.equal(new Set(costs).size, 1, costs.join(' '))
})

test('a listed operation of a worker, its caller lacks the scope, is shown and said to be denied', async () => {
  const { head, add } = hub()
  const listed = defineOperation({
    name: 'fs/read',
    kind: 'query',
    input: jsonSchema(true),
    output: jsonSchema(true),
    access: { all: ['fs'] },
    visibility: 'listed',
    handler: () => 1,
  })
  add('one', [listed])
  assert.equal(await codeOf(ask(head, '/one/fs/read', callerWith())), 'CALL_DENIED')
  assert.equal(await codeOf(ask(head, 'fs/read', callerWith())), 'CALL_DENIED')
  assert.ok((await head.list(callerWith())).some(({ node, name }) => node === 'one' && name === 'fs/read'))
})

test('a worker that goes in the middle of a call, not idempotent, ends it with one WORKER_LOST', async () => {
  const { head, add } = hub()
  let began = 0
  const one = add('one', [
    operation('fs/write', (input, context) => {
      began++
      return forever(input, context)
    }),
  ])
  add('two', [
    operation('fs/write', (input, context) => {
      began++
      return forever(input, context)
    }),
  ])
  let ends = 0
  const call = ask(head, '/one/fs/write').then(
    () => 'none',
    (error: KithError) => {
      ends++
      return error
    },
  )
  await turn()
  one.close()
  const error = await call
  assert.ok(error instanceof KithError)
  assert.deepEqual([error.code, error.retryable, ends, began], ['WORKER_LOST', true, 1, 1])
})

test('a worker that goes in the middle of a call, idempotent, has it made again elsewhere and says so', async () => {
  const { head, add } = hub()
  const repeated: unknown[] = []
  const one = add('one', [operation('fs/read', (input, context) => forever(input, context), 'everyone', true)])
  const call = ask(head, 'fs/read')
  await turn()
  add('two', [
    operation(
      'fs/read',
      (_input, context) => {
        repeated.push((context as unknown as { repeated: boolean }).repeated)
        return 'of two'
      },
      'everyone',
      true,
    ),
  ])
  one.close()
  assert.equal(await call, 'of two')
  assert.deepEqual(repeated, [true])
})

test('an idempotent call, every worker it reaches goes, is tried three times and no more', async () => {
  const { head, add } = hub()
  let began = 0
  const workers = ['a', 'b', 'c', 'd', 'e'].map((name) =>
    add(name, [
      operation(
        'fs/read',
        (input, context) => {
          began++
          return forever(input, context)
        },
        'everyone',
        true,
      ),
    ]),
  )
  const call = codeOf(ask(head, 'fs/read'))
  for (let round = 0; round < 5; round++) {
    await turn()
    for (const worker of workers) if (worker.seen.length > 0) worker.close()
  }
  assert.equal(await call, 'WORKER_LOST')
  assert.equal(began, 3)
})

test('an idempotent call whose deadline is over when its worker goes, is not made again', async () => {
  const { head, add, clock } = hub()
  const one = add('one', [operation('fs/read', () => new Promise(() => {}), 'everyone', true)])
  const call = codeOf(ask(head, 'fs/read', OWNER, { deadlineMs: 50 }))
  await turn()
  const two = add('two', [operation('fs/read', () => 'late', 'everyone', true)])
  await clock.run(60)
  one.close()
  assert.equal(await call, 'CALL_TIMEOUT')
  assert.equal(two.seen.length, 0)
})

test('a worker that cannot be reached, others offer the same, is passed over also for calls that are not idempotent', async () => {
  const { head, add } = hub()
  const one = add('one', [operation('fs/write', () => 'of one')])
  add('two', [operation('fs/write', () => 'of two')])
  one.unreachable = true
  assert.equal(await ask(head, 'fs/write'), 'of two')
  assert.equal(await codeOf(ask(head, '/one/fs/write')), 'WORKER_LOST')
})

test('a draining worker, calls run there, takes no new ones and lets the others end', async () => {
  const { head, add } = hub()
  let finish: (value: string) => void = () => {}
  const one = add('one', [
    operation(
      'fs/read',
      () =>
        new Promise<string>((resolve) => {
          finish = resolve
        }),
    ),
  ])
  const running = ask(head, '/one/fs/read')
  await turn()
  const drained = one.drain()
  const two = add('two', [operation('fs/read', () => 'of two')])
  assert.equal(await ask(head, 'fs/read'), 'of two')
  assert.equal(await codeOf(ask(head, '/one/fs/read')), 'WORKER_DRAINING')
  assert.deepEqual(
    head.workers().map(({ state }) => state),
    ['draining', 'serving'],
  )
  finish('done')
  assert.equal(await running, 'done')
  await drained
  assert.equal(two.seen.length, 1)
})

test('a worker that fails five times in a row, another one is well, gets nothing until one call has gone well again', async () => {
  const { head, add, clock } = hub()
  const one = add('one', [operation('fs/read', () => 'of one', 'everyone', true)])
  const two = add('two', [operation('fs/read', () => 'of two', 'everyone', true)])
  one.unreachable = true
  for (let call = 0; call < 20; call++) assert.equal(await ask(head, 'fs/read'), 'of two')
  assert.equal(head.workers().find(({ alias }) => alias === 'one')?.state, 'ejected')
  assert.equal(head.workers().find(({ alias }) => alias === 'one')?.failures, 5)
  one.unreachable = false
  await clock.run(29_000)
  assert.equal(await ask(head, 'fs/read'), 'of two')
  await clock.run(2_000)
  assert.equal(await ask(head, 'fs/read'), 'of one', 'the call that tries it')
  assert.equal(head.workers().find(({ alias }) => alias === 'one')?.state, 'serving')
  two.close()
})

test('two workers that both fail, no more than half is put aside', async () => {
  const { head, add } = hub()
  for (const name of ['one', 'two']) add(name, [operation('fs/read', () => 1, 'everyone', true)]).unreachable = true
  for (let call = 0; call < 20; call++) assert.equal(await codeOf(ask(head, 'fs/read')), 'WORKER_LOST')
  assert.equal(head.workers().filter(({ state }) => state === 'ejected').length, 1)
})

test('a worker five times slower than the others, twenty answers seen, is put aside', async () => {
  const { head, add, clock } = hub()
  const after = (ms: number) => () => new Promise((resolve) => clock.after(ms, () => resolve(ms)))
  add('slow', [operation('fs/read', after(600))])
  add('fast', [operation('fs/read', after(20))])
  for (let call = 0; call < 40; call++) {
    const answer = ask(head, call % 2 === 0 ? '/slow/fs/read' : '/fast/fs/read')
    await clock.run(601)
    await answer
  }
  assert.deepEqual(
    head.workers().map(({ alias, state }) => `${alias} ${state}`),
    ['fast serving', 'slow ejected'],
  )
})

test('errors of operations and of inputs, however many, put no worker aside: callers choose them', async () => {
  const { head, add } = hub()
  add('one', [
    operation('fs/read', () => {
      throw new Error('bad input')
    }),
  ])
  add('two', [operation('fs/read', () => 1)])
  for (let call = 0; call < 20; call++) assert.equal(await codeOf(ask(head, '/one/fs/read')), 'CALL_FAILED')
  assert.equal(head.workers()[0]?.state, 'serving')
})

test('a stream through the head, its reader takes three items, makes the worker make three', async () => {
  const { head, add } = hub()
  let made = 0
  let ended = false
  add('one', [
    subscription('fs/watch', async function* () {
      try {
        for (;;) yield made++
      } finally {
        ended = true
      }
    }),
  ])
  const items = head.stream({ caller: OWNER, path: '/one/fs/watch' })
  for (let at = 0; at < 3; at++) assert.equal((await items.next()).value?.value, at)
  await turn()
  assert.equal(made, 3)
  await items.return?.()
  await turn()
  assert.ok(ended, 'leaving the stream ends it at the worker')
  assert.equal(head.workers()[0]?.running, 0)
})

test('a stream whose worker goes, items were delivered, ends with one WORKER_LOST and is not begun elsewhere', async () => {
  const { head, add } = hub()
  const watch = () =>
    subscription(
      'fs/watch',
      async function* (_input, { signal }) {
        yield 1
        await forever(undefined, { signal })
      },
      true,
    )
  const one = add('one', [watch()])
  const two = add('two', [watch()])
  const items = head.stream({ caller: OWNER, path: 'fs/watch' })
  assert.equal((await items.next()).value?.value, 1)
  const next = items.next()
  await turn()
  const holder = one.seen.length === 1 ? one : two
  holder.close()
  assert.equal(await codeOf(next), 'WORKER_LOST')
  assert.deepEqual(await items.next(), { done: true, value: undefined })
  assert.equal(one.seen.length + two.seen.length, 1)
})

test('an idempotent stream whose worker goes before the first item, begins again at another', async () => {
  const { head, add } = hub()
  const one = add('one', [
    subscription(
      'fs/watch',
      async function* (_input, { signal }) {
        yield await forever(undefined, { signal })
      },
      true,
    ),
  ])
  const items = head.stream({ caller: OWNER, path: 'fs/watch' })
  const next = items.next()
  await turn()
  add('two', [
    subscription(
      'fs/watch',
      async function* () {
        yield 'of two'
      },
      true,
    ),
  ])
  one.close()
  assert.equal((await next).value?.value, 'of two')
})

test('a cancelled call, it runs at a worker, is cancelled there', async () => {
  const { head, add } = hub()
  let reason: unknown
  add('one', [
    operation(
      'fs/read',
      (_input, { signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            reason = signal.reason
            reject(signal.reason)
          }),
        ),
    ),
  ])
  const abort = new AbortController()
  const call = codeOf(ask(head, '/one/fs/read', OWNER, { signal: abort.signal }))
  await turn()
  abort.abort(new KithError('ABORTED'))
  assert.equal(await call, 'ABORTED')
  assert.ok(reason instanceof KithError && reason.code === 'ABORTED')
})

test('a deadline, shorter at the caller than at the operation, travels on with what is left of it', async () => {
  const { head, add, clock } = hub()
  const left: unknown[] = []
  add('one', [
    operation('fs/read', (_input, context) => {
      left.push((context as unknown as { deadlineMs: number }).deadlineMs)
      return new Promise(() => {})
    }),
  ])
  const call = codeOf(ask(head, '/one/fs/read', OWNER, { deadlineMs: 400 }))
  await turn()
  assert.deepEqual(left, [400])
  await clock.run(401)
  assert.equal(await call, 'CALL_TIMEOUT')
})

test('more calls than a worker may have, are refused at once and disturb none', async () => {
  const { head, add } = hub([], { limits: { callsPerWorker: 2 } })
  add('one', [operation('fs/read', forever)])
  const abort = new AbortController()
  const calls = [1, 2].map(() => codeOf(ask(head, '/one/fs/read', OWNER, { signal: abort.signal })))
  await turn()
  assert.equal(await codeOf(ask(head, '/one/fs/read')), 'BUDGET_EXCEEDED')
  abort.abort()
  assert.deepEqual(await Promise.all(calls), ['ABORTED', 'ABORTED'])
})

test('a head that ends, calls run, waits for them and takes no new ones', async () => {
  const { head, add } = hub()
  let finish: (value: string) => void = () => {}
  add('one', [
    operation(
      'fs/read',
      () =>
        new Promise<string>((resolve) => {
          finish = resolve
        }),
    ),
  ])
  const call = ask(head, 'fs/read')
  await turn()
  const drained = head.drain(5_000)
  assert.equal(await codeOf(ask(head, 'fs/read')), 'GOING_AWAY')
  finish('done')
  assert.equal(await call, 'done')
  await drained
  head.close()
  assert.deepEqual(head.workers(), [])
})

test('a head that ends, a call never does, gives up at its time and loses the call once', async () => {
  const { head, add, clock } = hub()
  add('one', [operation('fs/read', () => new Promise(() => {}))])
  const call = codeOf(ask(head, 'fs/read'))
  await turn()
  const drained = head.drain(5_000)
  await clock.run(5_001)
  await drained
  head.close()
  assert.equal(await call, 'WORKER_LOST')
})

test('a head in the middle, its caller has not the scope that the head has, lends it nothing', async () => {
  const { head, add } = hub()
  const worker = add('one', [operation('fs/write', () => 'written', { all: ['fs:write'] })])
  const headItself = { ...callerWith('fs:write'), id: 'did:icn:zhead' }
  const stated = (scopes: string[], through = headItself) => ({ ...callerWith(...scopes), through })
  const at = (caller: ReturnType<typeof stated>) => codeOf(worker.callee.call({ caller, path: 'fs/write' }))
  assert.equal(await at(stated(['fs:write'])), 'none')
  assert.equal(await at(stated([])), 'CALL_UNKNOWN', 'the head has it, the caller has not')
  assert.equal(await at(stated(['fs:write'], { ...callerWith(), id: 'did:icn:zhead' })), 'CALL_UNKNOWN', 'the caller has it, as the head says, who has not')
  assert.equal(await codeOf(ask(head, '/one/fs/write', callerWith())), 'CALL_UNKNOWN')
})

test('the caller that a worker sees, called through a head, is who called the head', async () => {
  const { head, add } = hub()
  const worker = add('one', [operation('fs/read', () => 1)])
  await ask(head, '/one/fs/read', callerWith('fs'))
  assert.equal(worker.callers[0]?.id, 'did:icn:zfs')
})

test('operations of a worker, registered again, are replaced as a whole', async () => {
  const { head, add } = hub()
  const worker = add('one', [operation('fs/read', () => 1), operation('fs/stat', () => 2)])
  let changes = 0
  const stop = head.onChange(() => changes++)
  worker.replace([operation('fs/stat', () => 2)])
  assert.equal(changes, 1)
  assert.equal(await codeOf(ask(head, '/one/fs/read')), 'CALL_UNKNOWN')
  assert.equal(await ask(head, '/one/fs/stat'), 2)
  stop()
  worker.close()
  assert.equal(changes, 1)
})

test('discovery, through the head, shows workers with their alias and schemas', async () => {
  const { head, add } = hub()
  add('one', [operation('fs/read', () => 1)])
  const { operations } = (await ask(head, '/services/list')) as { operations: { name: string; node: string }[] }
  assert.deepEqual(
    operations.filter(({ node }) => node !== '').map(({ node, name }) => `/${node}/${name}`),
    ['/one/fs/read'],
  )
  const described = (await ask(head, '/services/schema', OWNER, { input: { name: '/one/fs/read' } })) as { name: string; node: string; access?: unknown }
  assert.deepEqual([described.name, described.node, 'access' in described], ['fs/read', 'one', false])
  assert.equal(await codeOf(ask(head, '/services/schema', OWNER, { input: { name: '/two/fs/read' } })), 'CALL_UNKNOWN')
})

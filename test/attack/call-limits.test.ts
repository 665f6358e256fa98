import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type AnyOperation, type CallContext, defineOperation } from '../../src/call/define.ts'
import { createHead } from '../../src/call/head.ts'
import type { LocalCallee } from '../../src/call/local.ts'
import { MAX_NESTED } from '../../src/call/running.ts'
import { MAX_STRAGGLERS, MAX_STRAGGLERS_IN_ALL, MAX_STRAGGLERS_OF_OPERATION } from '../../src/call/stragglers.ts'
import type { Callee, Visibility } from '../../src/call/types.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { callerWith, hub, operation, subscription } from '../call/head-support.ts'
import { byAccess, deferred, type LocalWorld, localWorld, testCaller } from '../call/support.ts'

const OWN = 'did:icn:zown'

function op(
  name: string,
  handler: (input: unknown, context: CallContext) => unknown,
  more: { readonly kind?: 'subscription'; readonly visibility?: Visibility } = {},
): AnyOperation {
  return defineOperation({ name, kind: 'query', access: 'everyone', input: true, output: true, handler: handler as never, ...more })
}

const codeOf = (error: unknown): unknown => (isKithError(error) ? error.code : error)

/** Calls and gives up at once. */
async function giveUp(callee: Callee, id: string, path: string): Promise<unknown> {
  const abort = new AbortController()
  const call = callee.call({ caller: testCaller(id), path, signal: abort.signal })
  abort.abort()
  return await call.catch(codeOf)
}

/** This node's own operations behind a head that knows the node by `OWN`. */
function headed(operations: readonly AnyOperation[]): LocalWorld & { readonly head: Callee } {
  const parts: { head?: Callee } = {}
  const world = localWorld(operations, { root: () => parts.head as Callee })
  const head = createHead({
    local: world.callee,
    hasLocal: (name) => world.registry.get(name) !== undefined,
    isHere: (node) => node === OWN,
    client: { call: () => assert.fail('nobody else is called'), stream: () => assert.fail('nobody else is called') },
    authorize: byAccess,
    mayOffer: () => true,
    clock: world.clock,
    logger: silentLogger,
  })
  parts.head = head
  return { ...world, head }
}

test('callers of many names, who all give up, hold one operation only, and the others are still answered', async () => {
  const gate = deferred()
  const { callee } = localWorld([op('slow/deaf', () => gate.promise), op('good/one', () => 1)])
  for (let i = 0; i < MAX_STRAGGLERS_OF_OPERATION; i++) assert.equal(await giveUp(callee, `did:${i}`, '/slow/deaf'), 'ABORTED')
  assert.equal(await giveUp(callee, 'did:new', '/slow/deaf'), 'BUDGET_EXCEEDED')
  assert.equal(await callee.call({ caller: testCaller('did:new'), path: '/good/one' }), 1)
  gate.resolve()
  await turn()
  assert.equal(await giveUp(callee, 'did:new', '/slow/deaf'), 'ABORTED')
})

test('handlers that run on for nobody, of any number of operations and callers, are bounded in all', async () => {
  const gate = deferred()
  const names = Array.from({ length: 5 }, (_, i) => `slow/deaf${i}`)
  const { callee } = localWorld([...names.map((name) => op(name, () => gate.promise)), op('good/one', () => 1)])
  for (let i = 0; i < MAX_STRAGGLERS_IN_ALL; i++) assert.equal(await giveUp(callee, `did:${i}`, names[i % 5] as string), 'ABORTED')
  await assert.rejects(callee.call({ caller: testCaller('did:new'), path: '/good/one' }), (error) => isKithError(error, 'BUDGET_EXCEEDED'))
  gate.resolve()
  await turn()
  assert.equal(await callee.call({ caller: testCaller('did:new'), path: '/good/one' }), 1)
})

test('a stream that is given up between two items, whose handler takes its time to end, counts as one that runs on', async () => {
  const gate = deferred()
  const { callee } = localWorld([
    op(
      'feed/lingers',
      async function* () {
        try {
          yield 1
          yield 2
        } finally {
          await gate.promise
        }
      },
      { kind: 'subscription' },
    ),
  ])
  const take = async (): Promise<unknown> => {
    const items = callee.stream({ caller: testCaller('did:rude'), path: '/feed/lingers' })
    try {
      const item = await items.next()
      await items.return?.()
      return item.value?.value
    } catch (error) {
      return codeOf(error)
    }
  }
  for (let i = 0; i < MAX_STRAGGLERS; i++) assert.equal(await take(), 1)
  assert.equal(await take(), 'BUDGET_EXCEEDED')
  gate.resolve()
  for (let i = 0; i < 5; i++) await turn()
  assert.equal(await take(), 1)
})

test('a circle of calls, by the name of this very node, ends as one by plain names does', async () => {
  for (const kind of ['query', 'subscription'] as const) {
    let count = 0
    const { head } = headed([
      op('round/and', async (_input, { call, stream }) => {
        // A circle without end would end this test by its limit of time.
        if (++count > 3 * MAX_NESTED) return 'without end'
        if (kind === 'query') return await call(`/${OWN}/round/and`)
        for await (const { value } of stream(`/${OWN}/round/and`)) return value
        return null
      }),
    ])
    const error = await head.call({ caller: testCaller('did:x'), path: '/round/and' }).catch(codeOf)
    assert.deepEqual([error, count], ['CALL_FAILED', MAX_NESTED + 1], kind)
  }
})

test('a handler that calls what does not exist, by the name of this node or without, is told so and goes round nowhere', async () => {
  const { head } = headed([op('ask/for', async (path, { call }) => await call(path as string).catch(codeOf))])
  for (const path of ['/no/such', `/${OWN}/no/such`, 'no/such', '/other/no/such'])
    assert.equal(await head.call({ caller: testCaller('did:x'), path: '/ask/for', input: path }), 'CALL_UNKNOWN', path)
})

test('a caller outside, that says it is a handler, meets no internal operation', async () => {
  const { head, callee } = headed([op('inner/read', () => 'inner', { visibility: 'internal' })])
  const said = { caller: testCaller('did:x'), path: '/inner/read', depth: 1, nested: { depth: 1, routed: true } }
  for (const to of [head, callee as LocalCallee]) {
    await assert.rejects(to.call(said), (error) => isKithError(error, 'CALL_UNKNOWN'))
    await assert.rejects(to.call({ ...said, path: `/${OWN}/inner/read` }), (error) => isKithError(error, 'CALL_UNKNOWN'))
  }
})

test('calls that a head has handed on, which may not go on, end here and at their worker, and the others do not', async () => {
  const { head, add } = hub()
  const stopped: string[] = []
  const waits = (name: string) =>
    operation(name, async (_input, { signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      stopped.push(name)
    })
  const worker = add('dev1', [waits('slow/one'), waits('slow/two')])
  const counts = subscription('feed/count', async function* () {
    try {
      yield 1
      yield 2
    } finally {
      stopped.push('feed/count')
    }
  })
  worker.replace([waits('slow/one'), waits('slow/two'), counts])
  const other = add('dev2', [counts])
  const caller = callerWith('a')
  const one = head.call({ caller, path: '/dev1/slow/one' })
  const two = head.call({ caller, path: '/dev1/slow/two' }).catch(codeOf)
  const items = head.stream({ caller, path: '/dev2/feed/count' })
  assert.equal((await items.next()).value.value, 1)
  const asked: string[] = []
  head.recheckCalls((who, { name }) => {
    asked.push(`${who.id} ${name}`)
    return name === 'slow/two'
  })
  assert.deepEqual(asked.sort(), [`${caller.id} feed/count`, `${caller.id} slow/one`, `${caller.id} slow/two`])
  await assert.rejects(one, (error) => isKithError(error, 'CALL_DENIED'))
  await assert.rejects(items.next(), (error) => isKithError(error, 'CALL_DENIED'))
  await turn()
  assert.deepEqual(stopped.sort(), ['feed/count', 'slow/one'])
  worker.close()
  other.close()
  assert.equal(await two, 'WORKER_LOST')
})

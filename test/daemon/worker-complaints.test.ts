import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Caller } from '../../src/access/types.ts'
import { defineOperation } from '../../src/call/define.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { type Complaint, complaintLogger } from '../../src/daemon/worker/complaints.ts'

const caller: Caller = { id: 'local', via: 'local', scopes: new Set(), resources: new Map() }
const output = { type: 'object', properties: { size: { type: 'number' } }, required: ['size'] }

/** A worker's callee, and what whoever runs it is told. */
function world() {
  const told: Complaint[] = []
  let now = 0
  const registry = createRegistry([
    defineOperation({ name: 'fs/misfit', kind: 'query', access: 'everyone', input: true, output, handler: () => ({ size: 'secret' }) }),
    defineOperation({
      name: 'fs/watch',
      kind: 'subscription',
      access: 'everyone',
      input: true,
      output,
      async *handler() {
        yield { size: 1 }
        yield {}
      },
    }),
    defineOperation({
      name: 'fs/throws',
      kind: 'query',
      access: 'everyone',
      input: true,
      output,
      handler: () => {
        throw new RangeError('no such block')
      },
    }),
  ])
  const logger = complaintLogger({ ...systemClock, monotonic: () => now }, (complaint) => told.push(complaint))
  const callee = createLocalCallee({ registry, authorize: () => 'allowed', clock: systemClock, random: systemRandom, logger })
  const call = (path: string): Promise<unknown> => assert.rejects(callee.call({ caller, path, input: {} }), (error) => isKithError(error, 'CALL_FAILED'))
  return { told, call, callee, pass: (ms: number) => (now += ms) }
}

test('an answer against its schema, in a worker, is told with the field and the problem, and without the value', async () => {
  const { told, call } = world()
  await call('/fs/misfit')
  assert.deepEqual(told, [{ operation: 'fs/misfit', path: '/size', problem: 'the answer does not fit its schema: must be number' }])
})

test('an item against its schema, in a worker, is told', async () => {
  const { told, callee } = world()
  await assert.rejects(
    async () => {
      for await (const { value } of callee.stream({ caller, path: '/fs/watch', input: {} })) assert.deepEqual(value, { size: 1 })
    },
    (error) => isKithError(error, 'CALL_FAILED'),
  )
  assert.deepEqual(told, [{ operation: 'fs/watch', path: '', problem: "the answer does not fit its schema: must have required property 'size'" }])
})

test('a handler that throws, in a worker, is told with the place', async () => {
  const { told, call } = world()
  await call('/fs/throws')
  assert.match(told[0]?.problem ?? '', /^it threw RangeError: no such block \(file:.*worker-complaints\.test\.ts:\d+:\d+\)$/)
})

test('the same complaint, made often by callers, is told once a second', async () => {
  const { told, call, pass } = world()
  for (let at = 0; at < 5; at++) await call('/fs/misfit')
  assert.equal(told.length, 1)
  pass(1_000)
  await call('/fs/misfit')
  assert.equal(told.length, 2)
})

import assert from 'node:assert/strict'
import { request } from 'node:http'
import { test } from 'node:test'
import type { Caller } from '../../src/access/types.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { decodeStatement, encodeStatement } from '../../src/call/statement.ts'
import { throughHeads } from '../../src/call/through.ts'
import { systemClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import type { Audit } from '../../src/core/observe/audit.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { vaultOperations } from '../../src/daemon/vault/calls.ts'
import { callPair } from '../call/support.ts'
import { ask, callerNamed, defineOperation, openWorld } from '../gateway/support.ts'

function head(scopes: readonly string[], resources: Caller['resources'] = new Map()): Caller {
  return { id: 'key:head', via: 'api-key', scopes: new Set(scopes), resources }
}

test('an error of a worker, written to become a header of the answer, is a plain error and the gateway lives', async () => {
  const world = await openWorld([
    defineOperation({
      name: 'evil/header',
      kind: 'mutation',
      input: true,
      output: true,
      access: 'everyone',
      errors: { METHOD_REFUSED: true },
      handler: () => {
        throw new KithError('METHOD_REFUSED', undefined, { details: { allow: 'GET\r\nset-cookie: a=b' }, remote: true })
      },
    }),
  ])
  try {
    const answer = await ask(world.port, '/v1/evil/header', { body: {} })
    assert.equal(answer.status, 405)
    assert.equal(answer.headers['set-cookie'], undefined)
    assert.equal(answer.headers.allow, undefined)
  } finally {
    await world.close()
  }
})

test('a key taken back, before the first event of a stream, leaves no request without an answer', async () => {
  const started = Promise.withResolvers<void>()
  const world = await openWorld([
    defineOperation({
      name: 'feed/silent',
      kind: 'subscription',
      input: true,
      output: true,
      access: 'everyone',
      async *handler(_input, { signal }) {
        started.resolve()
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        yield 1
      },
    }),
  ])
  try {
    const taken = new AbortController()
    world.callers.alk_brief = { ...callerNamed('brief'), revoked: taken.signal }
    const status = new Promise<number>((resolve, reject) => {
      const headers = { authorization: 'Bearer alk_brief', accept: 'text/event-stream' }
      const sent = request({ host: '127.0.0.1', port: world.port, path: '/v1/feed/silent', headers, agent: false, timeout: 900 }, (answer) => {
        answer.resume()
        resolve(answer.statusCode ?? 0)
      })
      sent.on('timeout', () => sent.destroy(new Error('no answer')))
      sent.on('error', reject)
      sent.end()
    })
    await started.promise
    taken.abort()
    assert.equal(await status, 401)
  } finally {
    await world.close()
  }
})

test('a head that says its caller has resources, which it has not itself, gives the caller none of them', () => {
  const resources = new Map([
    ['vault:m/74h/0h/0h/3h', ['sign']],
    ['bucket:photos', ['read', 'write']],
  ])
  const stated = encodeStatement({ ...callerNamed('ann', 'secrets:sign'), resources })
  const caller = decodeStatement(stated, head(['secrets:sign'], new Map([['bucket:photos', ['read']]])))
  assert.deepEqual([...caller.resources], [['bucket:photos', ['read']]])
  assert.equal(caller.resources.get('vault:m/74h/0h/0h/3h'), undefined)
})

test('a call that a head made, handed on to the next machine, is still one of that head too', async () => {
  const own = head(['fs:read'])
  const first = decodeStatement(encodeStatement(callerNamed('ann', 'fs:read', 'fs:write')), own)
  // A machine, or a process beside one, that hands it on.
  const second = decodeStatement(encodeStatement(first), head(['fs:read', 'fs:write']))
  const registry = createRegistry([
    defineOperation({ name: 'fs/read', kind: 'query', input: true, output: true, access: { all: ['fs:read'] }, handler: () => 1 }),
    defineOperation({ name: 'fs/write', kind: 'query', input: true, output: true, access: { all: ['fs:write'] }, handler: () => 2 }),
  ])
  const authorize = throughHeads((caller, { access }) =>
    typeof access === 'object' && (access.all ?? []).every((scope) => caller.scopes.has(scope)) ? 'allowed' : 'hidden',
  )
  const callee = createLocalCallee({ registry, authorize, clock: systemClock, random: systemRandom, logger: silentLogger })
  assert.equal(await callee.call({ caller: second, path: 'fs/read' }), 1)
  await assert.rejects(callee.call({ caller: second, path: 'fs/write' }), { code: 'CALL_UNKNOWN' })
  callee.close()
})

test('a stream that a head reads for a caller, the head taken back, ends', async () => {
  const taken = new AbortController()
  const endless = defineOperation({
    name: 'feed/count',
    kind: 'subscription',
    access: 'everyone',
    input: true,
    output: true,
    async *handler() {
      for (let i = 0; ; i++) yield i
    },
  })
  const { world, client, close } = await callPair([endless], {
    callerOf: (_context, statement) => {
      const hub = { ...head([]), revoked: taken.signal }
      return statement === undefined ? hub : decodeStatement(statement, hub)
    },
  })
  try {
    const items = client.stream('far', '/feed/count', {}, { onBehalfOf: callerNamed('ann') })
    assert.equal((await world.settle(items.next())).value?.value, 0)
    taken.abort()
    const rest = (async (): Promise<void> => {
      for (let i = 0; i < 100_000; i++) await items.next()
    })()
    await assert.rejects(world.settle(rest), { code: 'POLICY_DENIED' })
  } finally {
    await close()
  }
})

test('a use of the vault, for whom a head names, stands in the audit log with the head that named them', async () => {
  const rows: unknown[] = []
  const operations = vaultOperations({
    opened: () => Promise.reject(new KithError('VAULT_LOCKED')),
    policy: () => ({ ruled: () => undefined }),
    audit: () => ({ append: async (row: { readonly details: unknown }) => void rows.push(row.details) }) as unknown as Audit,
    clock: systemClock,
    logger: silentLogger,
  })
  const callee = createLocalCallee({
    registry: createRegistry(operations),
    authorize: () => 'allowed',
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  })
  const caller = { ...callerNamed('ann'), through: head([]) }
  await assert.rejects(callee.call({ caller, path: 'vault/encrypt', input: { data: 'YQ==' } }), { code: 'VAULT_LOCKED' })
  assert.deepEqual(rows, [{ through: 'key:head', result: 'VAULT_LOCKED' }])
  callee.close()
})

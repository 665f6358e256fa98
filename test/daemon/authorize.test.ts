import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Caller } from '../../src/access/types.ts'
import type { Authorizable, OperationAccess } from '../../src/call/types.ts'
import { manualClock } from '../../src/core/clock.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createAuthorizer, hasAccess } from '../../src/daemon/access/authorize.ts'
import type { Did } from '../../src/identity/did.ts'
import { constraintTable } from '../../src/mesh/constraints.ts'
import { type LocalPolicy, openLocalPolicy } from '../../src/mesh/policy.ts'
import { testIdentity } from '../mesh/fixtures.ts'

const ANN: Did = testIdentity('ann').chain.did

async function rules(): Promise<LocalPolicy> {
  return await openLocalPolicy({
    store: createMemoryStore(),
    clock: manualClock(),
    classOf: () => 'known',
    constraints: (held) => constraintTable()[held],
    // Whoever provides `call` has no say here: an operation says itself what it asks for.
    defaultOf: () => ({ allowed: true, rule: 'default: everybody' }),
  })
}

function caller(parts: Partial<Omit<Caller, 'scopes'>> & { readonly scopes?: readonly string[] } = {}): Caller {
  const { scopes = [], ...rest } = parts
  return { id: ANN, did: ANN, via: 'link', resources: new Map(), ...rest, scopes: new Set(scopes) }
}

const READ: Authorizable = { name: 'reports/read', access: { all: ['reports:read'] }, visibility: 'hidden' }

test('the owner, may call everything', async () => {
  const authorize = createAuthorizer({ policy: await rules() })
  for (const visibility of ['hidden', 'listed', 'internal'] as const)
    assert.equal(authorize(caller({ id: 'local', via: 'local' }), { name: 'a/b', visibility }), 'allowed')
})

test('an operation that asks for nothing in particular, is for the owner alone', async () => {
  const authorize = createAuthorizer({ policy: await rules() })
  assert.equal(authorize(caller(), { name: 'a/b', visibility: 'hidden' }), 'hidden')
  assert.equal(authorize(caller(), { name: 'a/b', visibility: 'listed' }), 'denied')
  assert.equal(authorize(caller(), { name: 'a/b', visibility: 'hidden', access: {} }), 'hidden', 'an empty access is none')
  assert.equal(authorize(caller(), { name: 'a/b', visibility: 'hidden', access: 'everyone' }), 'allowed')
})

test('scopes and resources, are all needed as the operation says', () => {
  const has = (access: OperationAccess, ...scopes: string[]): boolean =>
    hasAccess({ scopes: new Set(scopes), resources: new Map([['bucket:photos', ['read']]]) }, access)
  assert.equal(has({ all: ['a', 'b'] }, 'a'), false)
  assert.equal(has({ all: ['a', 'b'] }, 'a', 'b', 'c'), true)
  assert.equal(has({ any: ['a', 'b'] }, 'b'), true)
  assert.equal(has({ any: [] }, 'b'), false, 'one out of none is nobody')
  assert.equal(has({ all: ['a'], any: ['b', 'c'] }, 'a'), false)
  assert.equal(has({ resource: { type: 'bucket:photos' } }), true)
  assert.equal(has({ resource: { type: 'bucket:photos', action: 'read' } }), true)
  assert.equal(has({ resource: { type: 'bucket:photos', action: 'write' } }), false)
  assert.equal(has({ resource: { type: 'bucket', action: 'read' } }), false)
  assert.equal(has({ all: ['service:gitea'] }, 'service:gitea:read'), false, 'scopes are flat')
})

test('a rule of the owner, goes before what the operation asks for, either way', async () => {
  const policy = await rules()
  const authorize = createAuthorizer({ policy })
  assert.equal(authorize(caller(), READ), 'hidden')
  await policy.allow(ANN, 'call', 'reports/*')
  assert.equal(authorize(caller(), READ), 'allowed')
  await policy.deny(ANN, 'call', 'reports/read')
  assert.equal(authorize(caller({ scopes: ['reports:read'] }), READ), 'hidden', 'a denial wins over the scope')
  assert.equal(authorize(caller({ scopes: ['reports:read'] }), { ...READ, access: 'everyone' }), 'hidden')
})

test('a rule for a scope or a door, counts for callers of that kind', async () => {
  const policy = await rules()
  const authorize = createAuthorizer({ policy })
  await policy.allow('scope:ops', 'call', 'reports/*', { via: ['http'] })
  const ci = { id: 'key:ci', via: 'api-key' } as const
  const { did: _, ...key } = caller({ ...ci, scopes: ['ops'] })
  assert.equal(authorize(key, READ), 'allowed')
  assert.equal(authorize({ ...key, scopes: new Set() }, READ), 'hidden')
  assert.equal(authorize({ ...key, id: `ssh:SHA256:${'A'.repeat(43)}`, via: 'ssh-key' }, READ), 'hidden', 'another door')
})

test('an internal operation, is for handlers, unless it asks for more', async () => {
  const policy = await rules()
  const authorize = createAuthorizer({ policy })
  const internal: Authorizable = { name: 'a/inner', visibility: 'internal' }
  assert.equal(authorize(caller(), internal), 'allowed', 'the callee lets handlers alone ask')
  assert.equal(authorize(caller(), { ...internal, access: { all: ['x'] } }), 'hidden')
  await policy.deny(ANN, 'call', 'a/*')
  assert.equal(authorize(caller(), internal), 'hidden')
})

test('no answer but by what the caller proved, and never more for a hidden operation than for one that is not there', async () => {
  const policy = await rules()
  await policy.deny('*', 'call', 'secret/*')
  const asked: string[] = []
  const authorize = createAuthorizer({
    policy: {
      ruled: (request) => {
        asked.push(`${request.action} ${request.target} ${request.transport}`)
        return policy.ruled(request)
      },
    },
  })
  const hidden = authorize(caller(), { name: 'secret/op', access: { all: ['x'] }, visibility: 'hidden' })
  const nothing = authorize(caller(), { name: 'unknown/unknown', visibility: 'hidden' })
  assert.equal(hidden, nothing)
  assert.deepEqual(asked, ['call secret/op link', 'call unknown/unknown link'], 'the rules are asked once for each')
})

test('authorize property: no scopes and no rule, no call; and a scope never takes anything away', async () => {
  const scope = fc.constantFrom('a', 'b', 'c')
  const access = fc.record({ all: fc.array(scope, { minLength: 1, maxLength: 2 }), any: fc.array(scope, { minLength: 1, maxLength: 2 }) }, { requiredKeys: [] })
  const authorize = createAuthorizer({ policy: await rules() })
  fc.assert(
    fc.property(access, fc.subarray(['a', 'b', 'c']), scope, (asks, scopes, more) => {
      const operation: Authorizable = { name: 'a/b', access: asks, visibility: 'hidden' }
      assert.equal(authorize(caller(), operation), 'hidden')
      if (authorize(caller({ scopes }), operation) === 'allowed') assert.equal(authorize(caller({ scopes: [...scopes, more] }), operation), 'allowed')
    }),
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { manualClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { type Did, formatDid } from '../../src/identity/did.ts'
import { constraintTable } from '../../src/mesh/constraints.ts'
import { parseIp } from '../../src/mesh/ip.ts'
import { type LocalPolicy, openLocalPolicy } from '../../src/mesh/policy.ts'
import type { PeerClass } from '../../src/mesh/types.ts'

function did(seed: number): Did {
  const secret = Secret.take(new Uint8Array(32).fill(seed))
  try {
    return formatDid(publicKeyOfSeed(secret))
  } finally {
    secret.wipe()
  }
}

const ALICE = did(1)
const BOB = did(2)
const CLASSES = new Map<Did, PeerClass>([
  [ALICE, 'known'],
  [BOB, 'partner'],
])
const OWN_PORT = 9443

async function policy(store: Store = createMemoryStore()): Promise<LocalPolicy> {
  const table = constraintTable()
  return await openLocalPolicy({
    clock: manualClock(),
    store,
    classOf: (peer) => CLASSES.get(peer) ?? 'isolated',
    constraints: (held) => table[held],
    defaultOf: ({ peer, action, target }) =>
      action === 'open' && target === 'acme/chat/1' ? { allowed: CLASSES.has(peer as Did), rule: 'protocol: peers in the address book' } : undefined,
    ownPorts: () => [OWN_PORT],
    localAddresses: () => ['192.168.1.5'],
  })
}

function forward(of: LocalPolicy, target: string, ...addresses: string[]): boolean {
  return of.decide({ peer: ALICE, action: 'forward', target, addresses }).allowed
}

/** Runs the command that a decision printed, as the command line would. */
async function run(of: LocalPolicy, command: string): Promise<void> {
  const [kith, verb, principal, action, target] = command.split(' ')
  assert.equal(kith, 'kith')
  assert.ok(verb === 'allow' || verb === 'deny')
  await of[verb](principal as string, action as string, target)
}

test('policy without rules, opens ping and the protocol default and denies the rest', async () => {
  const empty = await policy()
  assert.equal(empty.decide({ peer: ALICE, action: 'ping' }).allowed, true)
  assert.equal(empty.decide({ peer: ALICE, action: 'link' }).allowed, true)
  assert.equal(empty.decide({ peer: ALICE, action: 'open', target: 'acme/chat/1' }).allowed, true)
  assert.equal(empty.decide({ peer: did(9), action: 'open', target: 'acme/chat/1' }).allowed, false)
  for (const request of [
    { action: 'forward', target: 'localhost:80' },
    { action: 'file' },
    { action: 'call', target: 'a/b' },
    { action: 'open', target: 'other/1' },
  ]) {
    const decision = empty.decide({ peer: ALICE, ...request })
    assert.equal(decision.allowed, false)
    assert.equal(decision.rule, `default: ${request.action} is denied`)
  }
})

test('policy table of targets, decides as written', async () => {
  const table: [rule: string, target: string, addresses: string[], allowed: boolean][] = [
    ['localhost:5432', 'localhost:5432', [], true],
    ['localhost:5432', 'localhost:5432', ['127.0.0.1', '::1'], true],
    ['localhost:5432', 'LOCALHOST.:5432', [], true],
    ['localhost:5432', 'localhost:5433', [], false],
    ['localhost:5432', '127.0.0.1:5432', [], false],
    ['127.0.0.1:5432', '127.0.0.1:5432', [], true],
    ['127.0.0.1:5432', 'localhost:5432', ['127.0.0.1'], true],
    ['127.0.0.1:5432', 'localhost:5432', ['127.0.0.1', '::1'], false],
    ['[::1]:5432', '[::1]:5432', [], true],
    ['localhost:*', 'localhost:8080', ['127.0.0.1'], true],
    ['localhost:*', `localhost:${OWN_PORT}`, ['127.0.0.1'], false],
    [`localhost:${OWN_PORT}`, `localhost:${OWN_PORT}`, ['127.0.0.1'], true],
    ['localhost:9000-9999', `localhost:${OWN_PORT}`, [], false],
    ['192.168.0.0/16:*', `192.168.1.5:${OWN_PORT}`, [], false],
    ['192.168.0.0/16:*', `192.168.1.6:${OWN_PORT}`, [], true],
    ['*.example.com:443', 'www.example.com:443', ['203.0.113.9'], true],
    ['*.example.com:443', 'a.b.example.com:443', ['203.0.113.9'], true],
    ['*.example.com:443', 'example.com:443', ['203.0.113.9'], false],
    ['*.example.com:443', 'www.example.com:443', ['127.0.0.1'], false],
    ['*.example.com:443', 'www.example.com:443', ['203.0.113.9', '169.254.169.254'], false],
    ['db*.lan:5432', 'db7.lan:5432', ['10.0.0.7'], true],
    ['db*.lan:5432', 'db7.x.lan:5432', ['10.0.0.7'], false],
    ['api.example.com:443', 'api.example.com:443', ['203.0.113.9'], true],
    ['api.example.com:443', 'api.example.com:443', ['127.0.0.1'], false],
    ['db.internal:5432', 'db.internal:5432', ['127.0.0.1'], true],
    ['db:5432', 'db:5432', ['127.0.1.1'], true],
    ['10.0.0.0/8:80-90', '10.1.2.3:85', [], true],
    ['10.0.0.0/8:80-90', '10.1.2.3:91', [], false],
    ['10.0.0.0/8:80-90', 'web:80', ['10.1.2.3'], true],
    ['10.0.0.0/8:80-90', 'web:80', ['10.1.2.3', '11.0.0.1'], false],
    ['10.0.0.0/8:80-90', 'web:80', [], false],
    ['10.0.0.0/8:80', '[::ffff:10.1.2.3]:80', [], true],
    ['[fd00::/8]:22', '[fd12::1]:22', [], true],
    ['[fd00::/8]:22', '[fe80::1]:22', [], false],
    ['*:*', 'anything:1', ['198.51.100.1'], true],
    ['*:*', 'localhost:1', [], false],
    ['*:*', 'x.localhost:1', [], false],
    ['*:*', 'alknet-control:0', [], false],
    ['*:*', 'alknet-control:1', [], false],
    ['alknet-control:0', 'alknet-control:0', [], true],
    ['*:*', 'unix:/run/docker.sock', [], false],
    ['unix:/run/docker.sock', 'unix:/run/docker.sock', [], true],
    ['unix:/run/docker.sock', 'unix:/run/other.sock', [], false],
    ['0.0.0.0/0:*', '127.0.0.1:80', [], false],
    ['0.0.0.0/0:*', '0.0.0.0:80', [], false],
    ['[::/0]:*', '[::1]:80', [], false],
    ['[::/0]:*', '[64:ff9b::7f00:1]:80', [], false],
    ['*:*', '2130706433:80', [], false],
    ['*:*', '127.1:80', [], false],
    ['*:*', '0x7f.1:80', [], false],
  ]
  for (const [rule, target, addresses, allowed] of table) {
    const one = await policy()
    await one.allow(ALICE, 'forward', rule)
    assert.equal(forward(one, target, ...addresses), allowed, `allow ${rule}, asked ${target} ${addresses.join(' ')}`)
    assert.equal(one.decide({ peer: BOB, action: 'forward', target, addresses }).allowed, false)
  }
})

test('policy with several rules, the first that matches decides', async () => {
  const several = await policy()
  await several.deny('*', 'forward', '10.0.0.0/8:*')
  await several.allow('known', 'forward', 'web:80')
  assert.deepEqual(
    several.list().map(({ effect, target }) => `${effect} ${target}`),
    ['allow web:80', 'deny 10.0.0.0/8:*'],
  )
  assert.equal(forward(several, 'web:80', '10.0.0.1'), true)
  await several.deny(ALICE, 'forward', 'web:80')
  assert.equal(forward(several, 'web:80', '10.0.0.1'), false)
  assert.equal(several.decide({ peer: BOB, action: 'forward', target: 'web:80', addresses: ['10.0.0.1'] }).allowed, true)
})

test('policy deny of one host below a wider allow, keeps the exception', async () => {
  const one = await policy()
  await one.deny(ALICE, 'forward', 'secret.example.com:22')
  await one.allow(ALICE, 'forward', '*.example.com:*')
  assert.equal(forward(one, 'secret.example.com:22'), false)
  assert.equal(forward(one, 'www.example.com:22'), true)
})

test('policy class as principal, allows that class and above and denies that class and below', async () => {
  const one = await policy()
  await one.allow('partner', 'file')
  assert.equal(one.decide({ peer: ALICE, action: 'file' }).allowed, false)
  assert.equal(one.decide({ peer: BOB, action: 'file' }).allowed, true)
  await one.deny('known', 'ping')
  assert.equal(one.decide({ peer: ALICE, action: 'ping' }).allowed, false)
  assert.equal(one.decide({ peer: did(9), action: 'ping' }).allowed, false)
  assert.equal(one.decide({ peer: BOB, action: 'ping' }).allowed, true)
})

test('policy pattern that can never match, is refused when it is added', async () => {
  const one = await policy()
  const never: [action: string, target: string | undefined, words: RegExp][] = [
    ['foward', 'localhost:1', /no action/],
    ['ping', 'localhost:1', /takes no target/],
    ['file', 'x', /takes no target/],
    ['*', 'localhost:1', /takes no target/],
    ['forward', 'localhost', /HOST:PORT/],
    ['forward', 'localhost:0', /no port/],
    ['forward', 'localhost:70000', /no port/],
    ['forward', 'localhost:90-80', /no port/],
    ['forward', '127.0.0.0/8:80', /name the address/],
    ['forward', '169.254.0.0/16:80', /name the address/],
    ['forward', '*.localhost:80', /write the name in full/],
    ['forward', '10.0.0.1/8:80', /zeros below the prefix/],
    ['forward', '10.*:80', /by network/],
    ['forward', '999.1.1.1:80', /never match/],
    ['forward', 'bad_-.x:80', /never match/],
    ['forward', 'unix:/run/*.sock', /named exactly/],
    ['forward', 'unix:relative', /named exactly/],
    ['open', 'a b', /letters/],
  ]
  for (const [action, target, words] of never) {
    await assert.rejects(one.allow(ALICE, action, target), (error) => error instanceof TypeError && words.test(error.message), `${action} ${target}`)
  }
  assert.deepEqual(one.list(), [])
  await assert.rejects(
    async () => one.allow('nobody', 'ping'),
    (error) => isKithError(error, 'DID_INVALID'),
  )
})

test('policy stored and loaded again, decides the same in the same order', async () => {
  const store = createMemoryStore()
  const before = await policy(store)
  await before.deny('*', 'forward', '*:*')
  await before.allow(ALICE, 'forward', 'localhost:5432')
  await before.allow('known', 'open', 'acme/*')
  const after = await policy(store)
  assert.deepEqual(after.list(), before.list())
  assert.equal(forward(after, 'localhost:5432'), true)
  assert.deepEqual(after.dropped, [])
})

test('policy told the same twice, keeps one rule', async () => {
  const one = await policy()
  await one.allow(ALICE, 'file')
  await one.allow(ALICE, 'file')
  await one.deny(ALICE, 'file')
  assert.deepEqual(one.list(), [{ effect: 'deny', principal: ALICE, action: 'file', target: undefined }])
})

const port = fc.oneof(
  fc.constant('*'),
  fc.integer({ min: 1, max: 65_535 }).map(String),
  fc.tuple(fc.integer({ min: 1, max: 30_000 }), fc.integer({ min: 30_000, max: 65_535 })).map(([a, b]) => `${a}-${b}`),
)
const wideHost = fc.oneof(
  fc.constant('*'),
  fc.constantFrom('*.com', '*.localhost.x', 'l*', '*host', 'loc*t', '*.example.com', '*.*'),
  fc.tuple(fc.integer({ min: 0, max: 31 }), fc.integer({ min: 0, max: 0xffff_ffff })).map(([bits, word]) => {
    const base = bits === 0 ? 0 : (word & (-1 << (32 - bits))) >>> 0
    return `${base >>> 24}.${(base >>> 16) & 255}.${(base >>> 8) & 255}.${base & 255}/${bits}`
  }),
  fc.constantFrom('[::/0]', '[::/96]', '[::/64]', '[::ffff:0:0/96]', '[fe00::/8]', '[2002::/16]', '[64:ff9b::/96]', '[::/127]'),
)
const loopback = fc.oneof(
  fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 255 }))
    .chain(([b, c, d]) => fc.constantFrom(`127.${b}.${c}.${d}`, `169.254.${c}.${d}`, `0.${b}.${c}.${d}`)),
  fc.constantFrom('::1', '::', 'fe80::1', '::ffff:127.0.0.1', '::127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::', 'febf::ffff'),
)

test('policy property: no wildcard and no wider network ever reaches loopback or link-local', async () => {
  await fc.assert(
    fc.asyncProperty(
      wideHost,
      port,
      loopback,
      fc.integer({ min: 1, max: 65_535 }),
      fc.constantFrom('x.com', 'a.example.com', 'localhost', 'lt'),
      async (host, ports, address, asked, name) => {
        const one = await policy()
        try {
          await one.allow('*', 'forward', `${host}:${ports}`)
        } catch (error) {
          assert.ok(error instanceof TypeError)
          return
        }
        await one.allow('*', 'forward')
        const literal = address.includes(':') ? `[${address}]` : address
        assert.notEqual(parseIp(address), undefined)
        assert.equal(forward(one, `${literal}:${asked}`), false)
        assert.equal(forward(one, `${name}:${asked}`, address), false)
        assert.equal(forward(one, `${name}:${asked}`, '198.51.100.7', address), false)
      },
    ),
    { numRuns: 400 },
  )
})

const ruleTarget = fc.constantFrom(
  '*:*',
  'localhost:*',
  'localhost:5432',
  '127.0.0.1:5432',
  '*.example.com:*',
  'a.example.com:443',
  '10.0.0.0/8:*',
  'db:1-9999',
  undefined,
)
const askedTarget = fc.constantFrom(
  { target: 'localhost:5432', addresses: [] as string[] },
  { target: 'localhost:5432', addresses: ['127.0.0.1'] },
  { target: 'localhost:5432', addresses: ['127.0.0.1', '::1'] },
  { target: `localhost:${OWN_PORT}`, addresses: ['::1'] },
  { target: '127.0.0.1:5432', addresses: ['127.0.0.1'] },
  { target: 'a.example.com:443', addresses: ['10.0.0.1'] },
  { target: 'a.example.com:443', addresses: ['127.0.0.1'] },
  { target: 'db:5432', addresses: ['10.0.0.5', '169.254.1.1'] },
  { target: '[fd00::1]:22', addresses: ['fd00::1'] },
  { target: 'unix:/run/x.sock', addresses: [] },
  { target: 'alknet-control:0', addresses: [] },
)

test('policy property: the command printed with a decision, when run, changes it', async () => {
  const rule = fc.record({
    verb: fc.constantFrom('allow' as const, 'deny' as const),
    principal: fc.constantFrom<string>('*', ALICE, BOB, 'known', 'isolated', 'federated'),
    target: ruleTarget,
  })
  await fc.assert(
    fc.asyncProperty(fc.array(rule, { maxLength: 8 }), askedTarget, async (rules, asked) => {
      const one = await policy()
      for (const { verb, principal, target } of rules) await one[verb](principal, 'forward', target)
      const request = { peer: ALICE, action: 'forward', ...asked }
      const before = one.decide(request)
      let decision = before
      // A name with several addresses may need one command for each that no rule for the name reaches.
      for (let step = 0; step <= asked.addresses.length && decision.allowed === before.allowed; step++) {
        await run(one, decision.next)
        decision = one.decide(request)
      }
      assert.equal(decision.allowed, !before.allowed, before.next)
    }),
    { numRuns: 500 },
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { manualClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { type Did, formatDid } from '../../src/identity/did.ts'
import { constraintTable } from '../../src/mesh/constraints.ts'
import { type LocalPolicy, openLocalPolicy } from '../../src/mesh/policy.ts'
import type { PeerClass } from '../../src/mesh/types.ts'

/** What an owner believes after typing `deny`, and what a peer still reaches. */
const MALLORY = didOf(7)
let held: PeerClass = 'known'

function didOf(seed: number): Did {
  const secret = Secret.take(new Uint8Array(32).fill(seed))
  try {
    return formatDid(publicKeyOfSeed(secret))
  } finally {
    secret.wipe()
  }
}

async function policy(): Promise<LocalPolicy> {
  const table = constraintTable()
  return await openLocalPolicy({
    clock: manualClock(),
    store: createMemoryStore(),
    classOf: () => held,
    constraints: (of) => table[of],
    ownPorts: () => [4433],
    localAddresses: () => ['192.168.1.5', 'fd00::5'],
  })
}

function may(of: LocalPolicy, target: string, ...addresses: string[]): boolean {
  return of.decide({ peer: MALLORY, action: 'forward', target, addresses }).allowed
}

test('deny of everything after an allow of one thing, takes that one away too', async () => {
  const rules = await policy()
  await rules.allow(MALLORY, 'forward', 'localhost:5432')
  assert.equal(may(rules, 'localhost:5432', '127.0.0.1'), true)
  await rules.deny(MALLORY, 'forward')
  assert.equal(may(rules, 'localhost:5432', '127.0.0.1'), false)
})

test('deny of one port after an allow of a network, closes that port in the network', async () => {
  const rules = await policy()
  await rules.allow(MALLORY, 'forward', '10.0.0.0/8:*')
  await rules.deny(MALLORY, 'forward', '*:22')
  assert.equal(may(rules, '10.1.2.3:22', '10.1.2.3'), false)
  assert.equal(may(rules, 'web:22', '10.1.2.3'), false)
  assert.equal(may(rules, '10.1.2.3:80', '10.1.2.3'), true)
})

test('deny of every action, of everybody and of a class, outweighs what single peers were allowed', async () => {
  const denials: [principal: string, action: string][] = [
    ['*', '*'],
    ['*', 'forward'],
    [MALLORY, '*'],
    ['known', 'forward'],
  ]
  for (const deny of denials) {
    const rules = await policy()
    await rules.allow(MALLORY, 'forward', 'db.internal:5432')
    await rules.deny(...deny)
    assert.equal(may(rules, 'db.internal:5432', '10.0.0.1'), false, deny.join(' '))
  }
})

const word = fc.constantFrom('*', MALLORY, 'known', 'isolated', 'federated')
const target = fc.constantFrom(
  undefined,
  '*:*',
  '*:22',
  'db:22',
  '*.internal:1-99',
  '10.0.0.0/8:*',
  '10.1.0.0/16:22',
  '10.1.2.3:22',
  'db.internal:22',
  '127.0.0.1:22',
)
const request = fc.constantFrom<[string, ...string[]]>(
  ['db:22', '10.1.2.3'],
  ['db.internal:22', '10.1.2.3', '10.9.9.9'],
  ['10.1.2.3:22', '10.1.2.3'],
  ['localhost:22', '127.0.0.1'],
  ['127.0.0.1:22', '127.0.0.1'],
)

test('property: whatever was allowed before, a deny denies all that it would deny alone', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ effect: fc.constantFrom('allow' as const, 'deny' as const), word, target }), { maxLength: 6 }),
      fc.record({ word, target }),
      request,
      fc.constantFrom<PeerClass>('isolated', 'known', 'partner'),
      async (before, last, [asked, ...addresses], of) => {
        held = of
        const alone = await policy()
        await alone.deny(last.word, 'forward', last.target)
        const denies = alone.decide({ peer: MALLORY, action: 'forward', target: asked, addresses }).rule.startsWith('deny ')
        const rules = await policy()
        for (const { effect, word: principal, target: named } of before) await rules[effect](principal, 'forward', named)
        await rules.deny(last.word, 'forward', last.target)
        if (denies) assert.equal(may(rules, asked, ...addresses), false)
      },
    ),
    { numRuns: 500 },
  )
  held = 'known'
})

test('spellings of this machine, behind the widest rule, reach nothing', async () => {
  const rules = await policy()
  await rules.allow('*', 'forward', '*:*')
  await rules.allow('*', 'forward')
  const spellings = [
    ['localhost:80', '127.0.0.1'],
    ['LOCALHOST:80', '127.0.0.1'],
    ['localhost.:80', '127.0.0.1'],
    ['a.localhost:80', '127.0.0.1'],
    ['127.0.0.1:80', '127.0.0.1'],
    ['127.255.1.9:80', '127.255.1.9'],
    ['0.0.0.0:80', '0.0.0.0'],
    ['[::]:80', '::'],
    ['[::1]:80', '::1'],
    ['[::ffff:127.0.0.1]:80', '::ffff:127.0.0.1'],
    ['[::ffff:7f00:1]:80', '::ffff:7f00:1'],
    ['[0:0:0:0:0:ffff:7f00:0001]:80', '0:0:0:0:0:ffff:7f00:0001'],
    ['[::127.0.0.1]:80', '::127.0.0.1'],
    ['[64:ff9b::127.0.0.1]:80', '64:ff9b::127.0.0.1'],
    ['[2002:7f00:1::]:80', '2002:7f00:1::'],
    ['[fe80::1]:80', 'fe80::1'],
    ['169.254.169.254:80', '169.254.169.254'],
    ['2130706433:80', '127.0.0.1'],
    ['0x7f000001:80', '127.0.0.1'],
    ['0177.0.0.1:80', '127.0.0.1'],
    ['127.1:80', '127.0.0.1'],
    ['1.0x7f:80', '1.0.0.127'],
    ['rebind.example:80', '127.0.0.1'],
    ['rebind.example:80', '203.0.113.1', '127.0.0.1'],
    ['rebind.example:80', '127.0.0.1', '203.0.113.1'],
    ['rebind.example:80', '::ffff:127.0.0.1'],
    ['192.168.1.5:4433', '192.168.1.5'],
    ['me.example:4433', '192.168.1.5'],
    ['[fd00::5]:4433', 'fd00::5'],
    ['[::ffff:192.168.1.5]:4433', '::ffff:192.168.1.5'],
    ['kith-control:1', '10.0.0.1'],
    ['unix:/run/docker.sock'],
    ['ｌocalhost:80', '127.0.0.1'],
    ['loc%61lhost:80', '127.0.0.1'],
    ['127.0.0.1:80@10.0.0.1:80', '10.0.0.1'],
    ['10.0.0.1:0', '10.0.0.1'],
    ['10.0.0.1:65536', '10.0.0.1'],
    ['10.0.0.1:080', '10.0.0.1'],
    ['[fe80::1%lo]:80', 'fe80::1'],
    ['[::1%lo]:80', '::1'],
  ] as const
  for (const [asked, ...addresses] of spellings) assert.equal(may(rules, asked, ...addresses), false, `${asked} ${addresses.join(' ')}`)
})

test('a name that everybody on the network can answer for, does not turn into this machine', async () => {
  const rules = await policy()
  await rules.allow(MALLORY, 'forward', 'printer.local:631')
  assert.equal(may(rules, 'printer.local:631', '10.0.0.9'), true)
  // Multicast DNS has no owner: the peer that is allowed the name may be the one that answers.
  assert.equal(may(rules, 'printer.local:631', '127.0.0.1'), false)
  assert.equal(may(rules, 'printer.local:631', '169.254.169.254'), false)
})

test('a name denied by a rule behind a network that is allowed, says that its addresses may still count', async () => {
  const rules = await policy()
  await rules.deny(MALLORY, 'forward', '*:*')
  await rules.allow(MALLORY, 'forward', '10.0.0.0/8:80')
  const { allowed, byAddress } = rules.decide({ peer: MALLORY, action: 'forward', target: 'other:80' })
  assert.deepEqual([allowed, byAddress, may(rules, 'other:80', '10.1.1.1')], [false, true, true])
  // Nothing of Mallory's is allowed there, whatever the name turns out to be.
  const blind = rules.decide({ peer: MALLORY, action: 'forward', target: 'other:443' })
  assert.deepEqual([blind.allowed, blind.byAddress ?? false], [false, false])
})

test('addresses where clouds keep credentials, in any form, are reached by an exact rule and by nothing wider', async () => {
  const forms = [
    ['169.254.169.254', '169.254.169.254'],
    ['100.100.100.200', '100.100.100.200'],
    ['192.0.0.192', '192.0.0.192'],
    ['168.63.129.16', '168.63.129.16'],
    ['[fd00:ec2::254]', 'fd00:ec2::254'],
    ['[fd00:ec2::23]', 'fd00:ec2::23'],
    ['[fd20:ce::254]', 'fd20:ce::254'],
    ['[fe80::a9fe:a9fe]', 'fe80::a9fe:a9fe'],
    ['[::ffff:100.100.100.200]', '::ffff:100.100.100.200'],
    ['[64:ff9b::100.100.100.200]', '64:ff9b::100.100.100.200'],
    ['[64:ff9b:1::169.254.169.254]', '64:ff9b:1::169.254.169.254'],
    ['[64:ff9b:1:a9fe:a9:fe00::]', '64:ff9b:1:a9fe:a9:fe00::'],
    ['[2002:6464:64c8::1]', '2002:6464:64c8::1'],
  ] as const
  for (const [host, address] of forms) {
    const rules = await policy()
    for (const wide of ['0.0.0.0/0:*', '[::/0]:*', '*:*', '*.example.com:*', '[fc00::/7]:*', '100.64.0.0/10:*', '192.0.0.0/24:*'])
      await rules.allow(MALLORY, 'forward', wide)
    assert.equal(may(rules, `${host}:80`, address), false, host)
    assert.equal(may(rules, 'www.example.com:80', address), false, `a name that resolves to ${host}`)
    await rules.allow(MALLORY, 'forward', `${host}:80`)
    assert.equal(may(rules, `${host}:80`, address), true, `${host}, said exactly`)
  }
  const rules = await policy()
  await rules.allow(MALLORY, 'forward', '0.0.0.0/0:*')
  for (const near of ['100.100.100.201', '192.0.0.191', '168.63.129.17']) assert.equal(may(rules, `${near}:80`, near), true, near)
})

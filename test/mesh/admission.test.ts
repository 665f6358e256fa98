import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import type { Did } from '../../src/identity/did.ts'
import { type Admission, type AdmissionLimits, createAdmission, type Lease } from '../../src/mesh/admission.ts'
import { type Budgets, createBudgets, ISOLATED_LIMITS, type LinkBudget } from '../../src/mesh/admission-budget.ts'
import { sourceKeys, sourceOfPath } from '../../src/mesh/admission-source.ts'
import { DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import type { AuthenticatedLink } from '../../src/mesh/hello-types.ts'
import type { BucketConstraint, ConstraintSet, PeerClass } from '../../src/mesh/types.ts'
import type { Source } from '../../src/transport/types.ts'

const from = (host: string): Source => ({ scheme: 'tcp', host, port: 1 })

function setUp(limits: Partial<AdmissionLimits> = {}): { clock: ManualClock; admission: Admission } {
  const clock = manualClock()
  return { clock, admission: createAdmission({ clock, limits }) }
}

describe('admission, sources', () => {
  test('an address counts once in all its spellings; IPv6 by its /64', () => {
    for (const host of ['192.0.2.7', '::ffff:192.0.2.7', '[::ffff:c000:207]']) assert.deepEqual(sourceKeys(host), sourceKeys('192.0.2.7'))
    assert.equal(sourceKeys('2001:db8::1').source, sourceKeys('2001:db8::ffff:1').source)
    assert.notEqual(sourceKeys('2001:db8::1').source, sourceKeys('2001:db8:0:1::1').source)
    assert.equal(sourceKeys('2001:db8:0:1::1').network, sourceKeys('2001:db8:0:2::1').network)
    assert.equal(sourceKeys('192.0.2.7').network, sourceKeys('192.0.2.8').network)
    assert.notEqual(sourceKeys('192.0.2.7').network, sourceKeys('192.0.3.7').network)
    assert.notEqual(sourceKeys('node-1').network, sourceKeys('node-2').network)
  })

  test('a channel’s source is its address, a relayed one’s is the relay', () => {
    assert.deepEqual(sourceOfPath({ scheme: 'tcp', address: 'tcp://[2001:db8::1]:4433', direct: true }), { scheme: 'tcp', host: '[2001:db8::1]', port: 4433 })
    assert.equal(sourceOfPath({ scheme: 'relay', address: 'relay://abc', direct: false, via: 'tcp://192.0.2.1:1' }).host, '192.0.2.1')
    assert.equal(sourceOfPath({ scheme: 'memory', address: 'not a url', direct: true }).host, 'not a url')
  })
})

describe('admission, before anything is proved', () => {
  test('ten thousand half-open sources, memory stays bounded and a newcomer gets in', () => {
    const { clock, admission } = setUp()
    const evicted: string[] = []
    for (let i = 0; i < 10_000; i++) {
      const host = `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.9`
      admission.handshake(from(host), () => evicted.push(host))
      clock.advance(2)
    }
    assert.equal(admission.status.halfOpen, 1024)
    assert.ok(admission.status.sources <= 4096)
    assert.ok(admission.status.groups <= 2048)
    assert.ok(evicted.length > 0)
    assert.equal(evicted[0], '11.0.0.9', 'the oldest first')
    clock.advance(1000)
    assert.notEqual(admission.handshake(from('198.51.100.1')), undefined)
  })

  test('handshakes younger than the grace are safe: the newcomer is turned away', () => {
    const { clock, admission } = setUp({ halfOpen: 2 })
    const evicted: number[] = []
    admission.handshake(from('192.0.2.1'), () => evicted.push(1))
    clock.advance(500)
    admission.handshake(from('198.51.100.1'), () => evicted.push(2))
    assert.equal(admission.handshake(from('203.0.113.1')), undefined)
    clock.advance(500)
    assert.notEqual(admission.handshake(from('203.0.113.1')), undefined)
    assert.deepEqual(evicted, [1])
    assert.equal(admission.status.refused, 1)
  })

  test('one source fills its own share only, its neighbourhood only its own', () => {
    const { admission } = setUp({ halfOpenPerSource: 2, halfOpenPerNetwork: 3 })
    const outcome = (host: string): boolean => admission.handshake(from(host)) !== undefined
    assert.deepEqual([outcome('192.0.2.1'), outcome('192.0.2.1'), outcome('192.0.2.1')], [true, true, false])
    assert.deepEqual([outcome('192.0.2.2'), outcome('192.0.2.3')], [true, false])
    assert.equal(outcome('192.0.3.1'), true)
  })

  test('what can not be ended is not evicted: QUIC hands no way', () => {
    const { clock, admission } = setUp({ halfOpen: 1 })
    admission.handshake(from('192.0.2.1'))
    clock.advance(60_000)
    assert.equal(admission.handshake(from('198.51.100.1')), undefined)
  })

  test('a rate per source and one for all; a source that waits may come again; loopback has only the one for all', () => {
    const { clock, admission } = setUp({ perSecond: 1, burst: 2, totalPerSecond: 5, totalBurst: 5 })
    const once = (host: string): boolean => {
      const lease = admission.handshake(from(host))
      lease?.release()
      return lease !== undefined
    }
    assert.deepEqual([once('192.0.2.1'), once('192.0.2.1'), once('192.0.2.1')], [true, true, false])
    assert.deepEqual([once('127.0.0.1'), once('127.0.0.1'), once('127.0.0.1'), once('127.0.0.1')], [true, true, true, false])
    clock.advance(1000)
    assert.equal(once('192.0.2.1'), true)
  })

  test('a greeting holds its place until released, once; making room closes the channel', () => {
    const { clock, admission } = setUp({ halfOpen: 1 })
    let closed = 0
    const channel = { path: { scheme: 'tcp', address: 'tcp://192.0.2.1:1', direct: true }, close: () => closed++ }
    const lease = admission.greeting(channel) as Lease
    assert.equal(admission.greeting(channel), undefined)
    lease.release()
    lease.release()
    assert.equal(admission.status.halfOpen, 0)
    assert.notEqual(admission.greeting(channel), undefined)
    clock.advance(1000)
    assert.notEqual(admission.greeting(channel), undefined)
    assert.equal(closed, 1)
  })
})

const did = (name: string): Did => `did:icn:z${name}` as Did

function linkOf(name: string, host: string, status: 'first-seen' | 'forked' = 'first-seen'): AuthenticatedLink {
  return { did: did(name), channel: { path: { scheme: 'tcp', address: `tcp://${host}:1`, direct: true } }, chain: { status } } as unknown as AuthenticatedLink
}

function budgets(classes: Record<string, PeerClass> = {}): {
  clock: ManualClock
  budgets: Budgets
  classes: Record<string, PeerClass>
  evicted: string[]
  enter(name: string, host?: string, status?: 'forked'): LinkBudget
} {
  const clock = manualClock()
  const classOf = (peer: Did): PeerClass => classes[peer.slice(9)] ?? 'isolated'
  const made = createBudgets({ clock, policy: { classOf, constraints: (peer) => DEFAULT_CONSTRAINTS[classOf(peer)] } })
  const evicted: string[] = []
  let hosts = 0
  return {
    clock,
    budgets: made,
    classes,
    evicted,
    enter: (name, host = `10.${hosts >> 8}.${hosts++ & 255}.1`, status) =>
      made.enter(linkOf(name, host, status), (error) => evicted.push(`${name} ${error.code}`)),
  }
}

const exceeded = (error: unknown): boolean => error instanceof KithError && error.code === 'BUDGET_EXCEEDED'

describe('admission, budgets after the proof', () => {
  test('strangers share 64 links: the 65th is refused while all are busy, then replaces the one idle longest', () => {
    const world = budgets()
    const leases = Array.from({ length: 64 }, (_, i) => {
      world.clock.advance(1)
      return world.enter(`s${i}`)
    })
    assert.throws(() => world.enter('late'), exceeded)
    world.clock.advance(ISOLATED_LIMITS.idleMs)
    leases[0]?.touch()
    world.enter('late')
    assert.deepEqual(world.evicted, ['s1 BUDGET_EXCEEDED'])
    assert.equal(world.budgets.isolatedLinks, 64)
    assert.equal(world.budgets.dids, 64)
  })

  test('a known peer gets in while strangers fill their share', () => {
    const world = budgets({ friend: 'known' })
    for (let i = 0; i < 64; i++) world.enter(`s${i}`)
    assert.equal(world.enter('friend').message(), true)
    assert.equal(world.budgets.isolatedLinks, 64)
  })

  test('eight strangers from one /24, whatever their number of identities', () => {
    const world = budgets()
    for (let i = 0; i < 8; i++) world.enter(`s${i}`, `192.0.2.${i}`)
    assert.throws(() => world.enter('s8', '192.0.2.200'), exceeded)
    world.enter('s9', '192.0.3.1')
    for (let i = 0; i < 8; i++) world.enter(`v${i}`, `[2001:db8:0:${i}::1]`)
    assert.throws(() => world.enter('v8', '[2001:db8:0:9::1]'), exceeded)
  })

  test('strangers share 200 messages a second, and each has only its own few', () => {
    const world = budgets()
    const leases = Array.from({ length: 60 }, (_, i) => world.enter(`s${i}`))
    const allowed = leases.map((lease) => Array.from({ length: 10 }, () => lease.message()).filter(Boolean).length)
    assert.equal(allowed[0], DEFAULT_CONSTRAINTS.isolated.burst)
    assert.equal(
      allowed.reduce((sum, count) => sum + count, 0),
      ISOLATED_LIMITS.burst,
    )
  })

  test('strangers share 8 MiB of buffers; what is freed or left can be used again', () => {
    const world = budgets()
    const leases = Array.from({ length: 9 }, (_, i) => world.enter(`s${i}`))
    const mib = 1024 * 1024
    assert.deepEqual(
      leases.map((lease) => lease.reserve(mib)),
      [true, true, true, true, true, true, true, true, false],
    )
    assert.equal(leases[0]?.reserve(1), false, 'its own limit is 1 MiB')
    leases[0]?.free(mib)
    assert.equal(leases[8]?.reserve(mib), true)
    leases[1]?.leave()
    assert.equal(leases[0]?.reserve(mib), true)
    assert.throws(() => leases[0]?.free(mib + 1), TypeError)
    leases[1]?.free(mib)
  })

  test('when strangers use all they share, the one that holds most gives way to one that holds less, and to nobody else', () => {
    const world = budgets()
    const leases = Array.from({ length: 8 }, (_, i) => world.enter(`s${i}`))
    const kib = 1024
    for (const [index, lease] of leases.entries()) assert.equal(lease.reserve(index === 3 ? 1024 * kib : 1000 * kib), true)
    const late = world.enter('late')
    assert.equal(late.reserve(1024 * kib), false)
    assert.deepEqual(world.evicted, [])
    assert.equal(late.reserve(900 * kib), true)
    assert.deepEqual(world.evicted, ['s3 BUDGET_EXCEEDED'])
    assert.equal(leases[3]?.reserve(1), false)
    leases[3]?.free(1024 * kib)
    assert.equal(world.budgets.isolatedLinks, 8)
  })

  test('a stranger pays a message for a stream, anybody else none', () => {
    const world = budgets({ friend: 'known' })
    const [stranger, friend] = [world.enter('stranger'), world.enter('friend')]
    const opened = (lease: LinkBudget): number => Array.from({ length: 50 }, () => lease.stream()).filter(Boolean).length
    assert.deepEqual([opened(stranger), opened(friend)], [DEFAULT_CONSTRAINTS.isolated.burst, 50])
    assert.equal(friend.message(), true)
  })

  test('one stranger buffers at most its own 1 MiB, though the shared budget is empty', () => {
    const lease = budgets().enter('ann')
    assert.equal(lease.reserve(1024 * 1024 + 1), false)
    assert.equal(lease.reserve(1024 * 1024), true)
  })

  test('a peer that is demoted while it holds more than strangers share, BUDGET_EXCEEDED', () => {
    const world = budgets({ ann: 'partner' })
    const lease = world.enter('ann')
    lease.reserve(ISOLATED_LIMITS.bufferBytes + 1)
    world.classes.ann = 'isolated'
    assert.throws(() => lease.refresh(), exceeded)
  })

  test('links of one identity are counted together, on all its devices', () => {
    const world = budgets({ ann: 'known' })
    for (let i = 0; i < DEFAULT_CONSTRAINTS.known.links; i++) world.enter('ann')
    assert.throws(() => world.enter('ann'), exceeded)
  })

  test('a peer that becomes known leaves the shared budget with everything it holds; one that is demoted returns', () => {
    const world = budgets()
    const lease = world.enter('ann')
    lease.reserve(1000)
    world.classes.ann = 'partner'
    lease.refresh()
    assert.equal(world.budgets.isolatedLinks, 0)
    assert.equal(lease.reserve(4 * 1024 * 1024), true)
    world.classes.ann = 'isolated'
    lease.refresh()
    assert.equal(world.budgets.isolatedLinks, 1)
    lease.leave()
    lease.leave()
    assert.deepEqual([world.budgets.isolatedLinks, world.budgets.dids], [0, 0])
    assert.equal(lease.message(), false)
  })

  test('a forked identity gets what strangers get, whatever its class', () => {
    const world = budgets({ ann: 'federated' })
    world.enter('ann', undefined, 'forked')
    assert.equal(world.budgets.isolatedLinks, 1)
  })

  test('a class changed to and fro, refills no rate: what is left keeps its share', () => {
    const world = budgets({ ann: 'known' })
    const lease = world.enter('ann')
    const drained = (): number => Array.from({ length: 200 }, () => lease.message()).filter(Boolean).length
    assert.equal(drained(), DEFAULT_CONSTRAINTS.known.burst)
    for (let round = 0; round < 50; round++) {
      world.classes.ann = round % 2 === 0 ? 'federated' : 'known'
      lease.refresh()
    }
    assert.equal(drained(), 0)
    world.clock.advance(250)
    assert.equal(drained(), DEFAULT_CONSTRAINTS.known.messagesPerSecond / 4)
  })

  test('a link ended and made again, refills no rate', () => {
    const world = budgets({ ann: 'known' })
    const drained = (lease: LinkBudget): number => Array.from({ length: 200 }, () => lease.message()).filter(Boolean).length
    const first = world.enter('ann')
    assert.equal(drained(first), DEFAULT_CONSTRAINTS.known.burst)
    first.leave()
    assert.equal(drained(world.enter('ann')), 0)
  })
})

/** Peers known through somebody: `limits` of Known, charged to this introducer. */
function introduced(
  through: Record<string, string>,
  changes: Partial<BucketConstraint> = {},
): { clock: ManualClock; budgets: Budgets; enter(name: string): LinkBudget } {
  const clock = manualClock()
  const buckets = new Map(['fay', 'guy'].map((key) => [key, { key, messagesPerSecond: 200, burst: 100, links: 16, ...changes }]))
  const constraints = (peer: Did): ConstraintSet => {
    const bucket = buckets.get(through[peer.slice(9)] ?? '')
    return bucket === undefined ? DEFAULT_CONSTRAINTS.known : { ...DEFAULT_CONSTRAINTS.known, bucket }
  }
  const made = createBudgets({ clock, policy: { classOf: () => 'known', constraints } })
  let hosts = 0
  return { clock, budgets: made, enter: (name) => made.enter(linkOf(name, `10.${hosts >> 8}.${hosts++ & 255}.1`), () => undefined) }
}

describe('admission, budgets behind an introducer', () => {
  const crowd = (size: number, key: string): Record<string, string> => Object.fromEntries(Array.from({ length: size }, (_, i) => [`${key}${i}`, key]))

  test('a crowd of any size shares 16 links, and leaves those of another introducer alone', () => {
    const world = introduced({ ...crowd(10_000, 'fay'), ...crowd(1, 'guy') })
    const leases = Array.from({ length: 16 }, (_, i) => world.enter(`fay${i}`))
    for (let i = 16; i < 10_000; i++) assert.throws(() => world.enter(`fay${i}`), exceeded)
    world.enter('guy0')
    world.enter('friend')
    leases[3]?.leave()
    world.enter('fay16')
    assert.throws(() => world.enter('fay17'), exceeded)
    assert.equal(world.budgets.dids, 18)
  })

  test('a crowd shares one rate, each of it has its own too', () => {
    const world = introduced(crowd(16, 'fay'))
    const leases = Array.from({ length: 16 }, (_, i) => world.enter(`fay${i}`))
    const taken = leases.map((lease) => Array.from({ length: 20 }, () => lease.message()).filter(Boolean).length)
    assert.equal(taken[0], DEFAULT_CONSTRAINTS.known.burst)
    assert.equal(
      taken.reduce((sum, count) => sum + count, 0),
      100,
    )
    for (const lease of leases) lease.leave()
    const again = world.enter('fay15')
    assert.equal(again.message(), false, 'the shared rate is remembered without links')
  })

  test('a peer that gets an edge of its own, leaves the introducer’s budget; one that loses it needs a place there', () => {
    const through: Record<string, string> = { ann: 'fay', ben: 'fay' }
    const world = introduced(through, { links: 1 })
    const ann = world.enter('ann')
    assert.throws(() => world.enter('ben'), exceeded)
    delete through.ann
    ann.refresh()
    const ben = world.enter('ben')
    through.ann = 'fay'
    assert.throws(() => ann.refresh(), exceeded)
    through.ann = 'guy'
    ann.refresh()
    ben.leave()
    through.ann = 'fay'
    ann.refresh()
    assert.throws(() => world.enter('ben'), exceeded)
  })
})

describe('admission, guests with a ticket', () => {
  function crowded(expecting: boolean): {
    clock: ManualClock
    budgets: Budgets
    classes: Map<Did, PeerClass>
    evicted: string[]
    enter(name: string, host?: string): LinkBudget
  } {
    const clock = manualClock()
    const classes = new Map<Did, PeerClass>()
    const classOf = (peer: Did): PeerClass => classes.get(peer) ?? 'isolated'
    const made = createBudgets({ clock, policy: { classOf, constraints: (peer) => DEFAULT_CONSTRAINTS[classOf(peer)] }, expecting: () => expecting })
    const evicted: string[] = []
    let hosts = 0
    const enter = (name: string, host = `10.${hosts >> 8}.${hosts++ & 255}.1`): LinkBudget => made.enter(linkOf(name, host), () => evicted.push(name))
    const busy = Array.from({ length: 64 }, (_, i) => enter(`s${i}`))
    // Strangers that use their links all the time.
    const tick = (): void => {
      for (const lease of busy) lease.touch()
      clock.after(1_000, tick)
    }
    tick()
    return { clock, budgets: made, classes, evicted, enter }
  }

  test('without a ticket out, strangers that fill every place keep the next one out', () => {
    const world = crowded(false)
    assert.throws(() => world.enter('newcomer'), exceeded)
  })

  test('with a ticket out, eight more get in, and who has paired keeps the place', () => {
    const world = crowded(true)
    const newcomer = world.enter('newcomer')
    for (let i = 0; i < 7; i++) world.enter(`guest${i}`)
    assert.throws(() => world.enter('one more'), exceeded)
    world.classes.set(did('newcomer'), 'known')
    newcomer.refresh()
    world.enter('one more')
    assert.throws(() => world.enter('another'), exceeded)
    world.clock.advance(10_000)
    world.enter('another')
    assert.deepEqual(world.evicted, ['guest0'], 'the oldest guest that did not pair')
    assert.equal(newcomer.message(), true)
  })

  test('one network, has two of the places for guests', () => {
    const world = crowded(true)
    world.enter('a', '192.0.2.1')
    world.enter('b', '192.0.2.2')
    assert.throws(() => world.enter('c', '192.0.2.3'), exceeded)
    world.enter('d', '198.51.100.1')
    world.clock.advance(10_000)
    world.enter('c', '192.0.2.3')
    assert.deepEqual(world.evicted, ['a'])
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { Invites } from '../../src/mesh/invite.ts'
import { decodeTicket, encodeTicket } from '../../src/mesh/ticket.ts'
import { createWorld, type World, type WorldNode } from '../mesh/mesh-support.ts'

/** People who hold a ticket, or held one, want more than the owner gave. */
const TIMEOUT = { timeout: 60_000 }

async function refused(world: World, joiner: WorldNode, ticket: string): Promise<void> {
  await assert.rejects(world.settle(joiner.mesh.join(ticket)), (error) => isKithError(error, 'INVITE_REFUSED'))
}

test('a peer that was forgotten, does not come back with the ticket it used', TIMEOUT, async () => {
  for (const uses of [1, 5]) {
    const world = createWorld()
    const [ann, mallory] = [await world.node('ann'), await world.node('mallory')]
    const { ticket } = await ann.mesh.invites.create({ uses, class: 'partner', trustTicket: true })
    await world.settle(mallory.mesh.join(ticket))
    await ann.mesh.book.forget('mallory')
    await refused(world, mallory, ticket)
    assert.equal(ann.mesh.book.get(mallory.mesh.did), undefined)
    assert.equal(ann.mesh.policy.classOf(mallory.mesh.did), 'isolated')
    await world.close()
  }
})

test('an inviter that trusts its own ticket, gives itself no class at the joiner', TIMEOUT, async () => {
  const world = createWorld()
  const [mallory, ben] = [await world.node('mallory'), await world.node('ben')]
  await ben.mesh.policy.allow('partner', 'forward', 'localhost:22')
  const { ticket } = await mallory.mesh.invites.create({ class: 'federated', trustTicket: true })
  const joined = await world.settle(ben.mesh.join(ticket))
  assert.deepEqual([joined.class, joined.pending], ['known', 'federated'])
  assert.equal(ben.mesh.policy.decide({ peer: mallory.mesh.did, action: 'forward', target: 'localhost:22' }).allowed, false)
  assert.equal((await ben.mesh.confirm('mallory')).class, 'federated')
  await world.close()
})

/** A store whose next durable batch waits: the moment between "found" and "written". */
function gatedStore(): { store: Store; hold(): void; held(): boolean; release(): void } {
  const inner = createMemoryStore()
  let open: (() => void) | undefined
  let gate: Promise<void> | undefined
  let waiting = false
  const store: Store = {
    get: (ns, key) => inner.get(ns, key),
    put: (ns, key, value, options) => inner.put(ns, key, value, options),
    delete: (ns, key, options) => inner.delete(ns, key, options),
    scan: (ns, options) => inner.scan(ns, options),
    close: () => inner.close(),
    async batch(operations, options) {
      if (gate !== undefined && operations.some(({ ns }) => ns === 'mesh/invites')) {
        waiting = true
        await gate
      }
      await inner.batch(operations, options)
    },
  }
  return {
    store,
    hold: () => {
      gate = new Promise((resolve) => {
        open = resolve
      })
    },
    held: () => waiting,
    release: () => {
      gate = undefined
      open?.()
    },
  }
}

test('a ticket revoked while somebody is being let in by it, lets nobody else in afterwards', TIMEOUT, async () => {
  const world = createWorld()
  const gated = gatedStore()
  const [ann, ben, cem] = [await world.node('ann', { store: gated.store }), await world.node('ben'), await world.node('cem')]
  const { id, ticket } = await ann.mesh.invites.create({ uses: 5 })
  gated.hold()
  const joining = ben.mesh.join(ticket)
  joining.catch(() => undefined)
  await world.until(() => gated.held())
  const revoking = ann.mesh.invites.revoke(id)
  await world.run()
  gated.release()
  await world.settle(Promise.allSettled([joining, revoking]))
  await world.settle(revoking)
  assert.deepEqual(ann.mesh.invites.list(), [])
  assert.deepEqual((await Invites.open(gated.store, world.clock)).list(), [])
  await refused(world, cem, ticket)
  await world.close()
})

test('two at once with a ticket for one while the disk is slow, one use is written and one is let in', TIMEOUT, async () => {
  const world = createWorld()
  const gated = gatedStore()
  const ann = await world.node('ann', { store: gated.store })
  const thieves = await Promise.all(['ben', 'cem', 'dan', 'eva'].map((name) => world.node(name)))
  const { ticket } = await ann.mesh.invites.create({})
  gated.hold()
  const attempts = thieves.map(({ mesh }) => mesh.join(ticket))
  for (const attempt of attempts) attempt.catch(() => undefined)
  await world.until(() => gated.held())
  await world.run(100)
  gated.release()
  const results = await world.settle(Promise.allSettled(attempts))
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  assert.equal(ann.mesh.book.list().length, 1)
  const [stored] = (await Invites.open(gated.store, world.clock)).list()
  assert.deepEqual([stored?.usesLeft, stored?.users.length], [0, 1])
  await world.close()
})

test('killed between grant and answer, the ticket is spent for others and repeats its grant for the same joiner', TIMEOUT, async () => {
  const world = createWorld()
  const gated = gatedStore()
  const [ann, ben, cem] = [await world.node('ann', { store: gated.store }), await world.node('ben'), await world.node('cem')]
  const { ticket } = await ann.mesh.invites.create({})
  await world.settle(ben.mesh.join(ticket))
  // What a kill right behind the transaction leaves: the store as it is, nothing of the process.
  await world.settle(ann.mesh.close())
  await world.node('again', { identity: ann.identity, device: ann.device, store: gated.store, listen: 'memory://ann' })
  await refused(world, cem, ticket)
  assert.equal((await world.settle(ben.mesh.join(ticket))).did, ann.mesh.did)
  await world.close()
})

test('the clock of the inviter set back, an expired ticket stays expired', TIMEOUT, async () => {
  const world = createWorld()
  // A wall clock of its own beside the steady one.
  let shift = 0
  const clock = { ...world.clock, now: () => world.clock.now() + shift, monotonic: () => world.clock.monotonic(), after: world.clock.after.bind(world.clock) }
  const [ann, ben] = [await world.node('ann', { clock }), await world.node('ben')]
  const { ticket } = await ann.mesh.invites.create({ expiresMs: 60_000 })
  const other = await ann.mesh.invites.create({ expiresMs: 600_000 })
  await world.run(70_000)
  shift = -65_000
  const parts = decodeTicket(ticket)
  await refused(world, ben, encodeTicket({ ...parts, expiresS: parts.expiresS + 600 }))
  assert.equal(ann.mesh.invites.list().find(({ expiresMs }) => expiresMs < other.expiresMs)?.state, 'expired')
  // Forward by a year and back: nothing that expired meanwhile by a wrong clock is lost for good, nothing that ran out comes back.
  shift = 365 * 86_400_000
  assert.equal(
    ann.mesh.invites.list().every(({ state }) => state === 'expired'),
    true,
  )
  shift = 0
  assert.equal((await world.settle(ben.mesh.join(other.ticket))).did, ann.mesh.did)
  await world.close()
})

test('confirm with somebody else’s words on the screen, raises nobody but the peer that is named', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, bob, mallory] = [await world.node('ann'), await world.node('bob'), await world.node('mallory')]
  mallory.device.name = 'bob'
  const { ticket } = await ann.mesh.invites.create({ class: 'partner', uses: 2 })
  await world.settle(bob.mesh.join(ticket))
  await world.settle(mallory.mesh.join(ticket))
  assert.notEqual(ann.mesh.book.get(mallory.mesh.did)?.name.toLowerCase(), 'bob')
  assert.equal((await ann.mesh.confirm('BOB')).did, bob.mesh.did)
  assert.equal(ann.mesh.policy.classOf(mallory.mesh.did), 'known')
  await world.close()
})

test('guesses at a ticket from many links of one place, stop being looked at after five a minute', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, mallory] = [await world.node('ann'), await world.node('mallory')]
  const { ticket } = await ann.mesh.invites.create({})
  const parts = decodeTicket(ticket)
  const guesses = Array.from({ length: 20 }, (_, at) => encodeTicket({ ...parts, secret: new Uint8Array(16).fill(at) }))
  const results = await world.settle(Promise.allSettled(guesses.map((guess) => mallory.mesh.join(guess))))
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 0)
  for (const guess of guesses.slice(0, 5)) {
    // The pace of strangers has a limit of its own.
    await world.run(2_000)
    await refused(world, mallory, guess)
  }
  await world.run(2_000)
  // Now even the right one is not.
  await refused(world, mallory, ticket)
  assert.equal(ann.mesh.book.list().length, 0)
  await world.close()
})

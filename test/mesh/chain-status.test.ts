import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import type { ChainState } from '../../src/identity/types.ts'
import { certify, rotateIdentity, type TestIdentity } from './fixtures.ts'
import { acquaint, createWorld, type World, type WorldNode } from './mesh-support.ts'

function world(t: TestContext): World {
  const made = createWorld()
  t.after(() => made.close())
  return made
}

async function linkedPair(w: World): Promise<readonly [WorldNode, WorldNode]> {
  const [ann, bob] = [await w.node('ann'), await w.node('bob')]
  await acquaint(ann, bob)
  await w.settle(ann.mesh.dial('bob'))
  await w.until(() => statusOf(bob, ann) !== undefined && statusOf(ann, bob) !== undefined)
  return [ann, bob]
}

function statusOf(at: WorldNode, of: WorldNode): string | undefined {
  return at.mesh.links().find(({ did }) => did === of.mesh.did)?.chain?.status
}

function classOf(at: WorldNode, of: WorldNode): string {
  return at.mesh.policy.classOf(of.mesh.did)
}

/** The same identity in somebody else's hands: it goes on from the same entry to other keys. */
function thiefOf({ identity }: WorldNode): TestIdentity {
  return { ...identity }
}

/** Both histories are shown to `bob`, the owner's first. Where both go on, `ann` goes on too. */
async function fork(w: World, ann: WorldNode, bob: WorldNode): Promise<Readonly<Record<'owner' | 'thief' | 'third', ChainState>>> {
  const [thief, third] = [thiefOf(ann), thiefOf(ann)]
  rotateIdentity(third, { branch: 'third ' })
  rotateIdentity(ann.identity)
  ann.device.chain = ann.identity.chain
  ann.device.binding = certify(ann.identity, 'ann', { serial: 2 })
  await w.settle(bob.mesh.messages.directory.learn(papersOf(ann)))
  rotateIdentity(thief, { branch: 'other ' })
  await assert.rejects(w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, thief.chain.entries)), { code: 'CHAIN_FORKED' })
  return { owner: ann.identity.chain, thief: thief.chain, third: third.chain }
}

function papersOf({ mesh, device }: WorldNode): Parameters<WorldNode['mesh']['messages']['directory']['learn']>[0] {
  return { did: mesh.did, binding: device.binding, chain: encodeChain(device.chain.entries) }
}

test('first-seen peer, whatever its class, is at most Known until somebody vouches for its keys', async (t) => {
  const w = world(t)
  const [ann, bob] = await linkedPair(w)
  assert.equal(statusOf(bob, ann), 'first-seen')
  await bob.mesh.book.add(ann.mesh.did, { class: 'federated' })
  assert.equal(classOf(bob, ann), 'known')
  assert.equal(bob.mesh.policy.scoreOf(ann.mesh.did), 1000)
  const why = bob.mesh.why('ann', 'forward', '192.0.2.1:80')
  assert.equal(why.chain?.status, 'first-seen')
  assert.match(why.rule ?? '', /at most known because only it showed its keys/)
  const head = toHex(ann.device.chain.head)
  await assert.rejects(w.settle(bob.mesh.anchor('ann', { head: head.slice(0, 15) })), TypeError)
  await assert.rejects(w.settle(bob.mesh.anchor('ann', { head: `0000${head.slice(4, 20)}` })), { code: 'WRONG_PEER' })
  assert.equal(statusOf(bob, ann), 'first-seen')
  assert.deepEqual(await w.settle(bob.mesh.anchor('ann', { head: head.slice(0, 16) })), { status: 'anchored', index: 0, head })
  assert.equal(classOf(bob, ann), 'federated')
  assert.equal(bob.mesh.policy.scoreOf(ann.mesh.did), 7000)
})

test('peer of whom no keys are known, can be anchored only by its history', async (t) => {
  const w = world(t)
  const [ann, bob] = [await w.node('ann', { listen: null }), await w.node('bob')]
  await bob.mesh.book.add(ann.mesh.did, { name: 'ann', class: 'partner' })
  assert.equal(bob.mesh.why('ann').chain, null)
  await assert.rejects(w.settle(bob.mesh.anchor('ann')), { code: 'NOT_FOUND' })
  await assert.rejects(w.settle(bob.mesh.anchor('ann', { chain: encodeChain(bob.device.chain.entries) })), { code: 'CHAIN_INVALID' })
  await w.settle(bob.mesh.anchor('ann', { chain: encodeChain(ann.device.chain.entries) }))
  assert.equal(statusOf(bob, ann), 'anchored')
})

test('ticket, anchors its issuer at the joiner; words that were compared, or a ticket trusted alone, the joiner at its issuer', async (t) => {
  const w = world(t)
  const [ann, bob, cem] = [await w.node('ann'), await w.node('bob'), await w.node('cem')]
  const { ticket } = await ann.mesh.invites.create({ class: 'partner' })
  await w.settle(bob.mesh.join(ticket))
  assert.equal(statusOf(bob, ann), 'anchored')
  assert.equal(statusOf(ann, bob), 'first-seen')
  await w.settle(ann.mesh.confirm(bob.mesh.did))
  assert.equal(statusOf(ann, bob), 'anchored')
  assert.equal(classOf(ann, bob), 'partner')
  const trusted = await ann.mesh.invites.create({ class: 'partner', trustTicket: true })
  await w.settle(cem.mesh.join(trusted.ticket))
  await w.until(() => statusOf(ann, cem) === 'anchored')
  assert.equal(classOf(ann, cem), 'partner')
})

test('anchored peer that rotates, stays anchored', async (t) => {
  const w = world(t)
  const [ann, bob] = await linkedPair(w)
  await w.settle(bob.mesh.anchor('ann'))
  rotateIdentity(ann.identity)
  await w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, ann.identity.chain.entries))
  assert.deepEqual(bob.mesh.why('ann').chain, { status: 'anchored', index: 1, head: toHex(ann.identity.chain.head) })
})

test('machine that has not heard of its identity’s newest keys, shows as stale and is linked all the same', async (t) => {
  const w = world(t)
  const [ann, bob] = [await w.node('ann'), await w.node('bob')]
  await acquaint(ann, bob)
  const newer = thiefOf(ann)
  rotateIdentity(newer)
  await w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, newer.chain.entries))
  await w.settle(ann.mesh.dial('bob'))
  await w.until(() => bob.mesh.links().some(({ state }) => state === 'connected'))
  assert.equal(statusOf(bob, ann), 'stale')
  assert.equal(bob.mesh.why('ann').chain?.index, 1)
})

test('forked peer, keeps the limits of strangers and nothing it was granted, until a person chooses its history', async (t) => {
  const w = world(t)
  const [ann, bob] = await linkedPair(w)
  await bob.mesh.book.add(ann.mesh.did, { class: 'partner' })
  await w.settle(bob.mesh.anchor('ann'))
  await bob.mesh.policy.allow('ann', 'forward', '192.0.2.1:80')
  const mayForward = (): boolean => bob.mesh.policy.test('ann', 'forward', '192.0.2.1:80').allowed
  assert.ok(mayForward())
  const { owner, thief, third } = await fork(w, ann, bob)
  assert.equal(statusOf(bob, ann), 'forked')
  assert.deepEqual([classOf(bob, ann), mayForward()], ['isolated', false])
  assert.equal(bob.mesh.why('ann', 'forward', '192.0.2.1:80').next, `kith peers repin ${ann.mesh.did} --head HEX`)
  await assert.rejects(w.settle(bob.mesh.anchor('ann')), { code: 'CHAIN_FORKED' })
  await assert.rejects(w.settle(bob.mesh.repin('ann', '0'.repeat(16))), { code: 'NOT_FOUND' })
  // Before they part the two are one.
  await assert.rejects(w.settle(bob.mesh.repin('ann', toHex(owner.entries[0]?.hash as Uint8Array))), { code: 'NOT_FOUND' })
  assert.deepEqual(await w.settle(bob.mesh.repin('ann', toHex(owner.head).slice(0, 20))), { status: 'anchored', index: 1, head: toHex(owner.head) })
  assert.deepEqual([classOf(bob, ann), mayForward()], ['partner', true])
  await assert.rejects(w.settle(bob.mesh.repin('ann', toHex(owner.head))), { code: 'CONFIRM_NOTHING' })
  // Whoever lost cannot freeze it again with what was decided about.
  await w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, thief.entries))
  assert.equal(bob.mesh.why('ann').chain?.status, 'anchored')
  // Another contradiction does.
  await assert.rejects(w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, third.entries)), { code: 'CHAIN_FORKED' })
  assert.equal(statusOf(bob, ann), 'forked')
})

test('person who chooses the history that came second, has it followed and the first one refused', async (t) => {
  const w = world(t)
  const [ann, bob] = await linkedPair(w)
  const { owner, thief } = await fork(w, ann, bob)
  await w.settle(bob.mesh.repin('ann', toHex(thief.head).slice(0, 16)))
  assert.deepEqual(bob.mesh.why('ann').chain, { status: 'anchored', index: 1, head: toHex(thief.head) })
  await w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, owner.entries))
  assert.equal(bob.mesh.why('ann').chain?.head, toHex(thief.head))
  await assert.rejects(w.settle(ann.mesh.dial('bob')), { code: 'BINDING_INVALID' })
})

test('identity of which a peer knows two histories, is told so by that peer, whoever dials', async (t) => {
  for (const dialer of ['ann', 'bob'] as const) {
    const w = world(t)
    const [ann, bob] = [await w.node('ann'), await w.node('bob')]
    await acquaint(ann, bob)
    await w.settle(bob.mesh.messages.directory.learn(papersOf(ann)))
    await fork(w, ann, bob)
    w.network.sever('ann', 'bob')
    await w.run(100)
    await w.settle(dialer === 'ann' ? ann.mesh.dial('bob') : bob.mesh.dial('ann'))
    await w.until(() => ann.mesh.contradictedBy.length === 1)
    assert.deepEqual(ann.mesh.contradictedBy, [bob.mesh.did])
    assert.deepEqual(bob.mesh.contradictedBy, [])
    assert.ok(ann.events.some((event) => event.type === 'warning' && event.peer === bob.mesh.did && event.error.code === 'CHAIN_FORKED'))
    await w.settle(bob.mesh.repin('ann', toHex(ann.device.chain.head)))
    await w.until(() => ann.mesh.contradictedBy.length === 0)
  }
})

test('identity whose peer stands by the other history, is refused as forked wherever it is met', async (t) => {
  const w = world(t)
  const [ann, bob] = [await w.node('ann'), await w.node('bob', { listen: null })]
  const thief = thiefOf(ann)
  rotateIdentity(ann.identity)
  ann.device.chain = ann.identity.chain
  ann.device.binding = certify(ann.identity, 'ann', { serial: 2 })
  rotateIdentity(thief, { branch: 'other ' })
  await bob.mesh.book.add(ann.mesh.did, { name: 'ann', urls: [ann.url] })
  await ann.mesh.book.add(bob.mesh.did, { name: 'bob' })
  await w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, thief.chain.entries))
  await assert.rejects(w.settle(bob.mesh.dial('ann')), { code: 'CHAIN_FORKED' })
  assert.equal(statusOf(bob, ann), 'forked')
})

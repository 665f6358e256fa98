import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { decodeChain } from '../../src/identity/chain-codec.ts'
import { rotateIdentity, testDevice } from '../mesh/fixtures.ts'
import { createTown, introduce, linked, type Member, type Town } from './support.ts'

const TIMEOUT = { timeout: 60_000 }

async function three(town: Town): Promise<readonly [Member, Member, Member]> {
  const [ann, ben, cem] = [await town.member('ann'), await town.member('ben'), await town.member('cem')]
  await introduce(ann, ben)
  await introduce(ben, cem)
  await linked(town, ann, ben)
  await linked(town, ben, cem)
  return [ann, ben, cem]
}

function texts(member: Member, topic: string): string[] {
  const seen: string[] = []
  member.assembly.gossip.listen(topic, ({ data }) => seen.push(Buffer.from(data).toString()), { replay: true })
  return seen
}

test('gossip, an entry of one node, reaches those behind its neighbour, also one that comes later', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben, cem] = await three(town)
  for (const { assembly } of [ann, ben, cem]) await assembly.gossip.define({ name: 'news', access: { kind: 'open' } })
  const seen = texts(cem, 'news')
  await town.world.settle(ann.assembly.gossip.publish('news', utf8('first')))
  await town.world.until(() => seen.length === 1)
  const dan = await town.member('dan')
  await dan.assembly.gossip.define({ name: 'news', access: { kind: 'open' } })
  await introduce(cem, dan)
  const late = texts(dan, 'news')
  await town.world.until(() => late.length === 1)
  assert.deepEqual([seen, late], [['first'], ['first']])
  await town.close()
})

test('attestations, said by one node, count for those who trust it, and fall when they are taken back', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben, cem] = await three(town)
  const { did } = cem.assembly.mesh
  assert.equal(ann.assembly.trust.explain(did).score, 0)
  await town.world.settle(ben.assembly.trust.attest('cem', 8_000, { labels: ['met'] }))
  await town.world.until(() => ann.assembly.trust.explain(did).transitive > 0)
  const { transitive, paths, introducer } = ann.assembly.trust.explain(did)
  assert.equal(transitive, 1_999)
  assert.deepEqual(paths, [{ via: ben.assembly.mesh.did, first: 2_500, second: 8_000, contribution: 2_000 }])
  assert.equal(introducer, ben.assembly.mesh.did)
  assert.equal(ben.assembly.trust.said('cem')?.weight, 8_000)
  await town.world.settle(ben.assembly.trust.revoke('cem'))
  await town.world.until(() => ann.assembly.trust.explain(did).transitive === 0)
  await town.close()
})

test('peer records, published by a machine, let a node two hops away tell it something while it is gone, through a host of its own', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben, cem] = await three(town)
  await ann.assembly.mesh.book.add(cem.assembly.mesh.did, { name: 'cem' })
  await cem.assembly.mesh.book.add(ann.assembly.mesh.did, { name: 'ann' })
  await ben.assembly.mail.host('cem')
  await cem.assembly.mail.useHosts(['ben'])
  const { did } = ben.assembly.mesh
  await town.world.until(() => cem.assembly.mail.status().hosts.includes(did))
  await town.world.run(60_000)
  await town.world.settle(cem.assembly.close())
  const told = await town.world.settle(ann.assembly.mail.tell('cem', 'the mill is open'))
  assert.equal(told.state, 'deposited')
  assert.equal(ben.assembly.mail.status().kept.messages, 1)
  const again = await town.member('cem', { identity: cem.identity, device: cem.device, store: cem.store })
  const got: string[] = []
  again.assembly.mail.onMessage(({ text }) => got.push(text ?? ''))
  await town.world.until(() => got.length === 1)
  assert.deepEqual(got, ['the mill is open'])
  const [entry] = await again.assembly.mail.inbox()
  assert.deepEqual([entry?.from, entry?.text, entry?.via], [ann.assembly.mesh.did, 'the mill is open', did])
  await town.close()
})

test('papers, of a machine whose identity rotated its keys, reach nodes that are not linked with it', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben, cem] = [await town.member('ann'), await town.member('ben'), await town.member('cem')]
  await introduce(ann, ben)
  await introduce(ben, cem)
  await linked(town, ann, ben)
  await linked(town, ben, cem)
  const { did } = cem.assembly.mesh
  const key = cem.device.linkSigner.publicKey
  const entries = async (): Promise<number> => {
    const papers = await ann.assembly.messages.directory.papers(did, key)
    return papers === undefined ? 0 : decodeChain(papers.chain).length
  }
  await untilTrue(town, async () => (await entries()) === 1)
  rotateIdentity(cem.identity)
  const device = testDevice(cem.identity, 'cem', { serial: 2 })
  device.name = 'cem'
  await town.world.settle(cem.assembly.replaceDevice(device))
  await untilTrue(town, async () => (await entries()) === 2)
  assert.ok(ann.assembly.mesh.links().every((link) => link.did !== did))
  await town.close()
})

test('topics, whose access a peer does not have, refuse it by a rule that why repeats, until the owner allows it', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  await introduce(ann, ben)
  await linked(town, ann, ben)
  await ann.assembly.gossip.define({ name: 'board', access: { kind: 'score', min: 4_000 } })
  await ben.assembly.gossip.define({ name: 'board', access: { kind: 'open' } })
  const seen = texts(ann, 'board')
  await town.world.settle(ben.assembly.gossip.publish('board', utf8('let me in')))
  await town.world.run(10_000)
  assert.deepEqual(seen, [])
  const why = ann.assembly.mesh.why('ben', 'publish', 'board')
  assert.equal(why.decision, 'denied')
  assert.match(why.rule ?? '', /the topic board asks for a standing of 0\.4, which the peer does not have/)
  await ann.assembly.mesh.policy.allow('ben', 'publish', 'board')
  await ann.assembly.mesh.policy.allow('ben', 'subscribe', 'board')
  await town.world.until(() => seen.length === 1)
  await town.close()
})

test('a ban, while the peer is linked, ends its links and keeps it out until the pardon', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  await introduce(ann, ben)
  await linked(town, ann, ben)
  await town.world.settle(ann.assembly.trust.ban('ben', { reason: 'floods' }))
  await town.world.until(() => ben.assembly.mesh.links().every(({ state }) => state !== 'connected'))
  await assert.rejects(town.world.settle(ben.assembly.mesh.dial('ann')), (error) => isKithError(error, 'BANNED'))
  assert.match(ann.assembly.mesh.why('ben', 'link').rule ?? '', /^banned until .*: floods/)
  await town.world.settle(ann.assembly.trust.pardon('ben', { reason: 'sorry' }))
  await linked(town, ann, ben)
  await town.close()
})

test('least standing, raised while strangers and known peers are linked, ends the links of those below it alone', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben, cem] = [await town.member('ann'), await town.member('ben'), await town.member('cem')]
  await introduce(ann, ben)
  await introduce(ann, cem)
  await ann.assembly.mesh.book.add(ben.assembly.mesh.did, { class: 'partner' })
  await linked(town, ann, ben)
  await linked(town, ann, cem)
  assert.throws(() => ann.assembly.reload({ trust: { minScore: 1.5 } }), TypeError)
  ann.assembly.reload({ trust: { minScore: 4_000 } })
  await town.world.until(() => ann.assembly.mesh.links().every(({ did, state }) => (did === ben.assembly.mesh.did) === (state === 'connected')))
  const why = ann.assembly.mesh.why('cem', 'link')
  assert.equal(why.decision, 'denied')
  assert.match(why.rule ?? '', /link asks for a standing of 4000 \(min_trust_threshold\) and this peer has 1750/)
  await town.world.until(() => cem.assembly.mesh.links().every(({ state }) => state !== 'connected'))
  await assert.rejects(town.world.settle(cem.assembly.mesh.dial('ann')), (error) => isKithError(error, 'POLICY_DENIED'))
  ann.assembly.reload({})
  await linked(town, ann, cem)
  await town.close()
})

test('assembly, a store that fails while parts are opened, closes what was opened and says so', TIMEOUT, async () => {
  const town = createTown()
  const ann = await town.member('ann')
  await town.world.settle(ann.assembly.close())
  const failing = {
    ...bound(ann.store),
    scan: () => {
      throw Object.assign(new Error('disk'), { code: 'EIO' })
    },
  }
  await assert.rejects(town.member('again', { identity: ann.identity, device: ann.device, store: failing }))
  await town.close()
})

async function untilTrue(town: Town, holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await holds()) return
    await town.world.run(100)
  }
  assert.fail('it did not come to hold')
}

function bound(store: Member['store']): Member['store'] {
  return {
    get: (...given) => store.get(...given),
    put: (...given) => store.put(...given),
    delete: (...given) => store.delete(...given),
    scan: (...given) => store.scan(...given),
    batch: (...given) => store.batch(...given),
    close: () => store.close(),
  }
}

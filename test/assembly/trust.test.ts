import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Background } from '../../src/assembly/background.ts'
import { BookTrust } from '../../src/assembly/book-trust.ts'
import { manualClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { openTrustGraph } from '../../src/trust/trust-graph.ts'
import { NOW, testIdentity } from '../mesh/fixtures.ts'
import { createTown, introduce, type Member } from './support.ts'

const TIMEOUT = { timeout: 60_000 }

async function untilDirect(town: ReturnType<typeof createTown>, near: Member, far: Member, direct: number): Promise<void> {
  await town.world.until(() => near.assembly.trust.explain(far.assembly.mesh.did).direct === direct)
}

test('own edges, classes of the address book, are what an invitation gives, and go when the peer is forgotten', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  const { mesh, trust } = ann.assembly
  const { did } = ben.assembly.mesh
  assert.equal(trust.explain(did).direct, 0)
  await mesh.book.add(did, { name: 'ben' })
  await untilDirect(town, ann, ben, 2_500)
  await trust.set('ben', 'federated')
  await untilDirect(town, ann, ben, 8_500)
  assert.equal(mesh.policy.classOf(did), 'federated')
  await mesh.book.forget('ben')
  await untilDirect(town, ann, ben, 0)
  await town.close()
})

test('own edges, a pairing, are known on both sides, and partner when the words were confirmed', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  const { ticket } = await ann.assembly.mesh.invites.create({ class: 'partner' })
  await town.world.settle(ben.assembly.mesh.join(ticket))
  await untilDirect(town, ann, ben, 2_500)
  await untilDirect(town, ben, ann, 2_500)
  await town.world.settle(ann.assembly.mesh.confirm('ben'))
  await untilDirect(town, ann, ben, 5_500)
  await town.close()
})

test('own edges, set by hand, stay what they are over a restart until the class changes', TIMEOUT, async () => {
  const town = createTown()
  const [first, ben] = [await town.member('ann'), await town.member('ben')]
  await introduce(first, ben)
  await untilDirect(town, first, ben, 2_500)
  await first.assembly.trust.set('ben', 9_000)
  assert.equal(first.assembly.trust.explain('ben').direct, 9_000)
  await town.world.settle(first.assembly.close())
  const again = await town.member('ann', { identity: first.identity, device: first.device, store: first.store })
  assert.equal(again.assembly.trust.explain('ben').direct, 9_000)
  await again.assembly.trust.revoke('ben')
  await town.world.settle(again.assembly.close())
  const third = await town.member('ann', { identity: first.identity, device: first.device, store: first.store })
  assert.equal(third.assembly.trust.explain('ben').direct, 0, 'what the owner took back stays taken back')
  await third.assembly.trust.set('ben', 'partner')
  await untilDirect(town, third, ben, 5_500)
  const actions = (await third.assembly.audit.list()).map(({ action }) => action)
  assert.deepEqual(actions, ['peer.class', 'trust.revoke', 'trust.set', 'peer.add'])
  await town.close()
})

test('own edges, near the end of their year, are made anew', TIMEOUT, async () => {
  const clock = manualClock(NOW)
  const store = createMemoryStore()
  const [me, peer] = [testIdentity('ann').chain.did, testIdentity('ben').chain.did]
  const graph = await openTrustGraph({ did: me, store, clock, logger: silentLogger, directory: { keys: async () => undefined } })
  const background = new Background(silentLogger)
  const entry = { did: peer, name: 'ben', class: 'known', pending: null, met: 'test', sinceMs: NOW, addresses: [] } as const
  const book = { list: () => [entry], get: () => entry, onChange: () => () => undefined }
  const bookTrust = new BookTrust({ did: me, book, graph, store, clock, background })
  await bookTrust.start()
  const [before] = await graph.edges({ target: peer })
  await clock.run(170 * 86_400_000)
  assert.equal((await graph.edges({ target: peer }))[0]?.expiresMs, before?.expiresMs, 'not yet')
  await clock.run(30 * 86_400_000)
  const [after] = await graph.edges({ target: peer })
  assert.ok((after?.expiresMs ?? 0) > (before?.expiresMs ?? 0))
  assert.equal(after?.weight, 2_500)
  bookTrust.close()
  await background.close()
  await graph.close()
})

test('bans, by the owner, are told with their reason, noted, and pardoned by name', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  await introduce(ann, ben)
  const { trust, audit } = ann.assembly
  await assert.rejects(trust.pardon('ben', { reason: 'nothing' }), (error) => isKithError(error, 'NOT_FOUND'))
  await trust.ban('ben', { reason: 'floods the topic', forMs: 3_600_000 })
  assert.equal(trust.standing('ben').state, 'banned')
  assert.deepEqual(
    trust.standings().map(({ did }) => did),
    [ben.assembly.mesh.did],
  )
  await trust.pardon('ben', { reason: 'a full disk' })
  assert.equal(trust.standing('ben').state, 'good')
  const rows = await audit.list({ limit: 2 })
  assert.deepEqual(
    rows.map(({ actor, action, subject, reason }) => [actor, action, subject, reason]),
    [
      ['owner', 'pardon', ben.assembly.mesh.did, 'a full disk'],
      ['owner', 'ban', ben.assembly.mesh.did, 'floods the topic'],
    ],
  )
  await assert.rejects(trust.ban('nobody', { reason: 'x' }), (error) => isKithError(error, 'PEER_UNKNOWN'))
  await assert.rejects(trust.ban('ben', { reason: ' ' }), TypeError)
  await town.close()
})

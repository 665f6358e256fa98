import assert from 'node:assert/strict'
import { test } from 'node:test'
import { auditText } from '../../src/assembly/audit-text.ts'
import { isKithError } from '../../src/core/errors.ts'
import { createTown } from './support.ts'

const TIMEOUT = { timeout: 60_000 }

test('audit, what the owner changes about peers and rules, is a row each, newest first', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  const { mesh, audit } = ann.assembly
  const { did } = ben.assembly.mesh
  await mesh.book.add(did, { name: 'ben' })
  await mesh.book.add(did, { urls: ['memory://ben'] })
  await mesh.book.add(did, { class: 'partner' })
  await mesh.policy.allow('ben', 'forward', 'localhost:80')
  await mesh.policy.deny('*', 'file')
  const { id } = await mesh.invites.create({ class: 'known' })
  await mesh.invites.revoke(id)
  await mesh.book.forget('ben')
  const rows = await audit.list()
  assert.deepEqual(
    rows.map(({ seq, actor, action, subject, details }) => [seq, actor, action, subject, details ?? {}]),
    [
      [7, 'owner', 'peer.forget', did, {}],
      [6, 'owner', 'invite.revoke', id, {}],
      [5, 'owner', 'invite.create', id, { class: 'known', uses: 1 }],
      [4, 'owner', 'policy.deny', '*', { action: 'file' }],
      [3, 'owner', 'policy.allow', did, { action: 'forward', target: 'localhost:80' }],
      [2, 'owner', 'peer.class', did, { class: 'partner' }],
      [1, 'owner', 'peer.add', did, { class: 'known' }],
    ],
  )
  assert.equal((await audit.verify()).brokenAt, undefined)
  await town.close()
})

test('audit, a topic that the owner makes or removes, is a row each; making it again is none', TIMEOUT, async () => {
  const town = createTown()
  const { gossip, audit, mesh } = (await town.member('ann')).assembly
  await gossip.define({ name: 'news', access: { kind: 'open' } })
  await gossip.define({ name: 'news', access: { kind: 'open' } })
  await gossip.define({ name: 'board', access: { kind: 'list', members: [mesh.did] } })
  await gossip.define({ name: 'elite', access: { kind: 'score', min: 4_000 } })
  await gossip.remove('news')
  assert.deepEqual(
    (await audit.list()).map(({ actor, action, subject, details }) => [actor, action, subject, details ?? {}]),
    [
      ['owner', 'topic.remove', 'news', {}],
      ['owner', 'topic.create', 'elite', { access: 'score', min: 4_000 }],
      ['owner', 'topic.create', 'board', { access: 'list', members: 1 }],
      ['owner', 'topic.create', 'news', { access: 'open' }],
    ],
  )
  await town.close()
})

test('a topic of the node itself, cannot be removed or made with other rules by its owner', TIMEOUT, async () => {
  const town = createTown()
  const { gossip } = (await town.member('ann')).assembly
  await assert.rejects(gossip.remove('identity:updates'), (error) => isKithError(error, 'TOPIC_RESERVED') && /belongs to the node/.test(error.message))
  await assert.rejects(gossip.define({ name: 'blob:announce', access: { kind: 'open' } }), (error) => isKithError(error, 'TOPIC_RESERVED'))
  assert.equal(
    gossip.topics().some(({ name }) => name === 'identity:updates'),
    true,
  )
  await town.close()
})

test('audit, a pairing, is noted on both sides', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  const { ticket } = await ann.assembly.mesh.invites.create({ class: 'partner' })
  await town.world.settle(ben.assembly.mesh.join(ticket))
  for (const [near, far] of [
    [ann, ben],
    [ben, ann],
  ] as const) {
    await town.world.settle(untilRow(near.assembly.audit, 'peer.paired', town.world.run))
    const [row] = await near.assembly.audit.list({ limit: 1 })
    assert.equal(row?.subject, far.assembly.mesh.did)
    assert.equal(row?.actor, 'node')
  }
  await town.world.settle(ann.assembly.mesh.confirm('ben'))
  const [row] = await ann.assembly.audit.list({ limit: 1 })
  assert.deepEqual([row?.action, row?.details], ['peer.confirm', { class: 'partner' }])
  await town.close()
})

test('audit text, longer than its room or with control characters, is cut at a letter', () => {
  assert.equal(auditText('a\nb\u0007c', 10), 'a b c')
  assert.equal(auditText('ääää', 5), 'ää')
  assert.equal(auditText('same', 4), 'same')
})

async function untilRow(audit: { list(): Promise<readonly { action: string }[]> }, action: string, run: () => Promise<void>): Promise<void> {
  for (let turns = 0; turns < 100; turns++) {
    if ((await audit.list()).some((row) => row.action === action)) return
    await run()
  }
  assert.fail(`no row ${action}`)
}

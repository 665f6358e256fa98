import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { TrustShown } from '../../src/daemon/control/routes/trust-api.ts'
import { createStage, errorOf, meet, type Stage } from './support.ts'

let stage: Stage
let dids = { alice: '', bob: '' }
const on = (name: string, ...args: string[]): string[] => [...args, '--home', stage.home(name)]
const shown = (...args: string[]): Promise<TrustShown> => stage.json<TrustShown>(on('alice', 'trust', ...args))

before(async () => {
  stage = await createStage()
  dids = await meet(stage)
})
after(() => stage.close())

test('trust show, a paired peer, says class, score and where they come from', async () => {
  const peer = await shown('show', 'bob')
  assert.deepEqual([peer.did, peer.name, peer.class, peer.class_from], [dids.bob, 'bob', 'known', 'address book'])
  assert.deepEqual([peer.direct, peer.score, peer.reputation, peer.state, peer.until, peer.said], [0.25, 0.175, 1, 'good', null, null])
  const { stdout } = await stage.kith(on('alice', 'trust', 'show', 'bob'))
  assert.match(stdout, /^class +known, by the address book\nscore +0\.18, from 0\.25 here and 0\.00 through others\nreputation +1\.00\nstate +good\n/m)
  assert.equal((await stage.kith(on('alice', 'trust', 'show', 'bob', '--quiet'))).stdout, '0.175\n')
})

test('trust set, a class or a weight, is shown at once and says what it does not change', async () => {
  const early = await stage.kith(on('alice', 'trust', 'set', 'bob', 'partner'))
  assert.match(early.stdout, /^class +known/m)
  assert.match(early.stderr, /It stays known until somebody but itself vouches for its keys.*kith\.mjs peers anchor bob/)
  await stage.json(on('alice', 'peers', 'anchor', 'bob', '--yes'))
  const partner = await shown('set', 'bob', 'partner')
  assert.deepEqual([partner.class, partner.direct], ['partner', 0.55])
  const weight = await stage.kith(on('alice', 'trust', 'set', 'bob', '0.9'))
  assert.equal(weight.status, 0)
  assert.match(weight.stderr, /Its class stays partner, as the address book says; .*kith\.mjs trust set bob CLASS --home \S+ changes that\./)
  assert.equal((await shown('show', 'bob')).direct, 0.9)
  const { peers } = await stage.json<{ peers: { did: string; class: string }[] }>(on('alice', 'trust'))
  assert.deepEqual(
    peers.map(({ did, class: held }) => [did, held]),
    [[dids.bob, 'partner']],
  )
  const { edges } = await stage.json<{ edges: { source: string; target_name: string; weight: number }[] }>(on('alice', 'trust', 'graph', 'bob'))
  assert.deepEqual(
    edges.map(({ source, target_name, weight: trusted }) => [source, target_name, trusted]),
    [[dids.alice, 'bob', 0.9]],
  )
  assert.equal((await shown('revoke', 'bob')).direct, 0)
})

test('trust, wrong words, exit 2 and say what is expected', async () => {
  for (const args of [
    ['set', 'bob', '1.1'],
    ['set', 'bob', '0.12345'],
    ['set', 'bob', 'friend'],
    ['ban', 'bob'],
    ['pardon', 'bob', '--reason', ' '],
    ['ban', 'bob', '--reason', 'x', '--for', '31d'],
  ]) {
    const { status, stderr } = await stage.kith(on('alice', 'trust', ...args, '--json'))
    assert.deepEqual([status, errorOf(stderr).code], [2, 'USAGE'], args.join(' '))
  }
  const long = await stage.kith(on('alice', 'trust', 'ban', 'bob', '--reason', 'x', '--for', '31d', '--json'))
  assert.equal(errorOf(long.stderr).message, '--for is from 1s to 30d.')
  const unknown = await stage.kith(on('alice', 'trust', 'show', 'bbo', '--json'))
  assert.equal(errorOf(unknown.stderr).code, 'PEER_UNKNOWN')
  const innocent = await stage.kith(on('alice', 'trust', 'pardon', 'bob', '--reason', 'x', '--json'))
  assert.equal(errorOf(innocent.stderr).code, 'NOT_FOUND')
})

test('trust ban and pardon, stand in the audit log with their reasons', async () => {
  const banned = await shown('ban', 'bob', '--reason', 'floods the topic', '--for', '1h')
  assert.equal(banned.state, 'banned')
  assert.ok(Date.parse(banned.until ?? '') - Date.now() > 3_500_000)
  assert.match((await stage.kith(on('alice', 'trust'))).stdout, /^bob +isolated|^bob .* banned for (1h|59m)/m)
  assert.equal((await shown('unban', 'bob', '--reason', 'too hard')).state, 'good')
  await shown('ban', 'bob', '--reason', 'again')
  assert.equal((await shown('pardon', 'bob', '--reason', 'a full disk')).state, 'good')
  const { rows } = await stage.json<{ rows: { actor: string; action: string; name: string; reason: string }[] }>(on('alice', 'audit', '-n', '4'))
  assert.deepEqual(
    rows.map(({ actor, action, name, reason }) => [actor, action, name, reason]),
    [
      ['owner', 'pardon', 'bob', 'a full disk'],
      ['owner', 'ban', 'bob', 'again'],
      ['owner', 'unban', 'bob', 'too hard'],
      ['owner', 'ban', 'bob', 'floods the topic'],
    ],
  )
  assert.equal((await stage.json(on('alice', 'audit', 'verify'))).ok, true)
})

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { EntryLine } from '../../src/daemon/control/routes/gossip-api.ts'
import type { MailboxShown, MessageListed, ToldShown } from '../../src/daemon/control/routes/mail-api.ts'
import { createStage, type RunningNode, type Stage } from '../cli/support.ts'

const NAMES = ['alice', 'bob', 'carol'] as const
type Name = (typeof NAMES)[number]

let stage: Stage
const dids: Record<Name, string> = { alice: '', bob: '', carol: '' }
const running: Partial<Record<Name, RunningNode>> = {}
const urls: Partial<Record<Name, string>> = {}
const on = (name: Name, ...args: string[]): string[] => [...args, '--home', stage.home(name)]

async function up(name: Name): Promise<void> {
  // The same port as before, so that the others find it again by themselves.
  const args = urls[name] === undefined ? [] : ['--listen', urls[name]]
  running[name] = await stage.up(stage.home(name), args)
  urls[name] ??= running[name]?.ready.listen[0] ?? ''
}

async function down(name: Name): Promise<void> {
  await stage.json(on(name, 'down'))
  await running[name]?.exited
}

/** Asked again until it holds: what others do reaches a node when it reaches it. */
async function eventually<T>(ask: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 60; tries++) {
    const value = await ask()
    if (holds(value)) return value
  }
  return assert.fail('it did not come to hold')
}

before(async () => {
  stage = await createStage()
  for (const name of NAMES) {
    dids[name] = (await stage.json<{ did: string }>(on(name, 'init', '--name', name))).did
    await up(name)
  }
  for (const [inviter, joiner] of [
    ['alice', 'bob'],
    ['alice', 'carol'],
    ['bob', 'carol'],
  ]) {
    const paired = await stage.shell(`kith --home ${inviter} invite | kith --home ${joiner} join -`)
    assert.equal(paired.status, 0, paired.stderr)
  }
})
after(() => stage.close())

test('an entry, published while one of three nodes is away, reaches both others, that one when it is back', { timeout: 180_000 }, async () => {
  for (const name of NAMES) await stage.json(on(name, 'topics', 'create', 'news'))
  await down('carol')
  const published = await stage.json<EntryLine>(on('alice', 'pub', 'news', 'the mill is open'))
  const read = async (name: Name): Promise<EntryLine> =>
    JSON.parse((await stage.kith(on(name, 'sub', 'news', '--replay', '-n', '1', '--json'))).stdout) as EntryLine
  const near = await read('bob')
  assert.deepEqual([near.id, near.author_name, near.text], [published.id, 'alice', 'the mill is open'])
  await up('carol')
  assert.equal((await read('carol')).id, published.id)
})

test('a peer below the standing that a topic asks for, is refused, and why says the same on the other machine', { timeout: 180_000 }, async () => {
  await stage.json(on('bob', 'topics', 'create', 'board', '--access', 'partner'))
  await stage.json(on('alice', 'topics', 'create', 'board', '--access', 'open'))
  await stage.json(on('alice', 'pub', 'board', 'let me in'))
  const why = await stage.json<{ decision: string; rule: string; next: string }>(on('bob', 'why', 'alice', 'publish', 'board'))
  assert.equal(why.decision, 'denied')
  assert.match(why.rule, /the topic board asks for a standing of 0\.4, which the peer does not have/)
  const counted = /^kith_gossip_refused_total\{reason="(carrier|author|reader)_denied"\} [1-9]/m
  const metrics = await eventually(
    () => stage.kith(on('bob', 'metrics')),
    ({ stdout }) => counted.test(stdout),
  )
  assert.match(metrics.stdout, counted, 'the refusal is counted by its reason')
  const { topics } = await stage.json<{ topics: { name: string; entries: number }[] }>(on('bob', 'topics'))
  assert.equal(topics.find(({ name }) => name === 'board')?.entries, 0)
  // The standing that the rule names makes the difference.
  const allowed = await stage.kith(on('bob', 'trust', 'set', 'alice', 'partner'))
  assert.equal(allowed.status, 0, allowed.stderr)
  const entry = JSON.parse((await stage.kith(on('bob', 'sub', 'board', '--replay', '-n', '1', '--json'))).stdout) as EntryLine
  assert.equal(entry.text, 'let me in')
})

test('a ban ends the link and keeps the peer out; the pardon lets it back; both are in the audit log', { timeout: 180_000 }, async () => {
  await stage.json(on('bob', 'trust', 'ban', 'alice', '--reason', 'floods the board', '--for', '1h'))
  const refused = await eventually(
    () => stage.kith(on('alice', 'network', 'dial', 'bob', '--json')),
    ({ status }) => status === 4,
  )
  assert.equal(JSON.parse(refused.stderr).error.code, 'BANNED')
  const why = await stage.json<{ decision: string; rule: string; next: string }>(on('bob', 'why', 'alice', 'link'))
  assert.match(why.rule, /^banned until .*floods the board/)
  const shown = await stage.kith(on('bob', 'status'))
  assert.match(shown.stdout, /^alice +banned /m)
  await stage.json(on('bob', 'trust', 'pardon', 'alice', '--reason', 'a full disk'))
  await stage.json(on('alice', 'network', 'dial', 'bob'))
  const { rows } = await stage.json<{ rows: { actor: string; action: string; name: string; reason: string }[] }>(on('bob', 'audit', '-n', '2'))
  assert.deepEqual(
    rows.map(({ actor, action, name, reason }) => [actor, action, name, reason]),
    [
      ['owner', 'pardon', 'alice', 'a full disk'],
      ['owner', 'ban', 'alice', 'floods the board'],
    ],
  )
  assert.equal((await stage.json(on('bob', 'audit', 'verify'))).ok, true)
})

test('a message, told to a peer that is away, waits at its mailbox host and arrives, though the sender is gone', { timeout: 180_000 }, async () => {
  await stage.json(on('bob', 'mailbox', 'host', 'carol'))
  await stage.json(on('carol', 'mailbox', 'use', 'bob'))
  // Alice must have heard where carol's messages go.
  await down('carol')
  const told = await eventually(
    () => stage.json<ToldShown>(on('alice', 'tell', 'carol', 'see you at the mill')),
    ({ state }) => state === 'deposited',
  )
  assert.equal(told.name, 'carol')
  const kept = await stage.json<MailboxShown>(on('bob', 'mailbox'))
  assert.ok(kept.kept.messages >= 1)
  await down('alice')
  await up('carol')
  const { messages } = await eventually(
    () => stage.json<{ messages: MessageListed[] }>(on('carol', 'inbox')),
    (inbox) => inbox.messages.length > 0,
  )
  const [message] = messages
  assert.deepEqual([message?.from, message?.text, message?.via, message?.read], [dids.alice, 'see you at the mill', dids.bob, false])
  const shown = await stage.kith(on('carol', 'inbox'))
  assert.match(shown.stdout, /^alice {2}\d{4}-.* {2}new\n {2}see you at the mill\n/)
  assert.doesNotMatch((await stage.kith(on('carol', 'inbox'))).stdout, / new$/m)
})

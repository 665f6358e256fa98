import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MailboxShown, MessageListed, OutboxListed, ToldShown } from '../../src/daemon/control/routes/mail-api.ts'
import { createStage, errorOf, meet, type Stage } from './support.ts'

let stage: Stage
let dids = { alice: '', bob: '' }
const on = (name: string, ...args: string[]): string[] => [...args, '--home', stage.home(name)]

before(async () => {
  stage = await createStage()
  dids = await meet(stage)
})
after(() => stage.close())

test('tell, a linked peer, delivers, and inbox shows it once as new', async () => {
  const told = await stage.kith(on('alice', 'tell', 'bob', 'hello\nbob'))
  assert.equal(told.status, 0, told.stderr)
  assert.match(told.stdout, /^delivered {2}to bob\n$/)
  const { messages } = await stage.json<{ messages: MessageListed[] }>(on('bob', 'inbox'))
  const [message] = messages
  assert.deepEqual([message?.from, message?.from_name, message?.text, message?.read, message?.via], [dids.alice, 'alice', 'hello\nbob', false, null])
  const first = await stage.kith(on('bob', 'inbox'))
  assert.match(first.stdout, /^alice {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}[0-9a-f]{8} {2}new\n {2}hello\n {2}bob\n$/)
  const again = await stage.json<{ messages: MessageListed[] }>(on('bob', 'inbox'))
  assert.equal(again.messages[0]?.read, true)
  const deleted = await stage.json(on('bob', 'inbox', '--delete', message?.id.slice(0, 12) ?? ''))
  assert.deepEqual(deleted, { id: message?.id, deleted: true })
  assert.deepEqual((await stage.json<{ messages: MessageListed[] }>(on('bob', 'inbox'))).messages, [])
  const gone = await stage.kith(on('bob', 'inbox', '--delete', message?.id ?? '', '--json'))
  assert.equal(errorOf(gone.stderr).code, 'NOT_FOUND')
})

test('tell, standing input, carries a terminal sequence as text that cannot steer', async () => {
  await stage.kith(on('alice', 'tell', 'bob'), { input: '\u001b[2Jgone\n' })
  const shown = await stage.kith(on('bob', 'inbox', '-n', '1'))
  assert.ok(!shown.stdout.includes('\u001b'))
  assert.match(shown.stdout, /\ufffd\[2Jgone/)
})

test('tell, a peer nobody can reach, waits, is listed, and expires no earlier than asked', async () => {
  const { did } = await stage.json<{ did: string }>(on('carol', 'init', '--name', 'carol'))
  await stage.json(on('alice', 'peers', 'add', did, '--name', 'carol'))
  const told = await stage.json<ToldShown>(on('alice', 'tell', 'carol', 'later', '--wait', '0s', '--life', '1d'))
  assert.deepEqual([told.peer, told.name, told.state], [did, 'carol', 'waiting'])
  const { messages } = await stage.json<{ messages: OutboxListed[] }>(on('alice', 'tell', '--list'))
  const [latest] = messages
  assert.deepEqual([latest?.id, latest?.state, latest?.bytes], [told.id, 'waiting', 5])
  assert.equal(Date.parse(latest?.expires_at ?? '') - Date.parse(latest?.time ?? ''), 86_400_000)
  assert.match((await stage.kith(on('alice', 'tell', '--list'))).stdout, /^[0-9a-f]{8} +waiting +carol +5 B +/)
})

test('tell, wrong words, are named', async () => {
  for (const [args, code] of [
    [['tell'], 'USAGE'],
    [['tell', 'nobody', 'x'], 'PEER_UNKNOWN'],
    [['tell', dids.alice, 'x'], 'SELF_DIAL'],
    [['tell', 'bob', 'x', '--life', '15d'], 'USAGE'],
  ] as const) {
    const { stderr } = await stage.kith(on('alice', ...args, '--json'))
    assert.equal(errorOf(stderr).code, code, args.join(' '))
  }
})

test('mailbox, agreed on both sides, is shown on both and noted', async () => {
  const host = await stage.json<MailboxShown>(on('alice', 'mailbox', 'host', 'bob'))
  assert.deepEqual(host.hosting, [{ did: dids.bob, name: 'bob' }])
  const using = await stage.json<MailboxShown>(on('bob', 'mailbox', 'use', 'alice'))
  assert.deepEqual(using.hosts, [{ did: dids.alice, name: 'alice' }])
  assert.match(
    (await stage.kith(on('bob', 'mailbox'))).stdout,
    /^kept by +alice\nkeeps for +nobody\ninbox +\d+ messages?, \d+ unread\non the way +0 of this node\n/,
  )
  assert.deepEqual((await stage.json<MailboxShown>(on('bob', 'mailbox', 'use'))).hosts, [])
  assert.deepEqual((await stage.json<MailboxShown>(on('alice', 'mailbox', 'unhost', 'bob'))).hosting, [])
  const { rows } = await stage.json<{ rows: { action: string; subject: string }[] }>(on('alice', 'audit', '-n', '2'))
  assert.deepEqual(
    rows.map(({ action, subject }) => [action, subject]),
    [
      ['mailbox.unhost', dids.bob],
      ['mailbox.host', dids.bob],
    ],
  )
})

test('tell, somebody banned, says that a ban stands between and not that the peer is away', async () => {
  await stage.json(on('alice', 'trust', 'ban', 'bob', '--reason', 'x', '--for', '1h'))
  const { stdout, stderr } = await stage.kith(on('alice', 'tell', 'bob', 'hello'))
  assert.match(stdout, /^waiting {2}a ban stands between this node and bob; this node goes on trying/)
  assert.match(stderr, /next: .*why bob/)
  await stage.json(on('alice', 'trust', 'unban', 'bob', '--reason', 'x'))
})

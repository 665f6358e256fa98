import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createStage, type Stage } from '../cli/support.ts'

/** A change of the passphrase, whole and cut short, with the real command. */
let stage: Stage
let desk = ''
let friend = ''
let first = ''
let second = ''

before(async () => {
  stage = await createStage()
  ;[desk, friend, first, second] = ['desk', 'friend', 'first', 'second'].map((name) => stage.home(name)) as [string, string, string, string]
  writeFileSync(first, 'correct horse battery staple\n', { mode: 0o600 })
  writeFileSync(second, 'another horse another stable\n', { mode: 0o600 })
  await stage.json(['init', '--name', 'desk', '--passphrase-file', first, '--home', desk])
  await stage.json(['init', '--name', 'friend', '--home', friend])
  await stage.up(friend)
  await stage.up(desk, ['--passphrase-file', first])
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', friend])
  await stage.json(['join', '-', '--home', desk], { input: ticket })
  await stage.json(['down', '--home', desk])
})
after(() => stage.close())

const change = (from: string, to: string): Promise<unknown> =>
  stage.json(['id', 'passphrase', '--passphrase-file', from, '--new-passphrase-file', to, '--home', desk])

test('passphrase, changed, opens both files; the one before opens neither', async () => {
  await change(first, second)
  const old = await stage.up(desk, ['--passphrase-file', first])
  assert.deepEqual(
    old.ready.degraded.map(({ code }) => code),
    ['PASSPHRASE_WRONG'],
  )
  await stage.json(['down', '--home', desk])
  const now = await stage.up(desk, ['--passphrase-file', second])
  assert.deepEqual(now.ready.degraded, [])
  await stage.json(['down', '--home', desk])
})

test('passphrase, its change cut between the two files, opens with the new one: the same identity, with a new key of the machine', async () => {
  const before = await stage.json<{ did: string; link_key: string }>(['id', 'show', '--home', desk])
  const kept = ['device.age', 'device.age.sum'].map((name) => [join(desk, name), readFileSync(join(desk, name))] as const)
  await change(second, first)
  for (const [path, bytes] of kept) writeFileSync(path, bytes, { mode: 0o600 })
  const node = await stage.up(desk, ['--passphrase-file', first])
  assert.deepEqual(node.ready.degraded, [])
  const now = await stage.json<{ did: string; link_key: string }>(['id', 'show', '--home', desk])
  assert.equal(now.did, before.did)
  assert.notEqual(now.link_key, before.link_key)
  assert.equal((await stage.json<{ rtt_ms: number[] }>(['ping', 'friend', '-n', '2', '--home', desk])).rtt_ms.length, 2)
  await stage.json(['down', '--home', desk])
})

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { createStage, type Stage } from '../cli/support.ts'
import { hasTerminal, openTerminalOf } from './terminal.ts'

/** What the owner of an identity does with it in the course of years, with the real command. */
const PHRASE =
  'legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title'
const PASSPHRASE = 'correct horse battery staple'

let stage: Stage
let desk = ''
let laptop = ''
let friend = ''
let file = ''

before(async () => {
  stage = await createStage()
  ;[desk, laptop, friend, file] = ['desk', 'laptop', 'friend', 'passphrase'].map((name) => stage.home(name)) as [string, string, string, string]
  await writeFile(file, `${PASSPHRASE}\n`, { mode: 0o600 })
})
after(() => stage.close())

interface Peer {
  readonly did: string
  readonly state: string
  readonly link_key: string
}
const linked = async (home: string): Promise<Peer[]> =>
  (await stage.json<{ peers: Peer[] }>(['status', '--home', home])).peers.filter(({ state }) => state === 'connected')

/** Asks until the answer is as wanted; bounded by the number of tries, each of which is a whole command. */
async function until<T>(ask: () => Promise<T>, wanted: (value: T) => boolean): Promise<T> {
  let value = await ask()
  for (let tries = 0; tries < 60 && !wanted(value); tries++) value = await ask()
  assert.ok(wanted(value), JSON.stringify(value))
  return value
}

const code = (stderr: string): string => JSON.parse(stderr).error.code

test('phrase, restored on two machines, is one identity with two link keys, and both stay linked to a third', async () => {
  const made = await Promise.all(
    [desk, laptop].map((home) =>
      stage.json<{ did: string }>(['init', '--restore', '--name', home.slice(-6), '--passphrase-file', file, '--home', home], { input: PHRASE }),
    ),
  )
  assert.equal(made[0]?.did, made[1]?.did)
  await stage.json(['init', '--home', friend, '--name', 'friend'])
  await Promise.all([stage.up(desk, ['--passphrase-file', file]), stage.up(laptop, ['--passphrase-file', file]), stage.up(friend)])
  for (const home of [desk, laptop]) {
    const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', home])
    await stage.json(['join', '-', '--home', friend], { input: ticket })
  }
  const peers = await until(
    () => linked(friend),
    (all) => all.length === 2,
  )
  assert.deepEqual(new Set(peers.map(({ did }) => did)), new Set([made[0]?.did]))
  assert.equal(new Set(peers.map(({ link_key }) => link_key)).size, 2)
  for (const home of [desk, laptop]) assert.equal((await stage.json<{ rtt_ms: number[] }>(['ping', 'friend', '-n', '2', '--home', home])).rtt_ms.length, 2)
})

test('rotation, on a machine restored from the phrase alone, is refused: it does not know which keys are the current ones', async () => {
  const refused = await stage.kith(['id', 'rotate', '--home', laptop, '--passphrase-file', file, '--json'])
  assert.equal(code(refused.stderr), 'IDENTITY_LOCKED')
})

test('rotation with the node running and not, keeps the DID, and peers follow', async () => {
  const before = await stage.json<{ did: string; link_key: string }>(['id', 'show', '--home', friend])
  const once = await stage.json<{ did: string; chain: { index: number } }>(['id', 'rotate', '--home', friend])
  assert.deepEqual([once.did, once.chain.index], [before.did, 1])
  await stage.json(['down', '--home', friend])
  const twice = await stage.json<{ did: string; chain: { index: number } }>(['id', 'rotate', '--reason', 'compromised', '--home', friend])
  assert.deepEqual([twice.did, twice.chain.index], [before.did, 2])
  const { entries } = await stage.json<{ entries: { kind: string; reason: string; key: string; next: string }[] }>(['id', 'chain', '--home', friend])
  assert.deepEqual(
    entries.map(({ kind, reason }) => `${kind} ${reason}`),
    ['inception none', 'rotate scheduled', 'rotate compromised'],
  )
  assert.equal(new Set(entries.map(({ key }) => key)).size, 3)
  const again = await stage.up(friend)
  assert.equal(again.ready.did, before.did)
  for (const home of [desk, laptop]) {
    const [peer] = await until(
      () => linked(home),
      (peers) => peers.length === 1,
    )
    assert.deepEqual([peer?.did, peer?.link_key], [before.did, before.link_key])
  }
})

test('a reason that does not exist, is refused before any passphrase is asked', async () => {
  const refused = await stage.kith(['id', 'rotate', '--reason', 'boredom', '--home', friend, '--json'])
  assert.equal(refused.status, 2)
  assert.equal(code(refused.stderr), 'USAGE')
})

const missing = !hasTerminal || spawnSync('age', ['--version']).error !== undefined
test("age of the system, given the passphrase, opens both files of the command's home", { skip: missing && 'needs age and a terminal' }, async () => {
  for (const name of ['identity', 'device']) {
    const out = stage.home(`${name}.opened`)
    const session = openTerminalOf(stage, ['age', '-d', '-o', out, `${desk}/${name}.age`])
    await session.sees('assphrase')
    session.type(`${PASSPHRASE}\r`)
    assert.equal(await session.ended, 0, session.screen)
    assert.ok(readFileSync(out).toString('latin1').startsWith(`kith-${name}`))
  }
})

test('help of id, lists what it does', async () => {
  const { stdout } = await stage.kith(['id', '--help'])
  for (const name of [
    'show',
    'phrase',
    'document',
    'chain',
    'rotate',
    'upgrade-pq',
    'export',
    'import',
    'passphrase',
    'unlock',
    'device',
    'hardware',
    'seal',
    'duress',
    'shares',
  ])
    assert.match(stdout, new RegExp(`^ +${name} `, 'm'))
  const { stdout: device } = await stage.kith(['id', 'device', '--help'])
  for (const name of ['list', 'add', 'approve', 'revoke', 'rotate', 'renew']) assert.match(device, new RegExp(`^ +${name} `, 'm'))
})

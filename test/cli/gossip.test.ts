import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { EntryLine, TopicListed } from '../../src/daemon/control/routes/gossip-api.ts'
import { createStage, errorOf, meet, type Stage } from './support.ts'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
let stage: Stage
let dids = { alice: '', bob: '' }
const on = (name: string, ...args: string[]): string[] => [...args, '--home', stage.home(name)]

before(async () => {
  stage = await createStage()
  dids = await meet(stage)
})
after(() => stage.close())

test('topics, fresh node, are those of the node itself, and made ones are listed with their access', async () => {
  const { topics } = await stage.json<{ topics: TopicListed[] }>(on('alice', 'topics'))
  assert.deepEqual(topics.map(({ name }) => name).sort(), [
    'blob:announce',
    'blob:request',
    'identity:recovery',
    'identity:updates',
    'trust:attestations',
    'trust:evidence',
  ])
  const listed = await stage.kith(on('alice', 'topics'))
  assert.match(listed.stderr, /next: .*topics create NAME/)
  const news = await stage.json<TopicListed>(on('alice', 'topics', 'create', 'news'))
  assert.deepEqual([news.name, news.access, news.min_score, news.members], ['news', 'known', 0.1, []])
  const board = await stage.json<TopicListed>(on('alice', 'topics', 'create', 'board', 'bob'))
  assert.deepEqual(
    [board.access, board.members.map(({ did, name, self }) => [did, name, self]).sort((a, b) => Number(b[2]) - Number(a[2]))],
    [
      'list',
      [
        [dids.alice, null, true],
        [dids.bob, 'bob', false],
      ],
    ],
  )
  // The same again changes nothing; with other rules it is another topic.
  await stage.json(on('alice', 'topics', 'create', 'news', '--access', 'known'))
  const other = await stage.kith(on('alice', 'topics', 'create', 'news', '--access', 'open', '--json'))
  assert.equal(errorOf(other.stderr).code, 'TOPIC_EXISTS')
  assert.equal(errorOf(other.stderr).message, 'The topic news exists with another access.')
  const { stdout } = await stage.kith(on('alice', 'topics'))
  assert.match(stdout, /^board +list: me bob +0 +0 B/m)
  assert.deepEqual(await stage.json(on('alice', 'topics', 'remove', 'board')), { name: 'board', removed: true })
})

test('pub and sub, between two nodes, carry text and bytes, each entry once and in order', async () => {
  await stage.json(on('bob', 'topics', 'create', 'news'))
  await stage.json(on('alice', 'topics', 'create', 'quiet'))
  assert.match((await stage.kith(on('alice', 'pub', 'quiet', 'nobody hears'))).stderr, /No peer that is linked now reads this topic/)
  await stage.json(on('alice', 'topics', 'remove', 'quiet'))
  const first = await stage.json<EntryLine>(on('alice', 'pub', 'news', 'the mill is open'))
  assert.deepEqual([first.topic, first.author, first.bytes, first.text], ['news', dids.alice, 16, 'the mill is open'])
  const piped = await stage.kith(on('alice', 'pub', 'news', '--quiet'), { input: Buffer.from([0xff, 0x00]).toString('latin1') })
  assert.equal(piped.status, 0, piped.stderr)
  const { status, stdout } = await stage.kith(on('bob', 'sub', 'news', '--replay', '-n', '2', '--json'))
  assert.equal(status, 0)
  const entries = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as EntryLine)
  assert.deepEqual(
    entries.map(({ id, author_name, text }) => [id, author_name, text?.slice(0, 3)]),
    [
      [first.id, 'alice', 'the'],
      [piped.stdout.trimEnd(), 'alice', entries[1]?.text?.slice(0, 3)],
    ],
  )
  const shown = await stage.kith(on('bob', 'sub', 'news', '--replay', '-n', '1'))
  assert.match(shown.stdout, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}alice {2}the mill is open\n$/)
  assert.equal((await stage.kith(on('bob', 'sub', 'news', '--replay', '-n', '1', '--quiet'))).stdout, 'the mill is open\n')
  const { topics } = await stage.json<{ topics: TopicListed[] }>(on('bob', 'topics'))
  assert.equal(topics.find(({ name }) => name === 'news')?.entries, 2)
})

test('pub, too much, nothing on standard input or a topic misspelt, says what would work', async () => {
  const large = await stage.kith(on('alice', 'pub', 'news', '-', '--json'), { input: 'x'.repeat(1_048_576) })
  assert.match(errorOf(large.stderr).message, /^The entry is larger than a topic carries: 1048576 of at most \d+ bytes\.$/)
  const empty = await stage.kith(on('alice', 'pub', 'news', '--json'), { input: '' })
  assert.deepEqual([empty.status, errorOf(empty.stderr).code], [2, 'USAGE'])
  assert.match(errorOf((await stage.kith(on('alice', 'pub', 'newz', 'x', '--json'))).stderr).message, /newz; did you mean news\?$/)
  assert.equal((await stage.json<EntryLine>(on('alice', 'pub', 'news', 'by me'))).author_name, 'alice')
})

test('sub, interrupted, exits 130; the node stopped, says so', async () => {
  await stage.json(on('alice', 'pub', 'news', 'before'))
  const reading = await reader('bob', 'news')
  reading.child.kill('SIGINT')
  assert.equal(await reading.status, 130)
  const zero = await stage.kith(on('bob', 'sub', 'news', '-n', '0'))
  assert.equal(zero.status, 2)
})

test('pub and sub, a topic nobody made, exit 1 and name the command that makes it', async () => {
  for (const args of [
    ['pub', 'gossip', 'x'],
    ['sub', 'gossip'],
    ['topics', 'remove', 'gossip'],
  ]) {
    const { status, stderr } = await stage.kith(on('alice', ...args, '--json'))
    assert.deepEqual([status, errorOf(stderr).code], [1, 'TOPIC_UNKNOWN'], args.join(' '))
  }
  const { stderr } = await stage.kith(on('alice', 'pub', 'gossip', 'x'))
  assert.match(stderr, /^next: .*kith\.mjs topics create gossip /m)
  for (const args of [
    ['topics', 'create', 'no spaces'],
    ['topics', 'create', 'x', '--access', 'friends'],
    ['topics', 'create', 'x', 'bob', '--access', 'open'],
  ]) {
    const refused = await stage.kith(on('alice', ...args, '--json'))
    assert.deepEqual([refused.status, errorOf(refused.stderr).code], [2, 'USAGE'], args.join(' '))
  }
  const reserved = await stage.kith(on('alice', 'topics', 'create', 'network:candidates', '--json'))
  assert.equal(errorOf(reserved.stderr).code, 'TOPIC_RESERVED')
})

test('why, a peer a topic does not admit, says the rule, and its command opens the topic', async () => {
  await stage.json(on('alice', 'topics', 'create', 'inner', '--access', 'partner'))
  const why = await stage.kith(on('alice', 'why', 'bob', 'publish', 'inner'))
  assert.match(why.stdout, /^denied {2}the topic inner asks for a standing of 0\.4, which the peer does not have/)
  const command = /to change it: .*kith\.mjs (allow bob publish inner) --home/.exec(why.stdout)?.[1] ?? ''
  assert.equal((await stage.kith(on('alice', ...command.split(' ')))).status, 0)
  assert.equal((await stage.kith(on('alice', 'why', 'bob', 'publish', 'inner', '--quiet'))).stdout, 'allowed\n')
})

test('trust attest, said by one node, is known to the other', async () => {
  const { did } = await stage.json<{ did: string }>(on('carol', 'init', '--name', 'carol'))
  const said = await stage.json<{ said: { weight: number; labels: string[] } }>(on('alice', 'trust', 'attest', did, '0.8', '--label', 'met in person'))
  assert.deepEqual([said.said.weight, said.said.labels], [0.8, ['met in person']])
  await stage.kith(on('bob', 'sub', 'trust:attestations', '--replay', '-n', '1'))
  const { edges } = await stage.json<{ edges: { source_name: string; weight: number; labels: string[] }[] }>(on('bob', 'trust', 'graph', did))
  assert.deepEqual(
    edges.map(({ source_name, weight, labels }) => [source_name, weight, labels]),
    [['alice', 0.8, ['met in person']]],
  )
})

async function reader(name: string, topic: string): Promise<{ child: ChildProcess; status: Promise<number | null> }> {
  const env = { ...process.env, XDG_STATE_HOME: `${stage.folder}/state`, NO_COLOR: '1' }
  const child = spawn(process.execPath, [BIN, ...on(name, 'sub', topic, '--replay')], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const status = once(child, 'close').then(([code]) => code as number | null)
  await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')
  return { child, status }
}

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { createStage, type RunningNode, type Stage } from '../cli/support.ts'
import { postgresMissing, query, startPostgres } from '../support/postgres.ts'
import { kill, sendThroughKills } from './interrupted.ts'

/** The session of docs/guides/first-five-minutes.md: two homes on one machine, the real command, in order. */
const STEP_MS = 60_000
const MIB = 1_048_576

let stage: Stage
let desk = ''
let laptop = ''
let ticket = ''
let deskNode: RunningNode
let laptopNode: RunningNode
const dids = { desk: '', laptop: '' }

before(async () => {
  stage = await createStage()
  desk = stage.home('desk')
  laptop = stage.home('laptop')
})
after(() => stage.close())

interface Peer {
  readonly did: string
  readonly name: string
  readonly state: string
  readonly class: string
  readonly pending_class: string | null
  readonly path: { readonly scheme: string; readonly address: string; readonly direct: boolean; readonly via: string | null } | null
  readonly rtt_ms: number | null
  readonly pq: boolean | null
  readonly since: string | null
  readonly streams: number
  readonly link_key: string
}
interface Status {
  readonly did: string
  readonly name: string
  readonly version: string
  readonly uptime_s: number
  readonly listen: readonly string[]
  readonly degraded: readonly object[]
  readonly peers: readonly Peer[]
  readonly pairings: readonly { readonly words: string }[]
}

const status = (home: string): Promise<Status> => stage.json<Status>(['status', '--home', home])
const on = (home: string, ...args: string[]): string[] => [...args, '--home', home]
/** The command that a refusal prints for the owner of the other machine, typed there as it is: that machine's home is the usual one. */
async function typedOn(home: string, stderr: string): Promise<void> {
  const printed = /^next: on the other machine: (kith .*)$/m.exec(stderr)?.[1]
  assert.ok(printed !== undefined, stderr)
  const outcome = await stage.shell(printed, { KITH_HOME: home })
  assert.equal(outcome.status, 0, outcome.stderr)
}
/** A forward that is refused first, and works after what was printed has been typed. */
async function forwardAfterRefusal(target: string): Promise<string> {
  const wanted = on(laptop, 'forward', `desk:${target}`, '--local', '127.0.0.1:0')
  const refused = await stage.kith(wanted)
  assert.equal(refused.status, 4, refused.stderr)
  assert.match(refused.stderr, /^error\[FORWARD_DENIED\] /)
  await typedOn(desk, refused.stderr)
  return (await stage.json<{ local: string }>(wanted)).local
}

/** A printed command, without the words for the program itself. */
const words = (printed: string): string[] => printed.slice(printed.indexOf('kith.mjs ') + 'kith.mjs '.length).split(' ')

/** Asks until the answer is as wanted; bounded by the number of tries, each of which is a whole command. */
async function until<T>(ask: () => Promise<T>, wanted: (value: T) => boolean): Promise<T> {
  let value = await ask()
  for (let tries = 0; tries < 100 && !wanted(value); tries++) value = await ask()
  assert.ok(wanted(value), JSON.stringify(value))
  return value
}

test('1. init, on two machines, makes two identities', { timeout: STEP_MS }, async () => {
  dids.desk = (await stage.json<{ did: string }>(on(desk, 'init', '--name', 'desk'))).did
  dids.laptop = (await stage.json<{ did: string }>(on(laptop, 'init', '--name', 'laptop'))).did
  assert.notEqual(dids.desk, dids.laptop)
})

test('2. up, on both, is ready on its first line', { timeout: STEP_MS }, async () => {
  ;[deskNode, laptopNode] = await Promise.all([stage.up(desk), stage.up(laptop)])
  assert.equal(deskNode.ready.did, dids.desk)
  assert.equal(laptopNode.ready.did, dids.laptop)
  assert.deepEqual(laptopNode.ready.degraded, [])
  assert.match(deskNode.ready.listen[0] ?? '', /^tcp:\/\/127\.0\.0\.1:\d+$/)
})

test('3. invite and join, by standard input, pair both ways with the same four words', { timeout: STEP_MS }, async () => {
  const invite = await stage.json<{ id: string; ticket: string; expires_at: string }>(on(desk, 'invite', '--class', 'partner'))
  ticket = invite.ticket
  assert.match(ticket, /^kith1/)
  assert.ok(Date.parse(invite.expires_at) > Date.now())
  const joined = await stage.json<{ did: string; name: string; words: string; class: string; pending: string | null }>(on(laptop, 'join', '-'), {
    input: `${ticket}\n`,
  })
  assert.equal(joined.did, dids.desk)
  assert.equal(joined.words.split(' ').length, 4)
  assert.equal(joined.class, 'known')
  assert.equal(joined.pending, 'partner')
  assert.equal((await status(desk)).pairings[0]?.words, joined.words)
})

test('4. a ticket used again, by somebody else, is refused', { timeout: STEP_MS }, async () => {
  const third = stage.home('third')
  await stage.json(on(third, 'init', '--name', 'third'))
  await stage.up(third)
  const again = await stage.kith(on(third, 'join', '-', '--json'), { input: ticket })
  assert.equal(again.status, 4)
  assert.equal(JSON.parse(again.stderr).error.code, 'INVITE_REFUSED')
  await stage.json(on(third, 'down'))
})

test('5. status, on both sides, shows the link as it is', { timeout: STEP_MS }, async () => {
  for (const [home, other] of [
    [desk, dids.laptop],
    [laptop, dids.desk],
  ] as const) {
    const { peers } = await until(
      () => status(home),
      (value) => value.peers.some((peer) => peer.did === other && peer.state === 'connected' && peer.rtt_ms !== null),
    )
    const peer = peers.find(({ did }) => did === other) as Peer
    assert.equal(peer.path?.scheme, 'tcp')
    assert.equal(peer.path?.direct, true)
    assert.equal(peer.pq, true)
    assert.ok(Date.parse(peer.since ?? '') > 0)
  }
})

test('6. ping, by name, gives round trips', { timeout: STEP_MS }, async () => {
  const { rtt_ms } = await stage.json<{ rtt_ms: number[] }>(on(laptop, 'ping', 'desk', '-n', '3'))
  assert.equal(rtt_ms.length, 3)
  assert.ok(rtt_ms.every((ms) => ms > 0))
})

test('7. why, of a path, names it and what else there was', { timeout: STEP_MS }, async () => {
  const why = await stage.json<{ path: { address: string } | null; candidates: { url: string; result: string; reason: string }[] }>(on(laptop, 'why', 'desk'))
  assert.equal(why.path?.address, deskNode.ready.listen[0])
  assert.ok(why.candidates.some(({ result }) => result === 'active'))
})

test('8. confirm, the words matched, the promised class takes effect', { timeout: STEP_MS }, async () => {
  assert.equal((await stage.json(on(desk, 'confirm', 'laptop'))).class, 'partner')
  const again = await stage.kith(on(desk, 'confirm', 'laptop', '--json'))
  assert.equal(JSON.parse(again.stderr).error.code, 'CONFIRM_NOTHING')
  const { peers } = await status(desk)
  assert.deepEqual(
    peers.map((peer) => [peer.class, peer.pending_class]),
    [['partner', null]],
  )
})

test('9. a refusal, the printed command typed as it is, is one no longer', { timeout: STEP_MS }, async () => {
  const target = 'localhost:5432'
  const refused = await stage.kith(on(desk, 'policy', 'test', 'laptop', 'forward', target, '--json'))
  assert.equal(refused.status, 4)
  const { next, allowed } = JSON.parse(refused.stdout) as { next: string; allowed: boolean }
  assert.equal(allowed, false)
  const changed = await stage.kith(words(next))
  assert.equal(changed.status, 0, changed.stderr)
  const now = await stage.kith(on(desk, 'why', 'laptop', 'forward', target, '--json'))
  const why = JSON.parse(now.stdout) as { decision: string; next: string }
  assert.equal(why.decision, 'allowed')
  assert.equal((await stage.kith(words(why.next))).status, 0)
  assert.equal((await stage.kith(on(desk, 'policy', 'test', 'laptop', 'forward', target))).status, 4)
})

test('10. forward, to a real web server, refused, then allowed as printed, carries pages and many requests', { timeout: STEP_MS }, async () => {
  const page = randomBytes(MIB)
  const server = createServer((request, response) => response.end(request.url === '/page' ? page : `you asked for ${request.url}`)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const local = await forwardAfterRefusal(`localhost:${(server.address() as AddressInfo).port}`)
    const body = Buffer.from(await (await fetch(`http://${local}/page`)).arrayBuffer())
    assert.equal(createHash('sha256').update(body).digest('hex'), createHash('sha256').update(page).digest('hex'))
    const paths = Array.from({ length: 50 }, (_, index) => `/${index}`)
    const texts = await Promise.all(paths.map(async (path) => (await fetch(`http://${local}${path}`)).text()))
    assert.deepEqual(
      texts,
      paths.map((path) => `you asked for ${path}`),
    )
  } finally {
    server.close()
    server.closeAllConnections()
  }
})

const noPostgres = postgresMissing()
test('11. forward, to PostgreSQL, refused, then allowed as printed, carries queries', { timeout: 2 * STEP_MS, skip: noPostgres ?? false }, async () => {
  const postgres = await startPostgres()
  try {
    const local = await forwardAfterRefusal(`localhost:${postgres.port}`)
    assert.equal(await query(local, 'select 6 * 7'), '42')
    assert.equal(await query(local, 'create table t as select n from generate_series(1, 100000) n'), 'SELECT 100000')
    const rows = (await query(local, 'select n from t order by n')).split('\n')
    assert.deepEqual([rows.length, rows[0], rows.at(-1)], [100_000, '1', '100000'])
    assert.match(await query(local, 'select inet_client_addr()'), /^127\.0\.0\.1$/)
  } finally {
    await postgres.close()
  }
})

test('12. send, refused, then allowed as printed; both nodes killed on the way; the file arrives once and whole', { timeout: 3 * STEP_MS }, async () => {
  const refused = await stage.kith(on(laptop, 'send', 'desk', process.execPath))
  assert.equal(refused.status, 4, refused.stderr)
  assert.match(refused.stderr, /^error\[FILE_DENIED\] /)
  await typedOn(desk, refused.stderr)
  await sendThroughKills({
    stage,
    sender: {
      home: laptop,
      name: 'laptop',
      node: () => laptopNode,
      again: async () => {
        laptopNode = await stage.up(laptop)
      },
    },
    receiver: {
      home: desk,
      name: 'desk',
      node: () => deskNode,
      again: async () => {
        deskNode = await stage.up(desk, ['--listen', deskNode.ready.listen[0] ?? ''])
      },
    },
    file: 'disk.img',
    bytes: 64 * MIB,
    commandMs: STEP_MS,
  })
})

test('13. kill -9 of both, identities, address books and rules are as they were, and the link comes back by itself', { timeout: STEP_MS }, async () => {
  interface Book {
    readonly peers: readonly { readonly addresses: readonly string[] }[]
  }
  /** Addresses are compared apart: a node that starts elsewhere adds one. */
  const memory = async (home: string): Promise<readonly [object, readonly object[], object, readonly string[]]> => {
    const { peers } = await stage.json<Book>(on(home, 'peers'))
    const entries = peers.map(({ addresses: _addresses, ...entry }) => entry)
    return [await stage.json(on(home, 'id', 'show')), entries, await stage.json(on(home, 'policy', 'list')), peers.flatMap(({ addresses }) => addresses)]
  }
  const before = await Promise.all([memory(desk), memory(laptop)])
  const [address = ''] = deskNode.ready.listen
  await Promise.all([kill(deskNode), kill(laptopNode)])
  ;[deskNode, laptopNode] = await Promise.all([stage.up(desk, ['--listen', address]), stage.up(laptop)])
  assert.equal(deskNode.ready.did, dids.desk)
  assert.equal(laptopNode.ready.did, dids.laptop)
  for (const [index, [identity, entries, rules, addresses]] of (await Promise.all([memory(desk), memory(laptop)])).entries()) {
    assert.deepEqual([identity, entries, rules], before[index]?.slice(0, 3))
    assert.ok(
      before[index]?.[3].some((known) => addresses.includes(known)),
      addresses.join(' '),
    )
  }
  await until(
    () => status(desk),
    ({ peers }) => peers.some((peer) => peer.did === dids.laptop && peer.state === 'connected' && peer.class === 'partner'),
  )
})

test('14. link key rotated while the other side was away, the link heals', { timeout: STEP_MS }, async () => {
  const address = deskNode.ready.listen.at(-1) ?? ''
  await stage.json(on(laptop, 'down'))
  const rotated = await stage.json<{ link_key: string; previous_link_key: string }>(on(desk, 'id', 'device', 'rotate'))
  assert.notEqual(rotated.link_key, rotated.previous_link_key)
  assert.ok((await status(desk)).listen.includes(address), 'the node listens where it did')
  laptopNode = await stage.up(laptop)
  const { peers } = await until(
    () => status(laptop),
    (value) => value.peers.some((peer) => peer.did === dids.desk && peer.state === 'connected'),
  )
  assert.equal(peers.find(({ did, state }) => did === dids.desk && state === 'connected')?.link_key, rotated.link_key)
})

test('15. down, on both, ends well', { timeout: STEP_MS }, async () => {
  assert.equal((await stage.json(on(desk, 'down'))).stopped, true)
  assert.equal((await stage.json(on(laptop, 'down'))).stopped, true)
  assert.equal(await deskNode.exited, 0)
  assert.equal(await laptopNode.exited, 0)
})

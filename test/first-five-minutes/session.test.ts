import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createStage, type RunningNode, type Stage } from '../cli/support.ts'

/** The session of docs/guides/first-five-minutes.md: two homes on one machine, the real command, in order. */
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
/** A printed command, without the words for the program itself. */
const words = (printed: string): string[] => printed.slice(printed.indexOf('kith.mjs ') + 'kith.mjs '.length).split(' ')

/** Asks until the answer is as wanted; bounded by the number of tries, each of which is a whole command. */
async function until<T>(ask: () => Promise<T>, wanted: (value: T) => boolean): Promise<T> {
  let value = await ask()
  for (let tries = 0; tries < 100 && !wanted(value); tries++) value = await ask()
  assert.ok(wanted(value), JSON.stringify(value))
  return value
}

test('1. init, on two machines, makes two identities', async () => {
  dids.desk = (await stage.json<{ did: string }>(on(desk, 'init', '--name', 'desk'))).did
  dids.laptop = (await stage.json<{ did: string }>(on(laptop, 'init', '--name', 'laptop'))).did
  assert.notEqual(dids.desk, dids.laptop)
})

test('2. up, on both, is ready on its first line', async () => {
  ;[deskNode, laptopNode] = await Promise.all([stage.up(desk), stage.up(laptop)])
  assert.equal(deskNode.ready.did, dids.desk)
  assert.equal(laptopNode.ready.did, dids.laptop)
  assert.deepEqual(laptopNode.ready.degraded, [])
  assert.match(deskNode.ready.listen[0] ?? '', /^tcp:\/\/127\.0\.0\.1:\d+$/)
})

test('3. invite and join, by standard input, pair both ways with the same four words', async () => {
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

test('4. a ticket used again, by somebody else, is refused', async () => {
  const third = stage.home('third')
  await stage.json(on(third, 'init', '--name', 'third'))
  await stage.up(third)
  const again = await stage.kith(on(third, 'join', '-', '--json'), { input: ticket })
  assert.equal(again.status, 4)
  assert.equal(JSON.parse(again.stderr).error.code, 'INVITE_REFUSED')
  await stage.json(on(third, 'down'))
})

test('5. status, on both sides, shows the link as it is', async () => {
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

test('6. ping, by name, gives round trips', async () => {
  const { rtt_ms } = await stage.json<{ rtt_ms: number[] }>(on(laptop, 'ping', 'desk', '-n', '3'))
  assert.equal(rtt_ms.length, 3)
  assert.ok(rtt_ms.every((ms) => ms > 0))
})

test('7. why, of a path, names it and what else there was', async () => {
  const why = await stage.json<{ path: { address: string } | null; candidates: { url: string; result: string; reason: string }[] }>(on(laptop, 'why', 'desk'))
  assert.equal(why.path?.address, deskNode.ready.listen[0])
  assert.ok(why.candidates.some(({ result }) => result === 'active'))
})

test('8. confirm, the words matched, the promised class takes effect', async () => {
  assert.equal((await stage.json(on(desk, 'confirm', 'laptop'))).class, 'partner')
  const again = await stage.kith(on(desk, 'confirm', 'laptop', '--json'))
  assert.equal(JSON.parse(again.stderr).error.code, 'CONFIRM_NOTHING')
  const { peers } = await status(desk)
  assert.deepEqual(
    peers.map((peer) => [peer.class, peer.pending_class]),
    [['partner', null]],
  )
})

test('9. a refusal, the printed command typed as it is, is one no longer', async () => {
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

test('10. kill -9, and up again, the peers find each other by themselves', async () => {
  process.kill(deskNode.ready.pid, 'SIGKILL')
  await deskNode.exited
  deskNode = await stage.up(desk, ['--listen', deskNode.ready.listen[0] ?? ''])
  assert.equal(deskNode.ready.did, dids.desk)
  await until(
    () => status(desk),
    ({ peers }) => peers.some((peer) => peer.did === dids.laptop && peer.state === 'connected' && peer.class === 'partner'),
  )
})

test('11. link key rotated while the other side was away, the link heals', async () => {
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

test('12. down, on both, ends well', async () => {
  assert.equal((await stage.json(on(desk, 'down'))).stopped, true)
  assert.equal((await stage.json(on(laptop, 'down'))).stopped, true)
  assert.equal(await deskNode.exited, 0)
  assert.equal(await laptopNode.exited, 0)
})

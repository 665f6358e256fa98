import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createStage, type Ready, type Stage } from './support.ts'

/** Two machines on one network, and nothing configured: what `kith up` does by default. The machines are network namespaces joined by a cable. */
const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
const hasIp = process.platform === 'linux' && spawnSync('ip', ['-V']).status === 0
const skip = process.getuid?.() !== 0 ? 'only root may make network namespaces' : !hasIp ? 'ip is not installed' : false
const SPACES = { desk: `kith-lan-a-${process.pid}`, laptop: `kith-lan-b-${process.pid}` } as const
type Name = keyof typeof SPACES

let stage: Stage
const children: ChildProcess[] = []
before(async () => {
  stage = await createStage()
  if (skip !== false) return
  for (const space of Object.values(SPACES)) execFileSync('ip', ['netns', 'add', space])
  execFileSync('ip', ['link', 'add', 'eth0', 'netns', SPACES.desk, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', SPACES.laptop])
  for (const [space, address] of [
    [SPACES.desk, '192.0.2.1/24'],
    [SPACES.laptop, '192.0.2.2/24'],
  ] as const) {
    for (const args of [
      ['addr', 'add', address, 'dev', 'eth0'],
      ['link', 'set', 'lo', 'up'],
      ['link', 'set', 'eth0', 'up'],
      ['route', 'add', 'default', 'dev', 'eth0'],
    ])
      execFileSync('ip', ['-n', space, ...args])
  }
})
after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await Promise.all(children.map((child) => child.exitCode === null && child.signalCode === null && once(child, 'close')))
  if (skip === false) for (const space of Object.values(SPACES)) execFileSync('ip', ['netns', 'del', space])
  await stage.close()
})

interface Started {
  readonly ready: Ready & { readonly instead_of_port: number | null }
  readonly exited: Promise<unknown>
}

/** `kith up`, without a word about addresses. */
async function up(machine: Name, home: string): Promise<Started> {
  const env = { ...process.env, XDG_STATE_HOME: join(stage.folder, 'state'), NO_COLOR: '1' }
  const child = spawn('ip', ['netns', 'exec', SPACES[machine], process.execPath, BIN, 'up', '--json', '--home', home], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const [line] = (await once(createInterface({ input: child.stdout }), 'line', { signal: AbortSignal.timeout(60_000) })) as [string]
  return { ready: JSON.parse(line), exited: once(child, 'close') }
}

const on = (home: string, ...args: string[]): string[] => [...args, '--home', home]
const portsOf = (urls: readonly string[], scheme: string): string[] =>
  urls.filter((url) => url.startsWith(`${scheme}://192.0.2.`)).map((url) => url.split(':').at(-1) ?? '')

async function until<T>(args: readonly string[], wanted: (value: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const value = await stage.json<T>(args)
    if (wanted(value)) return value
    assert.ok(tries < 150, JSON.stringify(value))
  }
}

test('up, nothing configured, listens on tcp and quic under one number; a second home takes the next and remembers it', {
  skip,
  timeout: 120_000,
}, async () => {
  const [first, second] = [stage.home('desk'), stage.home('other')]
  await stage.json(on(first, 'init', '--name', 'desk'))
  await stage.json(on(second, 'init', '--name', 'other'))
  const { ready } = await up('desk', first)
  assert.deepEqual([portsOf(ready.listen, 'tcp'), portsOf(ready.listen, 'quic'), ready.instead_of_port], [['4433'], ['4433'], null])
  const next = await up('desk', second)
  assert.deepEqual([portsOf(next.ready.listen, 'tcp'), portsOf(next.ready.listen, 'quic'), next.ready.instead_of_port], [['4434'], ['4434'], 4433])
  assert.equal((await stage.json(on(second, 'down'))).stopped, true)
  await next.exited
  const again = await up('desk', second)
  assert.deepEqual([portsOf(again.ready.listen, 'tcp'), again.ready.instead_of_port], [['4434'], null])
  await stage.json(on(second, 'down'))
})

interface Status {
  readonly peers: readonly { readonly did: string; readonly state: string; readonly pq: boolean | null; readonly path: { readonly scheme: string } | null }[]
}

test('two machines on one network, paired, see each other by multicast; the preferred kind of path is taken when that changes', {
  skip,
  timeout: 120_000,
}, async () => {
  const [desk, laptop] = [stage.home('desk'), stage.home('laptop')]
  const { did } = await stage.json<{ did: string }>(on(laptop, 'init', '--name', 'laptop'))
  await up('laptop', laptop)
  const { ticket } = await stage.json<{ ticket: string }>(on(desk, 'invite'))
  const joined = await stage.json<{ did: string }>(on(laptop, 'join', '-'), { input: ticket })
  const linked = await until<Status>(on(laptop, 'status'), ({ peers }) => peers[0]?.state === 'connected')
  assert.deepEqual([linked.peers[0]?.path?.scheme, linked.peers[0]?.pq], ['tcp', true])

  interface Network {
    readonly peers: readonly { readonly did: string | null; readonly source: string; readonly addresses: readonly string[] }[]
  }
  for (const [home, other, address] of [
    [laptop, joined.did, '192.0.2.1'],
    [desk, did, '192.0.2.2'],
  ] as const) {
    const { peers } = await until<Network>(on(home, 'network', 'peers'), (value) => value.peers.some((peer) => peer.did === other))
    const peer = peers.find((candidate) => candidate.did === other)
    assert.ok(
      ['tcp', 'quic'].every((scheme) => peer?.addresses.includes(`${scheme}://${address}:4433`)),
      JSON.stringify(peer),
    )
  }

  for (const home of [desk, laptop]) {
    await writeFile(join(home, 'config.toml'), '[link]\nprefer = ["quic", "tcp"]\n')
    assert.deepEqual(await stage.json(on(home, 'config', 'reload')), { applied: ['link.prefer'], restart: [], revoked: 0, disconnected: false })
  }
  await stage.json(on(laptop, 'network', 'dial', 'desk', '--addr', 'quic://192.0.2.1:4433'))
  const moved = await until<Status>(on(laptop, 'status'), ({ peers }) => peers.some(({ path }) => path?.scheme === 'quic'))
  assert.equal(moved.peers.find(({ path }) => path?.scheme === 'quic')?.pq, false)
  const why = await stage.json<{ candidates: { url: string; result: string }[] }>(on(laptop, 'why', 'desk'))
  assert.ok(
    why.candidates.some(({ url, result }) => url.startsWith('quic://') && result === 'active'),
    JSON.stringify(why),
  )
})

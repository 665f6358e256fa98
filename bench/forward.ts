/** `kith forward` and `kith socks` between two daemons against OpenSSH `-L` and `-D`, default ciphers, and against the library `ssh2` on both ends: the same target, the same load, each through its own tunnel. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { BenchRow } from './harness.ts'
import { bursts, download, requests, upload, type Way, wrk } from './support/load.ts'
import { freePort, reachable, startJson, stop } from './support/processes.ts'
import { processTree } from './support/stopwatch.ts'

const run = promisify(execFile)
const LAUNCHER = join(import.meta.dirname, '..', 'bin', 'kith.mjs')
const BULK_BYTES = 256 * 2 ** 20

interface Ports {
  /** Local ports that lead to the bulk and the HTTP target. */
  readonly bulk: number
  readonly http: number
}

interface Tunnels extends Ports {
  /** The same bulk target through a SOCKS5 proxy. */
  readonly socks: Way
  /** The processes on the way, for `--cpu`. */
  readonly pids: () => readonly number[]
}

interface World {
  readonly kith: Tunnels
  readonly ssh: Tunnels
  readonly sshGcm: Tunnels
  readonly ssh2: Tunnels
  close(): Promise<void>
}

let world: Promise<World> | undefined

async function open(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-'))
  const { child: target, ready: direct } = await startJson<Ports>([join(import.meta.dirname, 'support', 'target.mjs')])
  const kith = await openKith(folder, direct)
  const ssh = await openSsh(folder, direct)
  const library = await openSsh2(direct)
  return {
    kith: kith.tunnels,
    ssh: ssh.plain,
    sshGcm: ssh.gcm,
    ssh2: library.tunnels,
    async close() {
      await kith.close()
      for (const child of [...ssh.children, ...library.children]) await stop(child)
      await stop(target)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function openKith(folder: string, target: Ports): Promise<{ tunnels: Tunnels; close(): Promise<void> }> {
  const kith = async (home: string, ...args: string[]): Promise<Record<string, unknown>> => {
    const { stdout } = await run(process.execPath, [LAUNCHER, '--home', join(folder, home), '--json', ...args], {
      env: { ...process.env, XDG_STATE_HOME: join(folder, 'state') },
    })
    return JSON.parse(stdout.trim().split('\n').at(-1) as string) as Record<string, unknown>
  }
  const pids: number[] = []
  for (const home of ['near', 'far']) {
    await kith(home, 'init', '--name', home, '--no-passphrase')
    const { pid } = await kith(home, 'up', '--detach', '--listen', 'tcp://127.0.0.1:0')
    pids.push(Number(pid))
  }
  const { ticket } = await kith('far', 'invite')
  const { did: far } = await kith('near', 'join', String(ticket))
  const { did: near } = await kith('near', 'status')
  const forward = async (port: number): Promise<number> => {
    await kith('far', 'allow', String(near), 'forward', `127.0.0.1:${port}`)
    const { local } = await kith('near', 'forward', `${far}:127.0.0.1:${port}`, '--local', '127.0.0.1:0')
    return Number(String(local).split(':').at(-1))
  }
  const [bulk, http] = [await forward(target.bulk), await forward(target.http)]
  const { local: proxy } = await kith('near', 'socks', String(far), '--local', '127.0.0.1:0')
  return {
    tunnels: { bulk, http, socks: { port: target.bulk, socks: Number(String(proxy).split(':').at(-1)) }, pids: () => pids },
    async close() {
      await kith('near', 'down')
      await kith('far', 'down')
    },
  }
}

async function openSsh(folder: string, target: Ports): Promise<{ plain: Tunnels; gcm: Tunnels; children: ChildProcess[] }> {
  if (!existsSync('/usr/sbin/sshd')) throw new Error('sshd is not installed')
  await run('mkdir', ['-p', '/run/sshd'])
  for (const key of ['host', 'user']) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)])
  await run('cp', [join(folder, 'user.pub'), join(folder, 'authorized')])
  const port = await freePort()
  const config = join(folder, 'sshd_config')
  writeFileSync(
    config,
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${join(folder, 'host')}`,
      `AuthorizedKeysFile ${join(folder, 'authorized')}`,
      'StrictModes no',
      'UsePAM no',
      'PidFile none',
      'PermitRootLogin yes',
      'MaxSessions 1000',
      'MaxStartups 1000',
    ].join('\n'),
  )
  const sshd = spawn('/usr/sbin/sshd', ['-D', '-f', config], { stdio: 'ignore' })
  await reachable(port)
  const connect = async (...ciphers: string[]): Promise<{ child: ChildProcess; tunnels: Tunnels }> => {
    const tunnels: Ports = { bulk: await freePort(), http: await freePort() }
    const forwards = ['-L', `127.0.0.1:${tunnels.bulk}:127.0.0.1:${target.bulk}`, '-L', `127.0.0.1:${tunnels.http}:127.0.0.1:${target.http}`]
    const options = [
      '-F',
      'none',
      '-N',
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      `UserKnownHostsFile=${join(folder, 'known')}`,
      '-o',
      'IdentitiesOnly=yes',
      '-o',
      'LogLevel=ERROR',
    ]
    const dynamic = await freePort()
    const child = spawn(
      'ssh',
      [...options, '-D', `127.0.0.1:${dynamic}`, '-i', join(folder, 'user'), '-p', String(port), ...ciphers, ...forwards, '127.0.0.1'],
      { stdio: 'ignore' },
    )
    await reachable(tunnels.http)
    return {
      child,
      tunnels: { ...tunnels, socks: { port: target.bulk, socks: dynamic }, pids: () => [child.pid as number, ...processTree(sshd.pid as number)] },
    }
  }
  const plain = await connect()
  const gcm = await connect('-c', 'aes128-gcm@openssh.com')
  return { plain: plain.tunnels, gcm: gcm.tunnels, children: [plain.child, gcm.child, sshd] }
}

async function openSsh2(target: Ports): Promise<{ tunnels: Tunnels; children: ChildProcess[] }> {
  const script = join(import.meta.dirname, 'support', 'ssh2-ends.mjs')
  const server = await startJson<{ port: number }>([script, 'server'])
  const client = await startJson<Ports & { socks: number }>([script, 'client', String(server.ready.port), JSON.stringify(target)])
  const pids = [client.child.pid as number, server.child.pid as number]
  const { bulk, http, socks } = client.ready
  return { tunnels: { bulk, http, socks: { port: target.bulk, socks }, pids: () => pids }, children: [client.child, server.child] }
}

function row(
  name: string,
  unit: string,
  goal: number | undefined,
  aim: number | undefined,
  peer: (world: World) => Tunnels,
  load: (tunnels: Tunnels, quick: boolean) => Promise<number>,
  label = 'OpenSSH -L, default ciphers',
): BenchRow {
  let warm = false
  return {
    name,
    unit,
    peer: label,
    better: 'higher',
    ...(goal === undefined ? {} : { goal }),
    ...(aim === undefined ? {} : { aim }),
    async measure({ quick }) {
      world ??= open()
      const ready = await world
      // The daemons have just been started: they compile what they use during the first seconds, and a quick load would measure little else.
      if (!warm) for (const tunnels of [ready.kith, peer(ready)]) await load(tunnels, false)
      warm = true
      return { ours: await load(ready.kith, quick), peer: await load(peer(ready), quick) }
    },
  }
}

const bytes = (quick: boolean): number => (quick ? BULK_BYTES / 4 : BULK_BYTES)

export const rows: readonly BenchRow[] = [
  row(
    'kith forward, bulk up',
    'MB/s',
    0.85,
    1.1,
    ({ ssh }) => ssh,
    ({ bulk, pids }, quick) => upload({ port: bulk }, bytes(quick), ...pids()),
  ),
  row(
    'kith forward, bulk down',
    'MB/s',
    0.85,
    1.1,
    ({ ssh }) => ssh,
    ({ bulk, pids }, quick) => download({ port: bulk }, bytes(quick), ...pids()),
  ),
  row(
    'kith forward, bulk down beside aes128-gcm',
    'MB/s',
    undefined,
    undefined,
    ({ sshGcm }) => sshGcm,
    ({ bulk, pids }, quick) => download({ port: bulk }, bytes(quick), ...pids()),
    'OpenSSH -L, aes128-gcm',
  ),
  row(
    'kith forward, 100 HTTP requests at once, new connections',
    'req/s',
    1,
    1.3,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => requests(http, quick ? 1_000 : 6_000, false, 100, 'together', ...pids()),
  ),
  row(
    'kith forward, 100 HTTP requests at once, kept connections',
    'req/s',
    0.95,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => requests(http, quick ? 5_000 : 30_000, true, 100, 'together', ...pids()),
  ),
  row(
    'kith forward, 200 short HTTP requests of curl in one instant, all of them answered',
    'req/s',
    1.2,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => bursts(http, 200, quick ? 5 : 40, 'all', pids()),
  ),
  row(
    'kith forward, 200 short HTTP requests of curl in one instant, the middle burst',
    'req/s',
    1.2,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => bursts(http, 200, quick ? 5 : 40, 'middle', pids()),
  ),
  row(
    'kith forward, 200 short HTTP requests at once, come in one instant',
    'req/s',
    1.2,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => requests(http, quick ? 1_000 : 6_000, false, 200, 'together', ...pids()),
  ),
  // ssh keeps 128 connections waiting: of 200 in one instant some are not heard now and then, and come again a second later. Its users see that, and it says nothing
  // about its speed; the same clients in groups all find room.
  row(
    'kith forward, 200 short HTTP requests at once, come in groups of 50',
    'req/s',
    1.2,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => requests(http, quick ? 1_000 : 6_000, false, 200, 'in groups', ...pids()),
  ),
  row(
    'kith forward, 200 HTTP clients that keep their connections',
    'req/s',
    1.2,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => wrk(http, 200, true, quick ? 1 : 4, pids()),
  ),
  row(
    'kith forward, 200 HTTP clients, a connection for each request',
    'req/s',
    1.2,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => wrk(http, 200, false, quick ? 1 : 4, pids()),
  ),
  row(
    'kith socks, bulk down',
    'MB/s',
    0.9,
    undefined,
    ({ ssh }) => ssh,
    ({ socks, pids }, quick) => download(socks, bytes(quick), ...pids()),
    'OpenSSH -D, default ciphers',
  ),
  row(
    'kith socks, bulk up',
    'MB/s',
    0.9,
    undefined,
    ({ ssh }) => ssh,
    ({ socks, pids }, quick) => upload(socks, bytes(quick), ...pids()),
    'OpenSSH -D, default ciphers',
  ),
  row(
    'kith socks, bulk down beside ssh2',
    'MB/s',
    2,
    undefined,
    ({ ssh2 }) => ssh2,
    ({ socks, pids }, quick) => download(socks, bytes(quick), ...pids()),
    'ssh2, SOCKS5',
  ),
  row(
    'kith forward, bulk down beside ssh2',
    'MB/s',
    2,
    undefined,
    ({ ssh2 }) => ssh2,
    ({ bulk, pids }, quick) => download({ port: bulk }, bytes(quick), ...pids()),
    'ssh2, local forward',
  ),
]

/** Ends the daemons and sshd once all rows have run. */
export async function close(): Promise<void> {
  await (await world)?.close()
}

/** `kith forward` between two daemons against OpenSSH `-L`, default ciphers: the same target, the same load, each through its own tunnel. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { BenchRow } from './harness.ts'
import { download, requests, upload } from './support/load.ts'
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
  /** The processes on the way, for `--cpu`. */
  readonly pids: () => readonly number[]
}

interface World {
  readonly kith: Tunnels
  readonly ssh: Tunnels
  readonly sshGcm: Tunnels
  close(): Promise<void>
}

let world: Promise<World> | undefined

async function open(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-'))
  const { child: target, ready: direct } = await startJson<Ports>([join(import.meta.dirname, 'support', 'target.mjs')])
  const kith = await openKith(folder, direct)
  const ssh = await openSsh(folder, direct)
  return {
    kith: kith.tunnels,
    ssh: ssh.plain,
    sshGcm: ssh.gcm,
    async close() {
      await kith.close()
      for (const child of ssh.children) await stop(child)
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
  return {
    tunnels: { bulk: await forward(target.bulk), http: await forward(target.http), pids: () => pids },
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
    const child = spawn('ssh', [...options, '-i', join(folder, 'user'), '-p', String(port), ...ciphers, ...forwards, '127.0.0.1'], { stdio: 'ignore' })
    await reachable(tunnels.http)
    return { child, tunnels: { ...tunnels, pids: () => [child.pid as number, ...processTree(sshd.pid as number)] } }
  }
  const plain = await connect()
  const gcm = await connect('-c', 'aes128-gcm@openssh.com')
  return { plain: plain.tunnels, gcm: gcm.tunnels, children: [plain.child, gcm.child, sshd] }
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
      // The daemons have just been started: they compile what they use during the first seconds.
      if (!warm) for (const tunnels of [ready.kith, peer(ready)]) await load(tunnels, quick)
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
    ({ bulk, pids }, quick) => upload(bulk, bytes(quick), ...pids()),
  ),
  row(
    'kith forward, bulk down',
    'MB/s',
    0.85,
    1.1,
    ({ ssh }) => ssh,
    ({ bulk, pids }, quick) => download(bulk, bytes(quick), ...pids()),
  ),
  row(
    'kith forward, bulk down beside aes128-gcm',
    'MB/s',
    undefined,
    undefined,
    ({ sshGcm }) => sshGcm,
    ({ bulk, pids }, quick) => download(bulk, bytes(quick), ...pids()),
    'OpenSSH -L, aes128-gcm',
  ),
  row(
    'kith forward, 100 HTTP requests at once, new connections',
    'req/s',
    1,
    1.3,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => requests(http, quick ? 1_000 : 6_000, false, ...pids()),
  ),
  row(
    'kith forward, 100 HTTP requests at once, kept connections',
    'req/s',
    0.95,
    undefined,
    ({ ssh }) => ssh,
    ({ http, pids }, quick) => requests(http, quick ? 5_000 : 30_000, true, ...pids()),
  ),
]

/** Ends the daemons and sshd once all rows have run. */
export async function close(): Promise<void> {
  await (await world)?.close()
}

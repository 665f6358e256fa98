/** The SSH door against a plain server made with the library `ssh2`: bytes through `ssh -L` with OpenSSH's default ciphers, and logins one after the other. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ssh2 from 'ssh2'
import type { BenchRow } from './harness.ts'
import { download, upload } from './support/load.ts'
import { freePort, reachable, startJson, stop } from './support/processes.ts'
import { stopwatch } from './support/stopwatch.ts'

const run = promisify(execFile)
const BULK_BYTES = 128 * 2 ** 20
const LOGINS = 60

interface Door {
  readonly port: number
  /** Local end of `ssh -L`. */
  readonly bulk: number
  readonly pids: readonly number[]
  readonly children: readonly ChildProcess[]
}

interface World {
  readonly folder: string
  readonly kith: Door
  readonly plain: Door
  readonly target: ChildProcess
}

let world: Promise<World> | undefined

async function open(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-ssh-'))
  for (const key of ['host', 'user']) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)])
  const { child: target, ready } = await startJson<{ bulk: number }>([join(import.meta.dirname, 'support', 'target.mjs')])
  const door = async (which: string): Promise<Door> => {
    const script = join(import.meta.dirname, 'support', 'ssh-doors.ts')
    const server = await startJson<{ port: number }>(['--conditions=kith-source', script, which, join(folder, 'host'), join(folder, 'user.pub')])
    const { port } = server.ready
    const bulk = await freePort()
    const quiet = [
      '-F',
      'none',
      '-N',
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      `UserKnownHostsFile=${join(folder, which)}`,
      '-o',
      'IdentitiesOnly=yes',
      '-o',
      'LogLevel=ERROR',
    ]
    const client = spawn(
      'ssh',
      [...quiet, '-i', join(folder, 'user'), '-p', String(port), '-L', `127.0.0.1:${bulk}:127.0.0.1:${ready.bulk}`, 'bench@127.0.0.1'],
      { stdio: 'ignore' },
    )
    await reachable(bulk)
    return { port, bulk, pids: [server.child.pid as number], children: [client, server.child] }
  }
  return { folder, kith: await door('kith'), plain: await door('ssh2'), target }
}

/** Logins a second, one after the other, each with a key exchange of its own. */
async function logins({ port, pids }: Door, privateKey: Buffer, count: number): Promise<number> {
  const elapsed = stopwatch(...pids)
  for (let n = 0; n < count; n++)
    await new Promise<void>((resolve, reject) => {
      const client = new ssh2.Client()
      client.on('error', reject)
      client.on('ready', () => client.end())
      client.on('close', () => resolve())
      client.connect({ sock: connect({ host: '127.0.0.1', port, noDelay: true }), username: 'bench', privateKey })
    })
  return count / elapsed()
}

function row(name: string, unit: string, load: (door: Door, quick: boolean, key: Buffer) => Promise<number>): BenchRow {
  let warm = false
  return {
    name,
    unit,
    peer: 'a plain server of ssh2',
    better: 'higher',
    goal: 1,
    async measure({ quick }) {
      world ??= open()
      const { kith, plain, folder } = await world
      const key = readFileSync(join(folder, 'user'))
      if (!warm) for (const door of [kith, plain]) await load(door, true, key)
      warm = true
      return { ours: await load(kith, quick, key), peer: await load(plain, quick, key) }
    },
  }
}

const bytes = (quick: boolean): number => (quick ? BULK_BYTES / 4 : BULK_BYTES)

export const rows: readonly BenchRow[] = [
  row('SSH door, bulk up', 'MB/s', ({ bulk, pids }, quick) => upload({ port: bulk }, bytes(quick), ...pids)),
  row('SSH door, bulk down', 'MB/s', ({ bulk, pids }, quick) => download({ port: bulk }, bytes(quick), ...pids)),
  row('SSH door, logins one after the other', 'logins/s', (door, quick, key) => logins(door, key, quick ? LOGINS / 4 : LOGINS)),
]

export async function close(): Promise<void> {
  if (world === undefined) return
  const { folder, kith, plain, target } = await world
  for (const child of [...kith.children, ...plain.children, target]) await stop(child)
  rmSync(folder, { recursive: true, force: true })
}

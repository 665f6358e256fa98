import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './ports.ts'

const run = promisify(execFile)
const ROOT = '/usr/lib/postgresql'
const READY_MS = 30_000

export interface Postgres {
  readonly port: number
  /** Where its socket file is. */
  readonly folder: string
  close(): Promise<void>
}

/** Why no PostgreSQL server can be started here; undefined when one can. It refuses to run as root, and only root may become its user. */
export function postgresMissing(): string | undefined {
  if (binaries() === undefined) return 'PostgreSQL is not installed'
  if (process.getuid?.() !== 0) return 'only root may start the server as its own user'
  if (!existsSync('/usr/bin/psql') || !existsSync('/usr/bin/setpriv')) return 'psql or setpriv is not installed'
  return undefined
}

function binaries(): string | undefined {
  if (!existsSync(ROOT)) return undefined
  return readdirSync(ROOT)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(ROOT, version, 'bin'))
    .find((path) => existsSync(join(path, 'postgres')) && existsSync(join(path, 'initdb')))
}

const asPostgres = ['--reuid=postgres', '--regid=postgres', '--clear-groups', '--']

/** A fresh server on loopback that trusts whoever reaches it. */
export async function startPostgres(): Promise<Postgres> {
  const bin = binaries() as string
  const folder = mkdtempSync(join(tmpdir(), 'kith-postgres-'))
  let server: ChildProcess | undefined
  const close = async (): Promise<void> => {
    if (server !== undefined && server.exitCode === null && server.signalCode === null) {
      // SIGINT is its fast shutdown.
      server.kill('SIGINT')
      await once(server, 'close')
    }
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const { stdout } = await run('id', ['-u', 'postgres'])
    chownSync(folder, Number(stdout), 0)
    const data = join(folder, 'data')
    await run('setpriv', [...asPostgres, join(bin, 'initdb'), '--no-sync', '-A', 'trust', '-D', data], { cwd: folder })
    const port = await freePort()
    const args = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder, '-F']
    server = spawn('setpriv', [...asPostgres, join(bin, 'postgres'), ...args], { stdio: ['ignore', 'ignore', 'pipe'], cwd: folder })
    await ready(server)
    return { port, folder, close }
  } catch (error) {
    await close()
    throw error
  }
}

function ready(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let log = ''
    const timer = setTimeout(() => reject(new Error(`PostgreSQL is not ready: ${log}`)), READY_MS)
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      settle()
    }
    server.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-4_000)
      if (log.includes('ready to accept connections')) finish(resolve)
    })
    server.once('close', () => finish(() => reject(new Error(`PostgreSQL ended: ${log}`))))
  })
}

/** One statement by the real client, and its rows as text. */
export async function query(address: string, statement: string): Promise<string> {
  const [host = '', port = ''] = address.split(':')
  const { stdout } = await run('psql', ['-X', '-A', '-t', '-h', host, '-p', port, '-U', 'postgres', '-d', 'postgres', '-c', statement], {
    env: { ...process.env, PGCONNECT_TIMEOUT: '20' },
    maxBuffer: 64 * 1_048_576,
  })
  return stdout.trimEnd()
}

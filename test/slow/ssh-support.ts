import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { parseAuthorizedKeys } from '../../src/access/authorized-keys.ts'
import { createIdentityProvider } from '../../src/access/identity-provider.ts'
import { ReplayCache } from '../../src/access/replay-cache.ts'
import { accessTable, tableSource } from '../../src/access/sources.ts'
import { parseRevocations } from '../../src/access/ssh-revocations.ts'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { createLogger, type Logger, silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createSshDoor, type SshDoor, type SshDoorOptions } from '../../src/ssh/door.ts'
import { knownHostsLine } from '../../src/ssh/host-key.ts'
import { dialAnything } from '../ssh/dial.ts'
import { freePort } from '../support/ports.ts'

const CLIENTS = new URL('../../.openssh-clients/', import.meta.url).pathname

/** Clients of OpenSSH that this machine has. */
export const SSH_CLIENTS: readonly { readonly name: string; readonly command: string; readonly hybrid: boolean; readonly missing: string | false }[] = [
  { name: 'system', command: 'ssh', hybrid: false, missing: spawnSync('ssh', ['-V']).error === undefined ? false : 'no ssh here' },
  ...['10.0', 'sid'].map((name) => {
    const command = join(CLIENTS, name, 'ssh')
    return { name, command, hybrid: true, missing: existsSync(command) ? (false as const) : 'not unpacked: .ci/openssh-clients' }
  }),
]

export interface Outcome {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** Runs a program to its end. */
export function run(command: string, args: readonly string[], input?: string): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'pipe', timeout: 20_000 })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

export interface RealDoor {
  readonly door: SshDoor
  readonly port: number
  readonly directory: string
  /** Lines of the log as the node would write them. */
  readonly log: string[]
  /** Everything a client needs to know, without the configuration of this machine. */
  options(key: string, more?: readonly string[]): readonly string[]
}

export interface RealDoorOptions extends Partial<SshDoorOptions> {
  readonly directory: string
  /** Text of an authorized_keys file. */
  readonly authorized: string
  readonly revoked?: string
}

export async function workplace(context: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kith-ssh-'))
  context.after(() => rm(directory, { recursive: true }))
  return directory
}

export async function keygen(...args: readonly string[]): Promise<void> {
  const { status, err } = await run('ssh-keygen', ['-q', ...args])
  if (status !== 0) throw new Error(err)
}

export async function realDoor(context: TestContext, { directory, authorized, revoked, ...options }: RealDoorOptions): Promise<RealDoor> {
  const log: string[] = []
  const logger: Logger = createLogger({ destination: { write: (line) => void log.push(line) } })
  const { lines } = parseAuthorizedKeys(authorized, 'authorized_keys')
  const table = accessTable({ lines, revocations: revoked === undefined ? [] : [parseRevocations(Buffer.from(revoked), 'revoked')] })
  const replay = await ReplayCache.open(systemClock, createMemoryStore())
  const identity = createIdentityProvider({ sources: [tableSource('test', () => table)], replay, clock: systemClock, logger: silentLogger })
  const hostKey = createSigner('service', Secret.random(32, systemRandom))
  const door = createSshDoor({ hostKey, identity, clock: systemClock, logger, dial: dialAnything, mayListen: async () => true, ...options })
  const server = createServer((socket) =>
    door.accept(socket, { remoteAddress: socket.remoteAddress ?? '', remotePort: socket.remotePort ?? 0, transport: 'tcp' }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const known = join(directory, `known_hosts_${port}`)
  await writeFile(known, `${knownHostsLine('127.0.0.1', port, door.hostKey)}\n`)
  context.after(() => {
    door.close()
    server.close()
    identity.close()
  })
  return {
    door,
    port,
    directory,
    log,
    options: (key, more = []) => [
      ...['-F', 'none', '-o', 'IdentitiesOnly=yes', '-o', 'IdentityAgent=none', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=yes'],
      ...['-o', `UserKnownHostsFile=${known}`, '-o', 'GlobalKnownHostsFile=/dev/null', '-o', 'ConnectTimeout=10', '-i', join(directory, key), ...more],
    ],
  }
}

/** A real sshd with one user key and, where given, a certificate authority of users. @returns its port. */
export async function realSshd(context: TestContext, directory: string, lines: readonly string[]): Promise<number> {
  const port = await freePort()
  await chmod(directory, 0o755)
  const config = join(directory, `sshd_config_${port}`)
  await writeFile(
    config,
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${join(directory, 'host')}`,
      `PidFile ${join(directory, 'pid')}`,
      `AuthorizedKeysFile ${join(directory, 'authorized')}`,
      'StrictModes no',
      'UsePAM no',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'AllowTcpForwarding yes',
      ...lines,
      '',
    ].join('\n'),
  )
  spawnSync('mkdir', ['-p', '/run/sshd'])
  const sshd: ChildProcess = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  await new Promise<void>((resolve, reject) => {
    sshd.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes('Server listening')) resolve()
    })
    sshd.once('error', reject)
    sshd.once('close', () => reject(new Error(`sshd: ${said}`)))
  })
  context.after(async () => {
    const gone = new Promise((resolve) => sshd.once('close', resolve))
    sshd.kill()
    await gone
  })
  return port
}

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/**
 * Network namespaces joined by one switch, with the real command in them. Nothing leaves them.
 *
 * ```text
 * name 1  eth0 192.0.2.1 ---+
 * name 2  eth0 192.0.2.2 ---+--- bridge in a namespace of its own
 * ```
 */
const run = promisify(execFile)
const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
const COMMAND_MS = 60_000
export const NETWORK = '192.0.2.0/24'

/** Why there is no laboratory on this machine; false when there is one. */
export async function noLaboratory(...tools: readonly string[]): Promise<string | false> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux for network namespaces'
  const missing = ['/usr/sbin/ip', ...tools].find((tool) => !existsSync(tool))
  if (missing !== undefined) return `${missing} is not installed`
  const name = `kith${process.pid % 100_000}x`
  try {
    await run('ip', ['netns', 'add', name])
    await run('ip', ['netns', 'del', name])
    return false
  } catch {
    return 'network namespaces are not allowed here'
  }
}

export interface Machine {
  readonly home: string
  address: string
  /** Runs a program on this machine. */
  spawn(command: string, args: readonly string[]): ChildProcess
  exec(command: string, ...args: readonly string[]): Promise<string>
  /** One command of kith, and its JSON. */
  kith<T = Record<string, unknown>>(args: readonly string[], input?: string): Promise<T>
  /** The node on all its interfaces; resolves when it is ready. */
  up(...args: readonly string[]): Promise<{ readonly did: string; readonly listen: readonly string[]; readonly process: ChildProcess }>
  /** Gives the machine another address on the network. */
  move(address: string): Promise<void>
}

export interface Laboratory {
  readonly folder: string
  machine(name: string): Promise<Machine>
}

export async function createLaboratory(t: TestContext): Promise<Laboratory> {
  const folder = await mkdtemp(join(tmpdir(), 'kith-laboratory-'))
  const prefix = `kith${process.pid % 100_000}`
  const hub = `${prefix}hub`
  const namespaces = [hub]
  const children: ChildProcess[] = []
  t.after(async () => {
    for (const child of children.reverse()) child.kill('SIGKILL')
    for (const name of namespaces) await run('ip', ['netns', 'del', name]).catch(() => undefined)
    await rm(folder, { recursive: true, force: true })
  })
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    XDG_STATE_HOME: join(folder, 'state'),
    NO_COLOR: '1',
    DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${join(folder, 'bus')}`,
  }
  const ip = (...args: string[]) => run('ip', args)
  await ip('netns', 'add', hub)
  await ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge')
  await ip('-n', hub, 'link', 'set', 'br0', 'up')

  return {
    folder,
    async machine(name) {
      const namespace = `${prefix}${name}`
      const number = namespaces.length
      namespaces.push(namespace)
      await ip('netns', 'add', namespace)
      await ip('link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', 'peer', 'name', `port${number}`, 'netns', hub)
      await ip('-n', hub, 'link', 'set', `port${number}`, 'master', 'br0', 'up')
      await ip('-n', namespace, 'link', 'set', 'lo', 'up')
      await ip('-n', namespace, 'link', 'set', 'eth0', 'up')
      const home = join(folder, name)
      const machine: Machine = {
        home,
        address: '',
        spawn(command, args) {
          const child = spawn('ip', ['netns', 'exec', namespace, command, ...args], { env, stdio: ['pipe', 'pipe', 'ignore'], cwd: folder })
          children.push(child)
          return child
        },
        exec: async (command, ...args) => (await run('ip', ['netns', 'exec', namespace, command, ...args], { env, timeout: COMMAND_MS })).stdout,
        async kith(args, input = '') {
          const child = execFile(process.execPath, [BIN, ...args, '--home', home, '--json'], { env, timeout: COMMAND_MS }, () => {})
          let text = ''
          child.stdout?.on('data', (chunk: string) => {
            text += chunk
          })
          let errors = ''
          child.stderr?.on('data', (chunk: string) => {
            errors += chunk
          })
          child.stdin?.end(input)
          const status = await new Promise((resolve) => child.once('close', resolve))
          if (status !== 0) throw new Error(`kith ${args.join(' ')} ended with ${status}: ${errors}`)
          return JSON.parse(text)
        },
        async up(...args) {
          const child = machine.spawn(process.execPath, [BIN, 'up', '--json', '--home', home, ...args])
          const ready = await line(child, (text) => text.includes('"event":"ready"'))
          return { ...(JSON.parse(ready) as { did: string; listen: readonly string[] }), process: child }
        },
        async move(address) {
          await ip('-n', namespace, 'addr', 'flush', 'dev', 'eth0', 'scope', 'global')
          await ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
          await ip('-n', namespace, 'route', 'replace', 'default', 'dev', 'eth0')
          machine.address = address
        },
      }
      await machine.move(`192.0.2.${number}`)
      await machine.kith(['init', '--name', name])
      await writeFile(join(home, 'config.toml'), `[discovery]\nhome_networks = ["${NETWORK}"]\n`)
      return machine
    },
  }
}

/** The first line that is accepted; the rest flows on. */
export function line(child: ChildProcess, wanted: (line: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const seen: string[] = []
    lines.on('line', (text) => {
      seen.push(text)
      if (!wanted(text)) return
      lines.removeAllListeners()
      lines.close()
      // What follows is for whoever listens now.
      child.stdout?.resume()
      resolve(text)
    })
    child.once('exit', () => reject(new Error(`ended without the line: ${seen.join('\n')}`)))
  })
}

/** Asks until the answer is as wanted, for a minute. */
export async function until<T>(ask: () => Promise<T>, wanted: (value: T) => boolean, everyMs = 0): Promise<T> {
  const end = performance.now() + COMMAND_MS
  for (;;) {
    const value = await ask()
    if (wanted(value)) return value
    if (performance.now() > end) throw new Error(`not in a minute; at last: ${JSON.stringify(value)}`)
    if (everyMs > 0) await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}

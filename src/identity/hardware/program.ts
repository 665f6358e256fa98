import { spawn } from 'node:child_process'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'

/** What the programs need of the environment to find their device, bus or socket; nothing else reaches them. */
const PASSED = ['PATH', 'HOME', 'USER', 'TPM2TOOLS_TCTI', 'TCTI', 'DBUS_SESSION_BUS_ADDRESS', 'XDG_RUNTIME_DIR', 'XDG_DATA_HOME', 'DISPLAY', 'WAYLAND_DISPLAY']
/** More than any of them says. */
const MAX_OUTPUT_BYTES = 65_536
/** A person may have to answer the keyring's own question. */
const TIMEOUT_MS = 60_000

export interface ProgramCall {
  /** Never a secret: anybody on the machine can read them. */
  readonly args: readonly string[]
  /** Goes in by a pipe. Stays the caller's. */
  readonly input?: Secret
  readonly environment: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly timeoutMs?: number
}

export interface ProgramResult {
  readonly status: number | null
  /** May be secret: the caller overwrites it. */
  readonly output: Buffer
  /** The last line of what it complained, at most 200 characters. */
  readonly complaint: string
}

/**
 * Runs a program without a shell, with bounded output and time.
 * @throws KithError `SEAL_UNAVAILABLE` when it is not installed, does not end in time or says too much.
 */
export function runProgram(program: string, call: ProgramCall): Promise<ProgramResult> {
  const { environment, cwd, timeoutMs = TIMEOUT_MS } = call
  const env = { LC_ALL: 'C', ...Object.fromEntries(PASSED.flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]]]))) }
  return new Promise((resolve, reject) => {
    const child = spawn(program, call.args, { env, stdio: ['pipe', 'pipe', 'pipe'], ...(cwd === undefined ? {} : { cwd }) })
    const parts: Buffer[] = []
    const complaints: Buffer[] = []
    let length = 0
    let stopped: string | undefined
    const stop = (reason: string): void => {
      stopped ??= reason
      child.kill('SIGKILL')
    }
    const collect = (into: Buffer[]) => (part: Buffer) => {
      length += part.length
      if (length > MAX_OUTPUT_BYTES) stop('says too much')
      else into.push(part)
    }
    child.stdout.on('data', collect(parts))
    child.stderr.on('data', collect(complaints))
    const timer = setTimeout(() => stop(`did not end within ${timeoutMs / 1_000} s`), timeoutMs)
    const forget = (): void => {
      clearTimeout(timer)
      for (const part of parts) part.fill(0)
    }
    child.once('error', (cause: NodeJS.ErrnoException) => {
      forget()
      reject(unavailable(program, cause.code === 'ENOENT' ? 'is not installed' : 'cannot be run', cause))
    })
    child.once('close', (status) => {
      const output = Buffer.concat(parts)
      forget()
      if (stopped === undefined) resolve({ status, output, complaint: lastLine(Buffer.concat(complaints).toString('utf8')) })
      else {
        output.fill(0)
        reject(unavailable(program, stopped))
      }
    })
    // A program that ends before it has read everything says so by its status.
    child.stdin.on('error', () => {})
    if (call.input === undefined) child.stdin.end()
    else {
      const input = call.input.use((bytes) => Buffer.from(bytes))
      child.stdin.end(input, () => input.fill(0))
    }
  })
}

function lastLine(text: string): string {
  return (text.trim().split('\n').at(-1) ?? '').replaceAll(/[^\x20-\x7e]/g, ' ').slice(0, 200)
}

const PACKAGES: { readonly [prefix: string]: string } = { tpm2: 'tpm2-tools', secret: 'libsecret-tools' }

function unavailable(program: string, reason: string, cause?: unknown): KithError {
  const name = PACKAGES[program.split(/[_-]/, 1)[0] ?? '']
  const next = name === undefined || cause === undefined ? 'kith doctor' : `apt install ${name}`
  return new KithError('SEAL_UNAVAILABLE', `${program} ${reason}`, { details: { program, reason }, next, cause })
}

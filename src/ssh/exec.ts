import type { ServerChannel } from 'ssh2'
import type { Caller } from '../access/types.ts'
import { errorForm } from '../call/errors.ts'
import { travels } from '../call/plain.ts'
import type { Callee } from '../call/types.ts'
import { errorRow } from '../core/error-table.ts'
import { asKithError, type ErrorCode, KithError } from '../core/errors.ts'
import { EXEC_HELP, type ExecCommand, parseExecLine } from './exec-line.ts'

/** Input of a call on standard input. */
const MAX_INPUT = 1_048_576

export interface ExecOptions {
  readonly callee: Callee | undefined
  readonly caller: Caller
  /** Aborts when channel or connection is over. */
  readonly signal: AbortSignal
}

/**
 * Runs one command of a session: results as JSON, one line each, errors on standard error, the status by the error's class as `kith call` has it.
 * @returns the exit status.
 */
export async function runExec(line: string, channel: ServerChannel, options: ExecOptions): Promise<number> {
  try {
    await perform(parseExecLine(line), channel, options)
    return 0
  } catch (error) {
    if (options.signal.aborted) return INTERRUPTED
    const failure = asKithError(error, 'CALL_FAILED')
    const { code, details } = failure
    const { message } = errorForm(failure)
    const next = failure.next ?? NEXT[code]
    const shape = { code, message, ...(next === undefined ? {} : { next }), details: travels(details) ? details : {} }
    channel.stderr.write(`${JSON.stringify({ error: shape })}\n`)
    return errorRow(code).exit
  }
}

const INTERRUPTED = 130

/** What to do about an error that does not say so itself; `NODE` stands for how the client was called. */
const NEXT: Partial<Readonly<Record<ErrorCode, string>>> = {
  USAGE: 'ssh NODE help',
  CALL_UNKNOWN: 'ssh NODE ops',
  CALL_INPUT: 'ssh NODE ops',
}

async function perform(command: ExecCommand, channel: ServerChannel, { callee, caller, signal }: ExecOptions): Promise<void> {
  const print = (value: unknown): Promise<void> => write(channel, `${JSON.stringify(value ?? null)}\n`, signal)
  if (command.kind === 'help') return await write(channel, `${EXEC_HELP}\n`, signal)
  if (callee === undefined) throw new KithError('CALL_UNKNOWN')
  if (command.kind === 'ops') {
    for (const operation of await callee.list(caller)) await print(operation)
    return
  }
  const { path } = command
  const described = await callee.describe(path, caller)
  const input = await inputOf(command.input, channel, signal)
  const request = { caller, path, signal, ...(input === undefined ? {} : { input }) }
  if (described?.kind !== 'subscription') return await print(await callee.call(request))
  for await (const { value } of callee.stream(request)) await print(value)
}

async function inputOf(given: (ExecCommand & { readonly kind: 'call' })['input'], channel: ServerChannel, signal: AbortSignal): Promise<unknown> {
  if (given === 'none') return undefined
  return parseInput(given === 'stdin' ? await readInput(channel, signal) : given.text)
}

function parseInput(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new KithError('CALL_INPUT', 'the input is not JSON')
  }
}

function readInput(channel: ServerChannel, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    channel.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > MAX_INPUT) reject(new KithError('CALL_INPUT', `the input is larger than ${MAX_INPUT} bytes`))
      else chunks.push(chunk)
    })
    channel.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    signal.addEventListener('abort', () => reject(new KithError('ABORTED')), { once: true })
  })
}

/** Waits while the client does not read: what produces the values waits with it. */
function write(channel: ServerChannel, text: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.reject(new KithError('ABORTED'))
  if (channel.write(text)) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      channel.off('drain', free)
      reject(new KithError('ABORTED'))
    }
    const free = (): void => {
      signal.removeEventListener('abort', abort)
      resolve()
    }
    channel.once('drain', free)
    signal.addEventListener('abort', abort, { once: true })
  })
}

import { ERROR_TABLE } from '../core/error-table.ts'
import { KithError } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import { version } from '../daemon/version.ts'
import { COMMANDS } from './commands/index.ts'
import { createContext } from './context.ts'
import { GLOBAL_OPTIONS, longName, takesValue } from './global-options.ts'
import { overview } from './help.ts'
import { chooseHome, pasteable, programName } from './home.ts'
import { asFailure, createOutput } from './output.ts'
import { type Parsed, parse, unknownCommand } from './parse.ts'
import type { CommandSpec } from './spec.ts'
import { wantsColour } from './style.ts'
import { createTerminal } from './terminal.ts'

const DEFAULT_TIMEOUT_MS = 30_000
/** What a shell reports for a process that Ctrl-C ended. */
const INTERRUPTED_EXIT = 130

export interface MainOptions {
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  /** Path of the program a person started, when it was not this one. */
  readonly launcher?: string
}

/** Runs one command line and gives its exit status. Never throws. */
export async function main(options: MainOptions): Promise<number> {
  const { argv, env, cwd, stdin, stdout, stderr } = options
  const program = programName(options.launcher, cwd)
  const has = (flag: string): boolean => beforeDashes(argv).includes(flag)
  const noColor = has('--no-color')
  let home = chooseHome(homeFlag(argv), env, cwd)
  const command = (text: string): string => pasteable(text, program, home.flags)
  const columns = stdout.isTTY === true ? stdout.columns || 80 : Number.POSITIVE_INFINITY
  const streams = { stdout, stderr, columns, colour: wantsColour(stdout, env, noColor), errorColour: wantsColour(stderr, env, noColor), command }
  // Good enough for errors in the command line itself; replaced once it is understood.
  let output = createOutput({ ...streams, json: has('--json'), quiet: has('--quiet') })
  let debug = has('--debug')
  const abort = new AbortController()
  const interrupt = (): void => abort.abort(new KithError('INTERRUPTED'))
  try {
    const parsed = await understand(argv)
    if (parsed.kind === 'help') {
      stdout.write(`${parsed.text}\n`)
      return 0
    }
    const { spec, args, options: given } = parsed
    home = chooseHome(given.text('home'), env, cwd)
    debug = given.flag('debug')
    output = createOutput({ ...streams, json: given.flag('json'), quiet: given.flag('quiet') })
    const timeoutMs = given.durationMs('timeout') ?? spec.timeoutMs ?? DEFAULT_TIMEOUT_MS
    const timer = timeoutMs > 0 ? setTimeout(() => abort.abort(new KithError('TIMEOUT', `No result within ${timeoutMs} ms.`)), timeoutMs).unref() : undefined
    process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
    const context = createContext({
      home,
      output,
      terminal: createTerminal({ stdin, stdout, stderr }),
      env,
      cwd,
      json: given.flag('json'),
      quiet: given.flag('quiet'),
      yes: given.flag('yes'),
      debug,
      signal: abort.signal,
      command,
    })
    const handler = await (spec.load as NonNullable<CommandSpec['load']>)()
    try {
      return (await handler.run(context, { args, options: given })) ?? 0
    } finally {
      clearTimeout(timer)
    }
  } catch (thrown) {
    const failure = asFailure(abort.signal.aborted && !(thrown instanceof KithError) ? abort.signal.reason : thrown)
    if (failure.code === 'INTERRUPTED') return INTERRUPTED_EXIT
    output.failure(failure, debug)
    return ERROR_TABLE[failure.code].exit
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  }
}

/** Finds the command, loads its description only, and parses what follows. */
async function understand(argv: readonly string[]): Promise<Parsed> {
  const at = commandIndex(argv)
  const word = at === undefined ? undefined : argv[at]
  const before = argv.slice(0, at)
  if (at === undefined || word === undefined || word === 'help') {
    if (before.includes('--version') || before.includes('-V')) return { kind: 'help', text: version() }
    const topic = word === 'help' ? argv[(at as number) + 1] : undefined
    if (topic !== undefined) return parse(await specOf(topic), ['--help'])
    const unknown = unknownFlag(before)
    if (unknown !== undefined) throw unknown
    const specs = await Promise.all(COMMANDS.map(async (entry) => (await entry.load()).spec))
    return { kind: 'help', text: overview(specs, version()) }
  }
  const known = COMMANDS.some((entry) => entry.name === word)
  const mistyped = known ? undefined : unknownFlag(before)
  if (mistyped !== undefined) throw mistyped
  return parse(await specOf(word), [...before, ...argv.slice(at + 1)])
}

async function specOf(word: string): Promise<CommandSpec> {
  const entry = COMMANDS.find((candidate) => candidate.name === word)
  if (entry !== undefined) return (await entry.load()).spec
  throw unknownCommand(
    word,
    COMMANDS.map((candidate) => candidate.name),
    [],
  )
}

/** Index of the first word that is not a global option or the value of one. */
function commandIndex(argv: readonly string[]): number | undefined {
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] as string
    if (!word.startsWith('-')) return index
    if (word === '--') return undefined
    const option = GLOBAL_OPTIONS.find((candidate) => `--${longName(candidate)}` === word)
    if (option !== undefined && takesValue(option)) index += 1
  }
  return undefined
}

function unknownFlag(words: readonly string[]): KithError | undefined {
  const names = [...GLOBAL_OPTIONS.map((option) => `--${longName(option)}`), '--help', '--version']
  const flag = words.find((word) => /^-./.test(word) && word !== '-h' && word !== '-V' && !names.includes(word.split('=')[0] as string))
  if (flag === undefined) return undefined
  const meant = nearest(flag, names)
  return new KithError('USAGE', meant === undefined ? `${flag} is not an option of kith.` : `${flag} is not an option of kith; did you mean ${meant}?`, {
    details: { flag, nearest: meant ?? null },
    next: 'kith --help',
  })
}

/** The home somebody names in a command line that may not be understood: what is printed then is for it too. */
function homeFlag(argv: readonly string[]): string | undefined {
  const words = beforeDashes(argv)
  const at = words.findLastIndex((word) => word === '--home' || word.startsWith('--home='))
  const word = words[at]
  const value = word === '--home' ? words[at + 1] : word?.slice('--home='.length)
  return value === '' ? undefined : value
}

function beforeDashes(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf('--')
  return end < 0 ? argv : argv.slice(0, end)
}

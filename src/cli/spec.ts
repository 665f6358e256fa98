import type { CommandContext } from './context.ts'
import type { Options } from './options.ts'

/** One argument as help shows it: `<peer>` must be there, `[peer]` may, `[parts...]` takes the rest. */
export interface ArgumentSpec {
  readonly name: string
  readonly about: string
}

/** One flag. `flags` is what a person types: `--listen <url>`, `--detach`, `-n, --count <n>`. */
export interface OptionSpec {
  readonly flags: string
  readonly about: string
  readonly kind: 'flag' | 'text' | 'list' | 'count' | 'duration'
}

export interface CommandInput {
  readonly args: readonly string[]
  readonly options: Options
}

/** Does the work of a command. What it throws decides the exit status; a number is one of its own. */
export type CommandHandler = (context: CommandContext, input: CommandInput) => Promise<number | undefined>

/**
 * A command as data: parser, help and `docs/reference/cli.md` are all made from it. The handler is loaded only when the command runs,
 * so that asking for help or a version costs nothing.
 */
export interface CommandSpec {
  readonly name: string
  /** One line, without a full stop. */
  readonly summary: string
  /** What else must be known before using it. */
  readonly about?: string
  readonly arguments?: readonly ArgumentSpec[]
  readonly options?: readonly OptionSpec[]
  readonly examples: readonly [string, string, ...string[]]
  /** The fields of the one JSON value that `--json` prints (or of each line). */
  readonly json?: string
  /** Ms after which the command gives up; 0 for commands that run until they are done. Default 30 s; `--timeout` overrides it. */
  readonly timeoutMs?: number
  readonly load?: () => Promise<{ readonly run: CommandHandler }>
  readonly subcommands?: readonly CommandSpec[]
}

/** A command as the table names it: enough to list it, and the way to the rest. */
export interface CommandEntry {
  readonly name: string
  readonly load: () => Promise<{ readonly spec: CommandSpec }>
}

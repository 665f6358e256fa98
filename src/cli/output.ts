import { KithError } from '../core/errors.ts'
import { harmless, harmlessColoured, harmlessJson, harmlessLine, type Palette, palette } from './style.ts'

export interface OutputOptions {
  readonly json: boolean
  readonly quiet: boolean
  readonly colour: boolean
  readonly errorColour: boolean
  /** Width of standard output; `Infinity` where it is no terminal. */
  readonly columns: number
  readonly stdout: NodeJS.WritableStream
  readonly stderr: NodeJS.WritableStream
  /** Turns `kith status` into what can be pasted here: with this home, and the way this program was started. */
  readonly command: (text: string) => string
}

/** Everything a command prints goes through here: results on standard output, everything else on standard error. */
export interface Output {
  readonly json: boolean
  readonly palette: Palette
  /** The result: one JSON value in one line, or what people read, on a terminal that many columns wide (elsewhere any line fits). With `--quiet` only `bare`, the one value that somebody would want to pipe on. */
  result(value: object, human: (palette: Palette, columns: number) => string | readonly string[], bare?: string): void
  /** A result that is any JSON value, as an operation answers it: `text` for people, `bare` with `--quiet`. */
  value(value: unknown, text: string, bare: string): void
  /** A remark for people; silent with `--json` and `--quiet`. */
  note(text: string): void
  /** The failure, as `error[CODE] sentence` and `next: command`, or as JSON. */
  failure(error: KithError, debug: boolean): void
}

export function createOutput(options: OutputOptions): Output {
  const { json, quiet, columns, stdout, stderr } = options
  const colours = palette(options.colour)
  const errorColours = palette(options.errorColour)
  return {
    json,
    palette: colours,
    result(value, human, bare) {
      if (json) return void stdout.write(`${harmlessJson(value)}\n`)
      // For a pipe the bare value stays what it is.
      if (quiet) return void (bare !== undefined && stdout.write(`${isTerminal(stdout) ? harmless(bare) : bare}\n`))
      const text = human(colours, columns)
      const lines = typeof text === 'string' ? [text] : text
      if (lines.length > 0) stdout.write(`${(options.colour ? harmlessColoured : harmless)(lines.join('\n'))}\n`)
    },
    value(value, text, bare) {
      if (json) stdout.write(`${harmlessJson(value)}\n`)
      else stdout.write(`${isTerminal(stdout) ? harmless(quiet ? bare : text) : quiet ? bare : text}\n`)
    },
    note(text) {
      if (!json && !quiet) stderr.write(`${harmless(text)}\n`)
    },
    failure(error, debug) {
      const next = error.next === undefined ? null : options.command(error.next)
      if (json) {
        stderr.write(`${harmlessJson({ error: { code: error.code, message: error.message, next, details: error.details } })}\n`)
      } else {
        stderr.write(`${errorColours.bad(`error[${error.code}]`)} ${harmlessLine(sentence(error))}\n`)
        if (next !== null) stderr.write(`${errorColours.quiet('next:')} ${harmlessLine(next)}\n`)
      }
      if (debug) stderr.write(`${harmless(stackOf(error))}\n`)
    },
  }
}

function isTerminal(stream: NodeJS.WritableStream & { readonly isTTY?: boolean }): boolean {
  return stream.isTTY === true
}

/** As a sentence: rooms below word their messages so that they can stand inside another. A file at its beginning keeps its name. */
function sentence({ message, details }: KithError): string {
  const named = Object.values(details).some((value) => typeof value === 'string' && message.startsWith(`${value} `))
  const begun = !named && /^[a-z][a-z]* /.test(message) ? message.charAt(0).toUpperCase() + message.slice(1) : message
  return /[.?!]$/.test(begun) ? begun : `${begun}.`
}

/** The stack with those of its causes. */
function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = error.stack ?? error.message
  return error.cause === undefined ? own : `${own}\ncaused by ${stackOf(error.cause)}`
}

/** What goes wrong while running a command, as the error a person meets. */
export function asFailure(thrown: unknown): KithError {
  if (thrown instanceof KithError) return thrown
  if (thrown instanceof Error && (thrown as NodeJS.ErrnoException).code !== undefined) {
    const { code, path } = thrown as NodeJS.ErrnoException
    if (code === 'EACCES' || code === 'EPERM')
      return new KithError('HOME_UNSAFE', `Permission denied: ${path ?? thrown.message}.`, { cause: thrown, next: 'kith doctor' })
    if (code === 'ENOSPC') return new KithError('STORE_FAILED', 'The disk is full.', { cause: thrown, next: 'kith doctor' })
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new KithError('INTERNAL', `Something failed that should not: ${message}`, { cause: thrown, next: 'kith doctor' })
}

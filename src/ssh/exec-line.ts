import { KithError } from '../core/errors.ts'

/**
 * # Commands of `ssh NODE ...`
 *
 * ```text
 * call PATH [JSON | -]     one operation; `-` reads the input from standard input
 * ops                      what this key may call
 * help
 * ```
 *
 * The line is what the client made of its arguments, joined by blanks. It is read, never run: no quotes, no variables, no other words, and whatever stands behind
 * the path is the input, byte for byte. Paths are `service/op` or `/node/service/op`.
 */
export type ExecCommand =
  | { readonly kind: 'call'; readonly path: string; readonly input: { readonly text: string } | 'stdin' | 'none' }
  | { readonly kind: 'ops' }
  | { readonly kind: 'help' }

/** Longer input comes by standard input. */
const MAX_COMMAND = 65_536
const PATH = /^\/?[A-Za-z0-9][A-Za-z0-9._:-]*(?:\/[A-Za-z0-9][A-Za-z0-9._:-]*){1,2}$/
const MAX_PATH = 512

export const EXEC_HELP = 'Commands: call PATH [JSON | -], ops, help'

/** @throws KithError `USAGE` for everything that is not one of the commands. */
export function parseExecLine(line: string): ExecCommand {
  if (line.length > MAX_COMMAND) throw usage('The command is too long')
  const trimmed = line.trim()
  if (trimmed === 'ops') return { kind: 'ops' }
  if (trimmed === 'help') return { kind: 'help' }
  const match = /^call[ \t]+(\S+)(?:[ \t]+([\s\S]+))?$/.exec(trimmed)
  const [, path, rest] = match ?? []
  if (path === undefined) throw usage(trimmed === 'call' ? 'call needs the path of an operation' : 'This door runs no programs')
  if (path.length > MAX_PATH || !PATH.test(path)) throw usage('An operation is named service/op')
  if (rest === undefined) return { kind: 'call', path, input: 'none' }
  return { kind: 'call', path, input: rest === '-' ? 'stdin' : { text: rest } }
}

function usage(reason: string): KithError {
  return new KithError('USAGE', `${reason}. ${EXEC_HELP}`)
}

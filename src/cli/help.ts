import { GLOBAL_OPTIONS } from './global-options.ts'
import type { CommandSpec } from './spec.ts'

/** Help is the same on every terminal, so that it can be documented and compared. */
const WIDTH = 100

/** The text behind `--help`: what it does, how it is written, two examples, the JSON it prints. */
export function helpText(spec: CommandSpec, path: readonly string[]): string {
  const name = `kith ${path.join(' ')}`
  const args = (spec.arguments ?? []).map((argument) => ` ${argument.name}`).join('')
  const subs = spec.subcommands ?? []
  const usage = subs.length > 0 ? `${name}${spec.load === undefined ? ' COMMAND' : ` [COMMAND]${args}`}` : `${name}${args}`
  const options = spec.options ?? []
  const sections = [
    `${spec.summary}.`,
    ...(spec.about === undefined ? [] : [wrap(spec.about, 0)]),
    `Usage: ${usage}${options.length > 0 ? ' [options]' : ''}`,
    ...list(
      'Commands',
      subs.map((sub) => [[sub.name, ...(sub.arguments ?? []).map((argument) => argument.name)].join(' '), sub.summary]),
    ),
    ...list(
      'Arguments',
      (spec.arguments ?? []).map((argument) => [argument.name, argument.about]),
    ),
    ...list(
      'Options',
      options.map((option) => [option.flags, option.about]),
    ),
    `Examples:\n${spec.examples.map((example) => `  ${example}`).join('\n')}`,
    ...(spec.json === undefined ? [] : [`With --json: ${wrap(spec.json, 13).trimStart()}`]),
    EVERYWHERE,
  ]
  return sections.join('\n\n')
}

export const EVERYWHERE: string = `Everywhere: ${wrap(GLOBAL_OPTIONS.map((option) => option.flags).join('  '), 12).trimStart()}`

/** The text behind `kith --help`. */
export function overview(commands: readonly CommandSpec[], version: string): string {
  return [
    `kith ${version}: connect machines by who they are, not where they are.`,
    'Usage: kith COMMAND [arguments] [options]',
    ...list(
      'Commands',
      commands.map((spec) => [spec.name, spec.summary]),
    ),
    'Examples:\n  kith init && kith up --detach\n  kith invite',
    'kith COMMAND --help tells more; kith --version prints the version.',
    EVERYWHERE,
  ].join('\n\n')
}

function list(title: string, rows: readonly (readonly [string, string] | string[])[]): string[] {
  if (rows.length === 0) return []
  const indent = Math.min(34, Math.max(...rows.map((row) => (row[0] as string).length)) + 4)
  const text = rows.map(([left = '', right = '']) => {
    const body = wrap(right, indent).trimStart()
    return left.length + 4 <= indent ? `  ${left}`.padEnd(indent) + body : `  ${left}\n${' '.repeat(indent)}${body}`
  })
  return [`${title}:\n${text.join('\n')}`]
}

/** Breaks at spaces; continuation lines are indented. */
function wrap(text: string, indent: number): string {
  const lines: string[] = []
  let line = ' '.repeat(indent)
  for (const word of text.split(/ (?! )/)) {
    if (line.trim() !== '' && line.length + word.length + 1 > WIDTH) {
      lines.push(line.trimEnd())
      line = ' '.repeat(indent)
    }
    line += line.trim() === '' ? word : ` ${word}`
  }
  return [...lines, line.trimEnd()].join('\n')
}

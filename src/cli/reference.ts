import { GLOBAL_OPTIONS } from './global-options.ts'
import { helpText } from './help.ts'
import type { CommandSpec } from './spec.ts'

/** `docs/reference/cli.md`: what `--help` says of every command, in one page. A test keeps the page and the program together. */
export function referencePage(commands: readonly CommandSpec[]): string {
  return [
    '# Command line',
    'This page is what `kith COMMAND --help` prints, for every command; a test compares the two. Everything a person reads has a `--json` form for programs.',
    '## Everywhere',
    ['```text', ...GLOBAL_OPTIONS.map(({ flags, about }) => `${flags.padEnd(22)}  ${about}`), '```'].join('\n'),
    '`PEER` is a DID, a unique prefix of one (8 or more characters), or a name of the address book. Durations are written `250ms`, `10s`, `5m`, `2h` or `30d`. Times in JSON are RFC 3339; units stand in the names (`_s`, `_ms`, `_bytes`).',
    '## Exit status',
    ['| status | meaning |', '|---|---|', ...STATUSES.map(([status, meaning]) => `| ${status} | ${meaning} |`)].join('\n'),
    'Errors go to standard error as `error[CODE] sentence` and `next: command`, with `--json` as `{"error":{"code","message","next","details"}}`. The codes are listed in [errors](../errors.md).',
    ...commands.flatMap((spec) => section(spec, [spec.name])),
    '',
  ].join('\n\n')
}

const STATUSES: readonly (readonly [string, string])[] = [
  ['0', 'done'],
  ['1', 'failed'],
  ['2', 'wrong usage or configuration'],
  ['3', 'the node is not running, or runs without its identity'],
  ['4', 'refused by policy'],
  ['5', 'timed out'],
  ['130', 'interrupted'],
]

function section(spec: CommandSpec, path: readonly string[]): string[] {
  const help = helpText(spec, path)
  // The last paragraph is the same for all and stands above.
  const own = help.slice(0, help.lastIndexOf('\n\nEverywhere: '))
  return [
    `${'#'.repeat(Math.min(4, path.length + 1))} kith ${path.join(' ')}`,
    `\`\`\`text\n${own}\n\`\`\``,
    ...(spec.subcommands ?? []).flatMap((sub) => section(sub, [...path, sub.name])),
  ]
}

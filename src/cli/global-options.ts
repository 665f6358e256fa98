import type { OptionSpec } from './spec.ts'

/** Understood by every command, before or after its name. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { flags: '--home <dir>', about: 'the node’s directory (KITH_HOME, default ~/.kith)', kind: 'text' },
  { flags: '--json', about: 'print JSON for programs', kind: 'flag' },
  { flags: '--quiet', about: 'print only errors and the bare result', kind: 'flag' },
  { flags: '--yes', about: 'answer every question with its safe default', kind: 'flag' },
  { flags: '--no-color', about: 'no colours (also NO_COLOR)', kind: 'flag' },
  { flags: '--timeout <duration>', about: 'give up after, for example, 10s', kind: 'duration' },
  { flags: '--debug', about: 'show where an error came from', kind: 'flag' },
]

/** `-n, --count <n>` is `count`; `--no-color` is `no-color`. */
export function longName(option: OptionSpec): string {
  const long = /--([a-z][a-z0-9-]*)/.exec(option.flags)
  if (long === null) throw new TypeError(`option without a long name: ${option.flags}`)
  return long[1] as string
}

export function takesValue(option: OptionSpec): boolean {
  return option.kind !== 'flag'
}

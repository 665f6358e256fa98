import { Command, CommanderError } from 'commander'
import { KithError } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import { parseDuration } from '../daemon/config/duration.ts'
import { GLOBAL_OPTIONS, longName, takesValue } from './global-options.ts'
import { helpText } from './help.ts'
import { Options } from './options.ts'
import type { CommandSpec, OptionSpec } from './spec.ts'

/** What a command line means. */
export type Parsed =
  | { readonly kind: 'run'; readonly spec: CommandSpec; readonly path: readonly string[]; readonly args: readonly string[]; readonly options: Options }
  | { readonly kind: 'help'; readonly text: string }

/**
 * Parses the arguments behind the command's own name. Options may stand before or after arguments and subcommands.
 * @throws KithError `USAGE` that names the flag and suggests the nearest.
 */
export function parse(spec: CommandSpec, args: readonly string[]): Parsed {
  let outcome: Parsed | undefined
  const settle = (parsed: Parsed): void => {
    outcome = parsed
  }
  const command = build(spec, [spec.name], settle)
  try {
    command.parse([...args], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) throw usageError(error, command, args)
    throw error
  }
  // A group without an action of its own that was given nothing to do.
  return outcome ?? { kind: 'help', text: helpText(spec, [spec.name]) }
}

function build(spec: CommandSpec, path: readonly string[], settle: (parsed: Parsed) => void): Command {
  const command = new Command(spec.name)
  command
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
    .helpOption(false)
    .allowExcessArguments(false)
  command.helpCommand(false)
  for (const argument of spec.arguments ?? []) command.argument(argument.name, argument.about)
  for (const option of [...(spec.options ?? []), ...GLOBAL_OPTIONS]) addOption(command, option)
  command.option('-h, --help', 'this text')
  for (const sub of spec.subcommands ?? []) command.addCommand(build(sub, [...path, sub.name], settle))
  if (spec.load === undefined) {
    command.allowExcessArguments(true)
    command.action((_given, self: Command) => settleGroup(spec, path, self, settle))
    return command
  }
  // Arguments that must be there are checked here, so that `--help` works without them.
  const required = (spec.arguments ?? []).filter((argument) => argument.name.startsWith('<'))
  if (required.length > 0) relaxArguments(command)
  command.action((...given: unknown[]) => {
    const self = given.at(-1) as Command
    const values = collect(self)
    if (values.get('help') === true) return settle({ kind: 'help', text: helpText(spec, path) })
    for (const [index, argument] of required.entries()) {
      const value = self.args[index]
      if (value === undefined || value === '') throw usage(`${argument.name} is missing: ${argument.about}`, path)
    }
    settle({ kind: 'run', spec, path, args: self.args, options: new Options(checked(values, spec, path)) })
  })
  return command
}

function settleGroup(spec: CommandSpec, path: readonly string[], self: Command, settle: (parsed: Parsed) => void): void {
  const word = self.args[0]
  if (word === undefined) {
    settle({ kind: 'help', text: helpText(spec, path) })
    return
  }
  throw unknownCommand(
    word,
    (spec.subcommands ?? []).map((sub) => sub.name),
    path,
  )
}

function addOption(command: Command, option: OptionSpec): void {
  if (option.kind !== 'list') return void command.option(option.flags, option.about)
  command.option(option.flags, option.about, (value: string, before: string[] | undefined) => [...(before ?? []), value])
}

function relaxArguments(command: Command): void {
  // Commander offers no way to ask for help past a missing argument; its registered arguments carry the flag.
  for (const argument of command.registeredArguments) argument.required = false
}

/** Flags given to the command and to those above it; the innermost wins. */
function collect(command: Command): Map<string, unknown> {
  const values = new Map<string, unknown>()
  for (let at: Command | null = command; at !== null; at = at.parent) {
    for (const option of at.options) {
      const attribute = option.attributeName()
      if (at.getOptionValueSource(attribute) !== 'cli') continue
      const name = option.long?.slice(2) ?? attribute
      // `--no-x` is told as the name it was written with.
      const value: unknown = option.negate ? true : at.getOptionValue(attribute)
      const positive = at.options.some((other) => !other.negate && other.attributeName() === attribute)
      if (option.negate && positive && at.getOptionValue(attribute) !== false) continue
      if (!option.negate && at.getOptionValue(attribute) === false) continue
      if (!values.has(name)) values.set(name, value)
    }
  }
  return values
}

function checked(values: Map<string, unknown>, spec: CommandSpec, path: readonly string[]): Map<string, unknown> {
  for (const option of [...(spec.options ?? []), ...GLOBAL_OPTIONS]) {
    const name = longName(option)
    const value = values.get(name)
    if (value === undefined || !takesValue(option) || option.kind === 'list' || option.kind === 'text') continue
    const number = option.kind === 'duration' ? parseDuration(String(value)) : /^\d{1,9}$/.test(String(value)) ? Number(value) : undefined
    if (number === undefined) {
      throw usage(`--${name} takes ${option.kind === 'duration' ? 'a duration such as 10s, 5m or 2h' : 'a whole number'}, not '${String(value)}'`, path)
    }
    values.set(name, number)
  }
  return values
}

function usage(message: string, path: readonly string[]): KithError {
  return new KithError('USAGE', `${message}.`, { next: `kith ${path.join(' ')} --help` })
}

export function unknownCommand(word: string, names: readonly string[], path: readonly string[]): KithError {
  const meant = nearest(word, names)
  const message = `'${word}' is not a command of kith${path.length === 0 ? '' : ` ${path.join(' ')}`}${meant === undefined ? '' : `; did you mean ${meant}?`}`
  return new KithError('USAGE', meant === undefined ? `${message}.` : message, {
    details: { word, nearest: meant ?? null },
    next: ['kith', ...path, '--help'].join(' '),
  })
}

/** Commander's complaint in our shape. */
function usageError(error: CommanderError, root: Command, args: readonly string[]): KithError {
  const command = deepest(root, args)
  const path: string[] = []
  for (let at: Command | null = command; at !== null; at = at.parent) path.unshift(at.name())
  const quoted = /'([^']*)'/.exec(error.message)?.[1] ?? ''
  if (error.code === 'commander.unknownOption') {
    const flag = quoted.split('=')[0] as string
    if (quoted !== flag && command.options.some((option) => option.long === flag && !option.required && !option.optional))
      return usage(`${flag} takes no value`, path)
    const names = command.options.flatMap((option) => [option.long ?? '', option.short ?? '']).filter((name) => name !== '')
    const meant = nearest(flag, names)
    const message = `${flag} is not an option of kith ${path.join(' ')}`
    return new KithError('USAGE', meant === undefined ? `${message}.` : `${message}; did you mean ${meant}?`, {
      details: { flag, nearest: meant ?? null },
      next: `kith ${path.join(' ')} --help`,
    })
  }
  if (error.code === 'commander.unknownCommand') {
    return unknownCommand(
      quoted,
      command.commands.map((sub) => sub.name()),
      path,
    )
  }
  if (error.code === 'commander.excessArguments' && command.commands.length > 0) {
    const word = command.args[0] ?? ''
    return unknownCommand(
      word,
      command.commands.map((sub) => sub.name()),
      path,
    )
  }
  return usage(error.message.replace(/^error: /, '').replace(/\.$/, ''), path)
}

function deepest(root: Command, args: readonly string[]): Command {
  let command = root
  for (const word of args) {
    const sub = command.commands.find((candidate) => candidate.name() === word)
    if (sub !== undefined) command = sub
  }
  return command
}

import { resolve } from 'node:path'
import { loadConfig } from '../daemon/config/load.ts'
import { loadTokenNotes } from '../identity/hardware/notes.ts'
import { Tokens } from '../identity/hardware/tokens.ts'
import type { CommandContext } from './context.ts'
import type { Options } from './options.ts'

/**
 * For work on the files of a home: opens keys in tokens as flags, settings and environment say. A person at a terminal is asked for the PIN when a token is
 * `needed` and nothing has one. The home that it is given to closes it.
 */
export async function findTokens(context: CommandContext, options: Options, needed?: boolean): Promise<Tokens> {
  const { values } = await loadConfig({ home: context.home, env: context.env })
  const file = options.text('pin-file')
  const tokens = new Tokens({
    environment: { ...context.env },
    module: values['hardware.module'] || undefined,
    file: file === undefined ? values['hardware.pin_file'] || undefined : resolve(context.cwd, file),
  })
  const used = needed ?? (await loadTokenNotes(context.home)).length > 0
  if (!used || tokens.hasPin || !context.terminal.interactive) return tokens
  const pin = await context.terminal.askSecret('PIN of the token (Enter for one with a keypad): ', context.signal)
  if (pin !== undefined) tokens.givePin(pin)
  pin?.wipe()
  return tokens
}

/** Whether a key of the identity that a change may need is in a token: the present one or the next. */
export async function needsPin(context: CommandContext, { chain }: { readonly chain: { readonly index: number } }): Promise<boolean> {
  return (await loadTokenNotes(context.home)).some(({ generation }) => generation >= chain.index)
}

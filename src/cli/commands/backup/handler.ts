import { type MadeBackup, makeBackup, sealingChoice } from '../../backup/make.ts'
import { openTarget } from '../../backup/target.ts'
import { bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'

export const run: CommandHandler = async (context, { args, options }) => {
  const [file = ''] = args
  const made = await makeBackup(context, options, sealingChoice(options), () => openTarget(context, file, options.flag('force')))
  for (const name of made.left_out) context.output.note(`left out: ${harmless(name)} (gone meanwhile, or a name that no backup carries)`)
  if (file === '-') {
    context.output.note(`written: ${bytes(made.bytes)}, ${made.files} files, counter ${made.header.counter}`)
    return undefined
  }
  context.output.result(
    madeJson(made),
    (palette) => [
      `${palette.good('written')}  ${palette.strong(harmless(made.path))}  ${bytes(made.bytes)}, ${made.files} files`,
      palette.quiet(opensWith(made)),
    ],
    made.path,
  )
  return undefined
}

export function madeJson(made: MadeBackup): Record<string, unknown> {
  const { did, counter, series, created_at, keys, recipient } = made.header
  const { path, files, content, bytes: size, left_out } = made
  return { path, did, counter, series, created_at, files, content_bytes: content, bytes: size, keys, recipient, left_out }
}

function opensWith({ header }: MadeBackup): string {
  const keys = header.keys === 'passphrase' ? '; the keys inside also need the passphrase of this node, or the phrase' : ''
  return `opens with the recovery phrase, or what it was sealed to${keys}`
}

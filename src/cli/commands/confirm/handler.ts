import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'

export const run: CommandHandler = async ({ daemon, output }, { args }) => {
  const result = await (await daemon()).call('POST /v1/confirm', { peer: args[0] ?? '' })
  output.result(result, (palette) => `${palette.strong(harmless(result.name ?? result.did))} is ${palette.good(result.class)} now`, result.class)
  return undefined
}

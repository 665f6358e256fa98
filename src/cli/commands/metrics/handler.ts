import type { CommandHandler } from '../../spec.ts'

export const run: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/metrics', {})
  const text = result.text.trimEnd()
  output.result(result, () => text, text)
  return undefined
}

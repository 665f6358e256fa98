import type { CommandHandler } from '../../spec.ts'

const DEFAULT_COUNT = 4

export const run: CommandHandler = async ({ daemon, output }, { args, options }) => {
  const result = await (await daemon()).call('POST /v1/ping', { peer: args[0] ?? '', count: options.count('count') ?? DEFAULT_COUNT })
  const sorted = [...result.rtt_ms].sort((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0
  output.result(
    result,
    (palette) => [
      ...result.rtt_ms.map((ms, index) => `${palette.quiet(String(index + 1).padStart(4))}  ${ms.toFixed(2)} ms`),
      palette.quiet(`best ${(sorted[0] ?? 0).toFixed(2)}  median ${median.toFixed(2)}  worst ${(sorted.at(-1) ?? 0).toFixed(2)} ms`),
    ],
    median.toFixed(3),
  )
  return undefined
}

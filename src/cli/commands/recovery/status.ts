import type { CommandHandler } from '../../spec.ts'
import { recoveryLines, setupLines } from './words.ts'

export const status: CommandHandler = async ({ daemon, output, command }) => {
  const result = await (await daemon()).call('GET /v1/recovery', {})
  output.result(
    result,
    (palette, columns) => [...setupLines(result.setup, palette), ...result.recoveries.flatMap((one) => ['', ...recoveryLines(one, palette, columns)])],
    result.recoveries.map(({ id }) => id).join('\n') || undefined,
  )
  const next = nextStep(result.recoveries)
  if (next !== undefined) output.note(`next: ${command(next)}`)
  else if (result.setup.in_force === null && result.setup.later === null) output.note(`next: ${command('kith recovery setup --threshold 2 NAME NAME NAME')}`)
  return undefined
}

/** The one act that is most urgent here. */
function nextStep(
  recoveries: readonly { readonly id: string; readonly role: string; readonly stage: string; readonly attested_here: boolean }[],
): string | undefined {
  const live = recoveries.filter(({ stage }) => stage === 'collecting' || stage === 'waiting')
  if (live.some(({ role }) => role === 'owner')) return 'kith recovery cancel'
  const asked = live.find(({ role, attested_here }) => role === 'trustee' && !attested_here)
  if (asked !== undefined) return `kith recovery attest ${asked.id.slice(0, 8)}`
  return recoveries.some(({ role, stage }) => role === 'requester' && stage === 'effective') ? 'kith recovery finalize' : undefined
}

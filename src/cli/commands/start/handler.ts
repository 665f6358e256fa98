import { existsSync } from 'node:fs'
import { homePaths } from '../../../identity/home.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'
import { table } from '../../style.ts'
import { initialise, tellRemarks } from '../init/handler.ts'
import { announce, openNode } from '../up/handler.ts'
import { tellReady } from '../up/ready.ts'
import { serve } from '../up/serve.ts'

export const run: CommandHandler = async (context, { options }) => {
  if (!existsSync(homePaths(context.home).identity)) {
    const { remarks } = await initialise(context, options)
    context.output.note('Made the identity of this node.')
    tellRemarks(context, remarks)
  }
  const runtime = await openNode(context, options)
  const ready = await announce(context, runtime)
  tellReady(context, ready)
  if (ready.degraded.length === 0) suggest(context)
  return await serve(context, runtime)
}

const SUGGESTIONS = [
  ['kith status', 'what it does'],
  ['kith invite', 'a ticket for another machine'],
  ['kith doctor', 'what stands in its way'],
] as const

/** What to try next, ready to be pasted into another terminal. */
function suggest({ output, command, terminal }: CommandContext): void {
  const rows = table(SUGGESTIONS.map(([text, what]) => [command(text), { text: what }]))
  output.note(['', 'In another terminal:', ...rows.map((row) => `  ${row}`), ...(terminal.watched ? ['', 'Ctrl-C stops it.'] : [])].join('\n'))
}

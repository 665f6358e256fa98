import { existsSync } from 'node:fs'
import { homePaths } from '../../../identity/home.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'
import { initialise } from '../init/handler.ts'
import { announce, openNode } from '../up/handler.ts'
import { tellReady } from '../up/ready.ts'
import { serve } from '../up/serve.ts'

export const run: CommandHandler = async (context, { options }) => {
  if (!existsSync(homePaths(context.home).identity)) {
    const { name, did } = await initialise(context, options)
    context.output.note(`Made the identity of this node: ${name}  ${did}`)
  }
  const runtime = await openNode(context, options)
  const ready = await announce(context, runtime)
  tellReady(context, ready)
  if (ready.degraded.length === 0) suggest(context)
  return await serve(context, runtime)
}

/** What to try next, ready to be pasted into another terminal. */
function suggest({ output, command }: CommandContext): void {
  output.note(['', 'In another terminal:', ...['kith status', 'kith invite', 'kith doctor'].map((text) => `  ${command(text)}`), ''].join('\n'))
}

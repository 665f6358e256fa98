import { eventRecord, type NodeEvent } from '../../../daemon/events.ts'
import type { Runtime } from '../../../daemon/runtime.ts'
import type { CommandContext } from '../../context.ts'
import { harmless, type Palette } from '../../style.ts'

const INTERRUPTED_EXIT = 130

/** Runs until `kith down`, Ctrl-C or a signal; a second Ctrl-C ends at once. Prints what happens meanwhile. */
export async function serve(context: CommandContext, runtime: Runtime): Promise<number> {
  const { output } = context
  const stopEvents = runtime.events.on((event) => {
    output.result(eventRecord(event, runtime.clock.now()), (palette) => describe(event, runtime, context, palette))
  })
  // The launcher that started this process went away without a word.
  const stop = (): void => void runtime.close()
  process.once('disconnect', stop)
  try {
    return await serveSilently(context, runtime)
  } finally {
    process.off('disconnect', stop)
    stopEvents()
  }
}

/** The same without a word. */
export async function serveSilently({ signal }: CommandContext, runtime: Runtime): Promise<number> {
  const atOnce = (): void => process.exit(INTERRUPTED_EXIT)
  const onAbort = (): void => {
    void runtime.close()
    process.on('SIGINT', atOnce)
  }
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await runtime.closed
    return 0
  } finally {
    process.off('SIGINT', atOnce)
    signal.removeEventListener('abort', onAbort)
  }
}

function describe(event: NodeEvent, runtime: Runtime, { command }: CommandContext, palette: Palette): string[] {
  switch (event.type) {
    case 'up':
      return [
        `${palette.good('connected')}  ${nameOf(event.peer, runtime)}  ${event.path.address}${event.path.postQuantum ? '' : palette.warn('  not post-quantum')}`,
      ]
    case 'moved':
      return [`${palette.quiet('moved')}  ${nameOf(event.peer, runtime)}  ${event.path.address}`]
    case 'down':
      return [`${palette.warn('lost')}  ${nameOf(event.peer, runtime)}${event.error === null ? '' : `  ${event.error.code}`}`]
    case 'paired':
      return [
        `${palette.good('paired')}  ${harmless(event.name)}  words: ${palette.strong(event.words)}`,
        ...(event.pending === null ? [] : [palette.quiet(`the same over there? then: ${command(`kith confirm ${event.name}`)}`)]),
      ]
    case 'warning':
      return [
        `${palette.warn('warning')}  ${harmless(event.error.message)}`,
        ...(event.error.next === undefined ? [] : [palette.quiet(`next: ${command(event.error.next)}`)]),
      ]
    case 'message':
      return [`${palette.good('message')}  from ${nameOf(event.peer, runtime)}: ${command('kith inbox')}`]
    case 'ready':
      return [`${palette.good('ready')}  listens on ${event.listen.join('  ')}`]
    case 'degraded':
      return event.degraded.map(({ message }) => `${palette.warn('degraded')}  ${harmless(message)}`)
    case 'stopping':
      return [palette.quiet('stopping')]
  }
}

function nameOf(did: string, runtime: Runtime): string {
  const name = runtime.status().peers.find((peer) => peer.did === did)?.name
  return harmless(name ?? did)
}

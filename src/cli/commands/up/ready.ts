import type { Runtime } from '../../../daemon/runtime.ts'
import type { Trouble } from '../../../daemon/service.ts'
import type { CommandContext } from '../../context.ts'
import { harmless, type Palette, wrapped } from '../../style.ts'

/** The first line of `kith up --json`. */
export interface Ready {
  readonly event: 'ready'
  readonly did: string | null
  readonly name: string | null
  readonly listen: readonly string[]
  /** Address of the HTTP gateway; null while there is none. */
  readonly gateway: string | null
  /** The control socket. */
  readonly control: string | null
  readonly pid: number
  readonly degraded: readonly Trouble[]
  /** The port that was wanted and is taken; null when it was free. */
  readonly instead_of_port: number | null
}

export function readyOf(runtime: Runtime): Ready {
  const { did, name, listen, pid, degraded } = runtime.status()
  return {
    event: 'ready',
    did,
    name,
    listen,
    gateway: runtime.gateway.address,
    control: runtime.control,
    pid,
    degraded,
    instead_of_port: runtime.insteadOfPort,
  }
}

const LISTENS = 'listens on '
const INDENT: string = ' '.repeat(LISTENS.length)

/** Says that the node runs: what it is, where it listens, what is missing. */
export function tellReady({ output, command }: CommandContext, ready: Ready): void {
  const degraded = ready.degraded.map((trouble) => ({ ...trouble, next: trouble.next === null ? null : command(trouble.next) }))
  const human = (palette: Palette, columns: number): string[] => {
    const head =
      ready.did === null
        ? palette.warn('running without an identity')
        : `${palette.good('running')}  ${palette.strong(harmless(ready.name ?? ''))}  ${ready.did}`
    return [
      head,
      ...(ready.listen.length === 0
        ? []
        : wrapped(ready.listen.join('  '), columns - LISTENS.length).map((part, index) => (index === 0 ? LISTENS : INDENT) + part)),
      ...(ready.gateway === null ? [] : [`gateway    ${ready.gateway}`]),
      ...(ready.instead_of_port === null
        ? []
        : [palette.quiet(`port ${ready.instead_of_port} is taken by another program; this one is remembered for this home`)]),
      ...degraded.map(({ message }) => `${palette.warn('degraded')}  ${harmless(message)}`),
    ]
  }
  output.result({ ...ready, degraded }, human, ready.listen.join('\n') || undefined)
  for (const { next } of degraded) if (next !== null) output.note(`next: ${next}`)
}

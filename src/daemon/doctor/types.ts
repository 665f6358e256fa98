import type { Clock } from '../../core/clock.ts'
import type { Config } from '../config/settings.ts'
import type { NodeStatus } from '../status.ts'

/** One finding. `next` is a command or setting that would help; null when nothing has to be done. */
export interface DoctorCheck {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
  readonly next: string | null
}

export interface DoctorInput {
  readonly home: string
  readonly clock: Clock
  readonly config: Config
  /** What the running daemon says; undefined when none runs. */
  readonly daemon: NodeStatus | undefined
  readonly signal: AbortSignal
}

/** Looks at one thing. Failing to look is a finding too: checks do not throw. */
export type Check = (input: DoctorInput) => Promise<DoctorCheck | readonly DoctorCheck[]>

export function fine(name: string, detail: string): DoctorCheck {
  return { name, ok: true, detail, next: null }
}

export function bad(name: string, detail: string, next: string): DoctorCheck {
  return { name, ok: false, detail, next }
}

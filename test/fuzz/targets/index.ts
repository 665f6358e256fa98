import type { FuzzTarget } from '../mutate.ts'
import { coreTargets } from './core.ts'

/** Every target, for the replay of the kept corpus. */
export const allTargets: readonly FuzzTarget[] = [...coreTargets]

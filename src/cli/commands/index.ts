import type { CommandEntry } from '../spec.ts'

/** Every command, in the order of `kith --help`. A new one is a folder with its description and handler, and a line here. */
export const COMMANDS: readonly CommandEntry[] = [{ name: 'config', load: () => import('./config/index.ts') }]

import type { CommandEntry } from '../spec.ts'

/** Every command, in the order of `kith --help`. A new one is a folder with its description and handler, and a line here. */
export const COMMANDS: readonly CommandEntry[] = [
  { name: 'init', load: () => import('./init/index.ts') },
  { name: 'up', load: () => import('./up/index.ts') },
  { name: 'down', load: () => import('./down/index.ts') },
  { name: 'start', load: () => import('./start/index.ts') },
  { name: 'status', load: () => import('./status/index.ts') },
  { name: 'invite', load: () => import('./invite/index.ts') },
  { name: 'join', load: () => import('./join/index.ts') },
  { name: 'confirm', load: () => import('./confirm/index.ts') },
  { name: 'peers', load: () => import('./peers/index.ts') },
  { name: 'ping', load: () => import('./ping/index.ts') },
  { name: 'why', load: () => import('./why/index.ts') },
  { name: 'forward', load: () => import('./forward/index.ts') },
  { name: 'tunnels', load: () => import('./tunnels/index.ts') },
  { name: 'send', load: () => import('./send/index.ts') },
  { name: 'inbox', load: () => import('./inbox/index.ts') },
  { name: 'allow', load: () => import('./allow/index.ts') },
  { name: 'deny', load: () => import('./deny/index.ts') },
  { name: 'policy', load: () => import('./policy/index.ts') },
  { name: 'network', load: () => import('./network/index.ts') },
  { name: 'id', load: () => import('./id/index.ts') },
  { name: 'config', load: () => import('./config/index.ts') },
  { name: 'logs', load: () => import('./logs/index.ts') },
  { name: 'doctor', load: () => import('./doctor/index.ts') },
  { name: 'demo', load: () => import('./demo/index.ts') },
]

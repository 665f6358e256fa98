export type { DialedTarget, DialTargetOptions, Exit, ReservedHandler, ServedStatus } from './exit.ts'
export { parseTarget } from './target.ts'
export { createTunnels, type ForwardOptions, type TunnelStatus, type Tunnels, type TunnelsOptions } from './tunnels.ts'

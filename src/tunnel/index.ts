export { parseTarget } from './target.ts'
export { createTunnels, type ForwardOptions, type TunnelStatus, type Tunnels, type TunnelsOptions } from './tunnels.ts'

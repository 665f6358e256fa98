export type { Outbound } from './dial.ts'
export type { DialedTarget, DialTargetOptions, Exit, ReservedHandler, ServedStatus } from './exit.ts'
export type { FarSide, FarStream } from './far-entry.ts'
export { parseLocal, parseTarget } from './target.ts'
export {
  createTunnels,
  type FarForwardOptions,
  type ForwardOptions,
  type RemoteForwardOptions,
  type SocksOpened,
  type SocksOptions,
  type TunnelStatus,
  type Tunnels,
  type TunnelsOptions,
} from './tunnels.ts'

export type { Config, SettingPath } from './config/settings.ts'
export { type ConnectOptions, connect, type DuplexOptions, type DuplexPeer, type Served, type ServeOptions, serve } from './duplex.ts'
export type { NodeEvent } from './events.ts'
export {
  createNode,
  type InviteOptions,
  type Node,
  type NodeEvents,
  type NodeForward,
  type NodeForwardOptions,
  type NodeMailbox,
  type NodeOptions,
  type NodeRegistration,
  type NodeRemoteForwardOptions,
  type NodeSendOptions,
  type NodeSocksOptions,
  type NodeTopics,
} from './node.ts'
export type { PairingStatus } from './pairings.ts'
export type { Service, ServiceState, ServiceStatus, Trouble } from './service.ts'
export type { NodeStatus, PassphraseMode, PeerStatus } from './status.ts'

export type { Config, SettingPath } from './config/settings.ts'
export { type ConnectOptions, connect, type DuplexOptions, type DuplexPeer, type Served, type ServeOptions, serve } from './duplex.ts'
export type { NodeEvent } from './events.ts'
export { createNode } from './node.ts'
export type {
  InviteOptions,
  Node,
  NodeEvents,
  NodeForward,
  NodeForwardOptions,
  NodeMailbox,
  NodeOptions,
  NodeRegistration,
  NodeRemoteForwardOptions,
  NodeSendOptions,
  NodeSocksOptions,
  NodeTopics,
} from './node-types.ts'
export type { PairingStatus } from './pairings.ts'
export type { Service, ServiceState, ServiceStatus, Trouble } from './service.ts'
export type { NodeStatus, PassphraseMode, PeerStatus } from './status.ts'

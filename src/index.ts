export type { ApiKeyRecord, Authority, AuthorizedKey, Grant, IdentitySource } from './access/sources.ts'
export type { TrustDesk } from './assembly/trust-desk.ts'
export { type Detail, type ErrorCode, isKithError, KithError } from './core/errors.ts'
export type { Audit, AuditRow, AuditVerdict } from './core/observe/audit.ts'
export { Secret } from './core/secret.ts'
export {
  type Config,
  type ConnectOptions,
  connect,
  createNode,
  type DuplexOptions,
  type DuplexPeer,
  type InviteOptions,
  type Node,
  type NodeEvent,
  type NodeEvents,
  type NodeForward,
  type NodeForwardOptions,
  type NodeMailbox,
  type NodeOptions,
  type NodeRegistration,
  type NodeRemoteForwardOptions,
  type NodeSendOptions,
  type NodeSocksOptions,
  type NodeStatus,
  type NodeTopics,
  type PairingStatus,
  type PassphraseMode,
  type PeerStatus,
  type Served,
  type ServeOptions,
  type ServiceState,
  type ServiceStatus,
  type SettingPath,
  serve,
  type Trouble,
} from './daemon/index.ts'
export type { InboxEntry, SendProgress, SendResult } from './files/index.ts'
export type { GossipEntry, PublishOptions, SubscribeOptions, TopicAccess, TopicOptions, TopicStatus } from './gossip/types.ts'
export type { Did } from './identity/did.ts'
export type { BookPeer } from './mesh/address-book.ts'
export type { InboxEntry as MailMessage, MailboxStatus, MailPage, OutboxState, TellOptions, Told } from './mesh/mailbox/types.ts'
export type { Joined, MeshPolicy, PeerBook } from './mesh/mesh-types.ts'
export type {
  CandidateResult,
  ChainStanding,
  Decision,
  Explanation,
  LinkEvent,
  PathStatus,
  PeerClass,
  ProtocolOptions,
  StreamContext,
  StreamHandler,
} from './mesh/types.ts'
export { type ConnectSshOptions, connectSsh, type SshCommand, type SshConnection } from './ssh/client/connect.ts'
export type { Credential as SshCredential } from './ssh/client/credential.ts'
export { KnownHosts } from './ssh/client/known-hosts.ts'
export { parseUserKey } from './ssh/client/user-key.ts'
export type { StandingStatus, TrustEdge, TrustExplanation, TrustPath, TrustStatement } from './trust/types.ts'
export type { TunnelStatus } from './tunnel/index.ts'

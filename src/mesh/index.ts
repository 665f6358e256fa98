export type { BookAddress, BookPeer } from './address-book.ts'
export { type ConstraintOverrides, DEFAULT_CONSTRAINTS } from './constraints.ts'
export type { Announcement, Discovery, FoundPeer } from './discovery.ts'
export type { DiscoveredPeer } from './found-peers.ts'
export type { InviteStatus, InviteUse } from './invite.ts'
export { createMail, type MailComponents } from './mailbox/mail.ts'
export type { MailboxLimits, Quota } from './mailbox/quotas.ts'
export type { InboxEntry, Mail, MailboxStatus, MailPage, OutboxEntry, OutboxState, TellOptions, Told } from './mailbox/types.ts'
export { createMesh } from './mesh.ts'
export {
  DEFAULT_PREFER,
  type InviteMade,
  type Joined,
  type Mesh,
  type MeshComponents,
  type MeshConfig,
  type MeshInvites,
  type MeshPolicy,
  type NetworkStats,
  type PeerBook,
  type Waiting,
} from './mesh-types.ts'
export type { PolicyTransport, RuleConditions } from './policy-conditions.ts'
export type { Effect, RuleText } from './policy-rules.ts'
export type {
  CandidateResult,
  ChainStanding,
  ConstraintSet,
  Decision,
  Explanation,
  LeanHandler,
  LinkEvent,
  LinkStatus,
  PathStatus,
  PeerClass,
  Policy,
  PolicyRequest,
  ProtocolOptions,
  StreamContext,
  StreamHandler,
} from './types.ts'

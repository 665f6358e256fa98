import type { Assembly } from '../assembly/types.ts'
import type { TopicStatus } from '../gossip/types.ts'
import type { ChainStanding, ConstraintSet, LinkStatus, PeerClass } from '../mesh/types.ts'
import type { StandingStatus } from '../trust/types.ts'
import type { TunnelStatus } from '../tunnel/index.ts'
import type { PairingStatus } from './pairings.ts'
import type { ServiceStatus, Trouble } from './service.ts'
import type { CertificateStatus } from './services/certificates.ts'
import type { FrontStatus } from './services/front.ts'
import type { GatewayService } from './services/gateway.ts'
import type { SshService } from './services/ssh.ts'

export interface PeerStatus {
  readonly did: string
  readonly name: string | null
  readonly link_key: string
  readonly state: LinkStatus['state']
  readonly class: PeerClass
  readonly pending_class: PeerClass | null
  /** How far its keys can be relied on; null before they were seen. */
  readonly chain: ChainStanding | null
  /** Standing from 0 to 1, and what misbehaviour left of its reputation. */
  readonly score: number
  readonly reputation: number
  readonly standing: StandingStatus['state']
  /** Messages it may send here, whoever it shares them with. */
  readonly rate: { readonly messages_per_second: number; readonly burst: number; readonly shared: boolean }
  readonly path: { readonly scheme: string; readonly address: string; readonly direct: boolean; readonly via: string | null } | null
  readonly rtt_ms: number | null
  /** Whether the key exchange of this link is post-quantum. */
  readonly pq: boolean | null
  readonly since: string | null
  readonly streams: number
  readonly bytes_in: number
  readonly bytes_out: number
  readonly retry_in_ms: number | null
  readonly last_error: { readonly code: string; readonly message: string } | null
}

/**
 * How the keys of this home are protected. `stored`: a random passphrase lies outside the home, so whoever is this user can start the node.
 * `tpm`, `keyring`: the machine gives the passphrase by itself, while it boots what it booted before, or while the user is logged in.
 */
export type PassphraseMode = 'passphrase' | 'stored' | 'tpm' | 'keyring'

/** The object behind `kith status --json` and `node.status()`. */
export interface NodeStatus {
  readonly did: string | null
  readonly name: string | null
  readonly version: string
  readonly home: string
  readonly pid: number
  readonly uptime_s: number
  readonly listen: readonly string[]
  readonly degraded: readonly Trouble[]
  readonly peers: readonly PeerStatus[]
  /** Pairings of the last hour, with the words to compare. */
  readonly pairings: readonly PairingStatus[]
  /** Forwards that begin on this machine. */
  readonly tunnels: readonly TunnelStatus[]
  /** Topics made on this node, and what is kept of them. */
  readonly topics: { readonly count: number; readonly entries: number; readonly bytes: number; readonly held: number }
  /** Messages: in the inbox, not read, not arrived at their peers yet, and kept for others. */
  readonly mail: { readonly inbox: number; readonly unread: number; readonly pending: number; readonly kept_for_others: number }
  /** Directory of the files that peers sent. */
  readonly inbox: string
  readonly services: readonly ServiceStatus[]
  /** Names of the vaults that are open. */
  readonly vaults: readonly string[]
  /** The certificate that browsers are shown; null without one. */
  readonly certificate: CertificateStatus | null
  /** The port that looks like a website; null without one. */
  readonly front: FrontStatus | null
  /** Where calls are answered by HTTP, as `http://127.0.0.1:PORT`; null while they are not. */
  readonly gateway: string | null
  /** Where calls are answered by raw framing; null while they are not. */
  readonly raw: RawStatus | null
  /** The SSH door; null while it is closed. `listen` is null when it is reached through the front door only. */
  readonly ssh: { readonly listen: string | null; readonly sessions: number } | null
  readonly identity: {
    /** When the machine's binding ends unless the identity is unlocked before; null without an identity. */
    readonly binding_expires_at: string | null
    readonly passphrase: PassphraseMode | null
    /** Whether the identity's keys are in this home; false on a machine that was added to an identity elsewhere. */
    readonly holds_identity: boolean | null
    /** Address (RFC 7512) of the token that holds the key the identity signs with; null when the key is in the key file. */
    readonly hardware: string | null
  }
}

export interface RawStatus {
  /** `ADDRESS:PORT`. */
  readonly listen: string | null
  /** A socket of the file system. */
  readonly socket: string | null
}

/** The doors for programs that know nothing of links. */
export function doorStatus(
  gateway: Pick<GatewayService, 'address' | 'rawAddress'>,
  ssh: Pick<SshService, 'status'>,
  rawSocket: string | undefined,
): Pick<NodeStatus, 'gateway' | 'raw' | 'ssh'> {
  const raw: RawStatus = { listen: gateway.rawAddress, socket: rawSocket ?? null }
  const { status } = ssh
  return {
    gateway: gateway.address,
    raw: raw.listen === null && raw.socket === null ? null : raw,
    ssh: status === null ? null : { listen: status.listen, sessions: status.sessions },
  }
}

export function peerStatus(link: LinkStatus, { mesh, trust }: Pick<Assembly, 'mesh' | 'trust'>): PeerStatus {
  const { path } = link
  const limits = mesh.policy.constraints(link.did)
  const { state, reputation } = trust.standing(link.did)
  return {
    did: link.did,
    name: link.name,
    link_key: link.linkKey,
    state: link.state,
    class: link.class,
    pending_class: link.pendingClass,
    chain: link.chain,
    score: trust.explain(link.did).score / ONE,
    reputation: reputation / ONE,
    standing: state,
    rate: { ...rateOf(limits), shared: link.class === 'isolated' || limits.bucket !== undefined },
    path: path === null ? null : { scheme: path.scheme, address: path.address, direct: path.direct, via: path.via ?? null },
    rtt_ms: link.rttMs,
    pq: path?.postQuantum ?? null,
    since: link.since,
    streams: link.streams,
    bytes_in: link.bytesIn,
    bytes_out: link.bytesOut,
    retry_in_ms: link.retryInMs,
    last_error: link.lastError,
  }
}

/** What is kept of topics and messages; nothing while the node does not run. */
export function countStatus(assembly: Pick<Assembly, 'gossip' | 'mail'> | undefined): Pick<NodeStatus, 'topics' | 'mail'> {
  const topics = assembly?.gossip.topics() ?? []
  const mail = assembly?.mail.status()
  const sum = (of: (topic: TopicStatus) => number): number => topics.reduce((total, topic) => total + of(topic), 0)
  return {
    topics: { count: topics.length, entries: sum(({ entries }) => entries), bytes: sum(({ bytes }) => bytes), held: sum(({ held }) => held) },
    mail: {
      inbox: mail?.inbox.messages ?? 0,
      unread: mail?.inbox.unread ?? 0,
      pending: mail?.pending ?? 0,
      kept_for_others: mail?.kept.messages ?? 0,
    },
  }
}

const ONE = 10_000

/** Of the bucket, where a peer shares one. */
function rateOf(limits: ConstraintSet): { readonly messages_per_second: number; readonly burst: number } {
  const { messagesPerSecond, burst } = limits.bucket ?? limits
  return { messages_per_second: messagesPerSecond, burst }
}

import { equal, type PublicKey } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { Gate } from './gate.ts'
import type { KnownKeys } from './known-keys.ts'
import type { Member } from './link-member.ts'
import type { LinkTable } from './link-table.ts'
import type { MeshRules } from './mesh-rules.ts'
import type { Directory } from './messages/directory.ts'
import type { Reconnector } from './reconnect.ts'
import type { BanStatus, Conduct, Policy } from './types.ts'

export interface LinkReviewParts {
  readonly known: KnownKeys
  readonly conduct: Conduct | undefined
  readonly table: () => LinkTable
  readonly gate: Gate
  readonly reconnector: Reconnector
  readonly directory: () => Directory | undefined
  readonly ruling: () => MeshRules
  readonly policy: () => Policy
}

/** Whether links that stand may go on standing, whenever rules, standing, keys or machines of a peer have changed. */
export class LinkReview {
  readonly #parts: LinkReviewParts

  constructor(parts: LinkReviewParts) {
    this.#parts = parts
  }

  mayLink(did: Did): boolean {
    return this.#parts.policy().decide({ peer: did, action: 'link' }).allowed
  }

  /** The ban of a peer, or of every device known of it. */
  banOf(did: Did): BanStatus | undefined {
    const { conduct, known } = this.#parts
    const whole = conduct?.banOfPeer(did)
    if (whole !== undefined) return whole
    const bans = (known.peer(did)?.devices ?? []).map(({ linkKey }) => conduct?.banOf(did, linkKey))
    return bans.every((ban) => ban !== undefined) ? bans[0] : undefined
  }

  /** A rule that denies `link` counts at once, not only for the next connection. */
  rulesChanged(): void {
    for (const did of this.#linked()) {
      if (!this.mayLink(did)) void this.#parts.table().close(new KithError('POLICY_DENIED'), did)
    }
    this.#parts.reconnector.refresh()
  }

  /** A ban or a quarantine began or ended. */
  conductChanged(did: Did): void {
    this.#parts.gate.enforce()
    this.peerChanged(did)
    this.#parts.reconnector.refresh()
  }

  /** As `standingChanged`, of one peer, also when no link of it stands: it may have come in by another door. */
  peerChanged(did: Did): void {
    if (this.#linked().has(did)) this.standingChanged([did])
    else this.#parts.ruling().changed([did])
  }

  /** What the further source or conduct says of these peers, or of all, has changed: it counts for the links there are. */
  standingChanged(peers: readonly Did[] | undefined): void {
    const { conduct, gate, table, ruling } = this.#parts
    const linked = this.#linked()
    const touched = peers === undefined ? [...linked] : peers.filter((did) => linked.has(did))
    for (const did of touched) {
      if (this.mayLink(did)) gate.refresh(did)
      else void table().close(new KithError(conduct?.banOfPeer(did) === undefined ? 'POLICY_DENIED' : 'BANNED'), did)
    }
    if (touched.length > 0) ruling().changed(touched)
  }

  /** A frame that is none, after Hello: no correct node sends one (PN-10). */
  malformed({ link }: Member, protocol: string): void {
    this.#parts.conduct?.report({ peer: link.did, device: link.linkKey, kind: 'malformed-frame', protocol })
  }

  /** The keys of an identity changed: machines that the new ones do not carry leave. */
  async keysChanged(did: Did): Promise<void> {
    for (const member of [...this.#parts.table().membersOf(did)]) {
      const fault = await this.#parts.directory()?.faultOf(did, member.link.linkKey)
      if (fault !== undefined) await member.close(fault)
    }
  }

  /** Its identity does not have this machine any more. */
  revoked(did: Did, linkKey: PublicKey): void {
    for (const member of [...this.#parts.table().membersOf(did)]) {
      if (equal(member.link.linkKey, linkKey)) void member.close(new KithError('DEVICE_REVOKED'))
    }
    this.#parts.directory()?.revoked(did, linkKey)
  }

  #linked(): Set<Did> {
    return new Set([...this.#parts.table().links()].map((link) => link.did))
  }
}

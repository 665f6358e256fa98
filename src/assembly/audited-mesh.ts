import type { Duplex } from 'node:stream'
import type { PublicKey } from '../core/bytes.ts'
import type { Audit } from '../core/observe/audit.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { BookPeer } from '../mesh/address-book.ts'
import type { Joined, Mesh, MeshConfig, MeshInvites, MeshPolicy, PeerBook, Waiting } from '../mesh/mesh-types.ts'
import type { Messages } from '../mesh/messages/types.ts'
import type { RuleText } from '../mesh/policy-rules.ts'
import type { ChainStanding, Explanation, LeanHandler, LinkEvent, LinkStatus, ProtocolOptions, StreamHandler } from '../mesh/types.ts'
import type { LinkStream, Transport } from '../transport/types.ts'
import { auditText } from './audit-text.ts'

/**
 * The mesh as its owner meets it: what changes who may do what here leaves a row in the audit log before it is answered. Everything else is passed on.
 * A change that could not be noted stays, and its caller gets the store's error.
 */
export class AuditedMesh implements Mesh {
  readonly book: PeerBook
  readonly policy: MeshPolicy
  readonly invites: MeshInvites
  readonly #mesh: Mesh
  readonly #onRepinned: (did: Did) => void
  readonly #note: (action: string, subject: string, details?: Readonly<Record<string, string | number>>) => Promise<void>

  /** `onRepinned`: a person chose between the histories of this peer. */
  constructor(mesh: Mesh, audit: Audit, onRepinned: (did: Did) => void = () => {}) {
    this.#mesh = mesh
    this.#onRepinned = onRepinned
    this.#note = async (action, subject, details = {}) => {
      const plain = Object.fromEntries(Object.entries(details).map(([name, value]) => [name, typeof value === 'string' ? auditText(value, 256) : value]))
      await audit.append({ actor: 'owner', action, subject: auditText(subject, 512), reason: '', details: plain })
    }
    this.book = this.#auditedBook(mesh.book)
    this.policy = this.#auditedPolicy(mesh.policy)
    this.invites = this.#auditedInvites(mesh.invites)
  }

  get did(): Did {
    return this.#mesh.did
  }

  get contradictedBy(): readonly Did[] {
    return this.#mesh.contradictedBy
  }

  get addresses(): readonly string[] {
    return this.#mesh.addresses
  }

  get schemes(): readonly string[] {
    return this.#mesh.schemes
  }

  get messages(): Messages {
    return this.#mesh.messages
  }

  start(): Promise<void> {
    return this.#mesh.start()
  }

  close(): Promise<void> {
    return this.#mesh.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#mesh.close()
  }

  listen(url: string, options?: Waiting): Promise<readonly string[]> {
    return this.#mesh.listen(url, options)
  }

  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): () => void {
    return this.#mesh.handle(protocol, handler, options)
  }

  handleLean(protocol: string, handler: LeanHandler, options?: ProtocolOptions): () => void {
    return this.#mesh.handleLean(protocol, handler, options)
  }

  open(peer: string, protocol: string, options?: Waiting): Promise<Duplex> {
    return this.#mesh.open(peer, protocol, options)
  }

  openLean(peer: string, protocol: string, options?: Waiting): Promise<LinkStream> {
    return this.#mesh.openLean(peer, protocol, options)
  }

  dial(peer: string, options?: Waiting & { readonly url?: string }): Promise<LinkStatus> {
    return this.#mesh.dial(peer, options)
  }

  linkDevice(linkKey: PublicKey, urls: readonly string[], options?: Waiting): Promise<void> {
    return this.#mesh.linkDevice(linkKey, urls, options)
  }

  ping(peer: string, options?: Waiting & { readonly count?: number }): Promise<readonly number[]> {
    return this.#mesh.ping(peer, options)
  }

  links(): readonly LinkStatus[] {
    return this.#mesh.links()
  }

  network(): ReturnType<Mesh['network']> {
    return this.#mesh.network()
  }

  join(ticket: string, options?: Waiting & { readonly name?: string }): Promise<Joined> {
    return this.#mesh.join(ticket, options)
  }

  async confirm(peer: string): Promise<BookPeer> {
    const confirmed = await this.#mesh.confirm(peer)
    await this.#note('peer.confirm', confirmed.did, { class: confirmed.class })
    return confirmed
  }

  showHistories(which: (did: Did) => boolean): void {
    this.#mesh.showHistories(which)
  }

  fetchChain(did: Did): Promise<boolean> {
    return this.#mesh.fetchChain(did)
  }

  chainOf(did: Did): ChainStanding | null {
    return this.#mesh.chainOf(did)
  }

  async anchor(peer: string, options: { readonly head?: string; readonly chain?: Uint8Array } = {}): Promise<ChainStanding> {
    const standing = await this.#mesh.anchor(peer, options)
    await this.#note('peer.anchor', this.#mesh.book.resolve(peer), { index: standing.index, head: standing.head })
    return standing
  }

  async repin(peer: string, head: string): Promise<ChainStanding> {
    const standing = await this.#mesh.repin(peer, head)
    const did = this.#mesh.book.resolve(peer)
    this.#onRepinned(did)
    await this.#note('peer.repin', did, { index: standing.index, head: standing.head })
    return standing
  }

  why(peer: string, action?: string, target?: string): Explanation {
    return this.#mesh.why(peer, action, target)
  }

  wake(): void {
    this.#mesh.wake()
  }

  replaceDevice(device: Device, options?: { readonly transports?: readonly Transport[] }): Promise<void> {
    return this.#mesh.replaceDevice(device, options)
  }

  onEvent(listener: (event: LinkEvent) => void): () => void {
    return this.#mesh.onEvent(listener)
  }

  reload(config: MeshConfig): void {
    this.#mesh.reload(config)
  }

  #auditedBook(book: PeerBook): PeerBook {
    return {
      ...book,
      add: async (did, options) => {
        const known = book.list().some((peer) => peer.did === did)
        const peer = await book.add(did, options)
        // Another address for somebody known changes nothing about what it may do.
        if (!known || options?.class !== undefined) await this.#note(known ? 'peer.class' : 'peer.add', peer.did, { class: peer.class })
        return peer
      },
      forget: async (peer) => {
        const did = await book.forget(peer)
        await this.#note('peer.forget', did)
        return did
      },
    }
  }

  #auditedPolicy(policy: MeshPolicy): MeshPolicy {
    const audited =
      (effect: 'allow' | 'deny'): MeshPolicy['allow'] =>
      async (who, action, target, conditions) => {
        const rule = await policy[effect](who, action, target, conditions)
        await this.#note(`policy.${effect}`, rule.principal, ruleDetails(rule))
        return rule
      }
    const forgetAllowed: MeshPolicy['forgetAllowed'] = async (principal) => {
      const forgotten = await policy.forgetAllowed(principal)
      for (const rule of forgotten) await this.#note('policy.forget', principal, ruleDetails(rule))
      return forgotten
    }
    return { ...policy, allow: audited('allow'), deny: audited('deny'), forgetAllowed }
  }

  #auditedInvites(invites: MeshInvites): MeshInvites {
    return {
      list: () => invites.list(),
      create: async (options) => {
        const made = await invites.create(options)
        await this.#note('invite.create', made.id, { class: made.class, uses: made.uses })
        return made
      },
      revoke: async (id) => {
        await invites.revoke(id)
        await this.#note('invite.revoke', id)
      },
    }
  }
}

/** What a rule says besides whom it is about. */
function ruleDetails({ action, target, via, between, until }: RuleText): Record<string, string> {
  return {
    action,
    ...(target === undefined ? {} : { target }),
    ...(via === undefined ? {} : { via: via.join(' ') }),
    ...(between === undefined ? {} : { between }),
    ...(until === undefined ? {} : { until: new Date(until).toISOString() }),
  }
}

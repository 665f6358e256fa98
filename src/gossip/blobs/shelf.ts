import { toHex } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Did } from '../../identity/did.ts'
import type { Policy } from '../../mesh/types.ts'
import type { Grant } from './grant.ts'
import { type BlobRef, isBlobSize } from './layout.ts'
import { type BlobSource, describeBlob, type Manifest, ServedBlob } from './manifest.ts'

/** Who may fetch a blob: these peers, or everybody who may read a topic. */
export type Audience = { readonly peers: readonly Did[] } | { readonly topic: string }

export interface Offered {
  readonly manifest: Manifest
  /** No more than what runs already; sessions that are open end at their next question. */
  withdraw(): void
}

/** Something this node received earlier and still has, opened for reading. */
export interface HeldSource extends BlobSource {
  close(): Promise<void>
}

/** Looks for content that came from `from`. Only what that identity itself gave to this node may be found. */
export type HeldFinder = (claim: { readonly from: Did; readonly sha256: Uint8Array; readonly size: number }) => Promise<HeldSource | undefined>

interface Offer {
  readonly blob: ServedBlob
  readonly audience: Audience
}

interface Held {
  readonly opening: Promise<{ readonly blob: ServedBlob; readonly source: HeldSource } | undefined>
  users: number
  idle: Timer | undefined
}

/** A blob as one session uses it. */
export interface Lease {
  readonly blob: ServedBlob
  /** Asked with every question: what was withdrawn or ran out ends at once. */
  valid(): boolean
  release(): void
}

export const MAX_OFFERS = 1_024
/** Received files that are open at once because others fetch them. */
const MAX_HELD = 16
/** A file that nobody fetches any more is kept open for so long: its hashes are worth something. */
const HELD_IDLE_MS = 120_000

/** What this node gives to others, and to whom. Nothing is found here by its hash alone. */
export class Shelf {
  readonly #clock: Clock
  readonly #policy: Pick<Policy, 'decide'>
  /** By root; several offers of the same content stand side by side. */
  readonly #offers: Map<string, Set<Offer>> = new Map()
  readonly #held: Map<string, Held> = new Map()
  readonly #finders: Set<HeldFinder> = new Set()
  #offerCount = 0
  #closed = false

  constructor(components: { readonly clock: Clock; readonly policy: Pick<Policy, 'decide'> }) {
    this.#clock = components.clock
    this.#policy = components.policy
  }

  /** @throws KithError `BUDGET_EXCEEDED`. */
  offer(manifest: Manifest, source: BlobSource, audience: Audience): Offered {
    if (!isBlobSize(manifest.size) || source.size !== manifest.size) throw new TypeError('the source is not of the size that was described')
    if (this.#offerCount >= MAX_OFFERS) throw new KithError('BUDGET_EXCEEDED', `${MAX_OFFERS} blobs are offered already`)
    const key = toHex(manifest.root)
    const offer: Offer = { blob: new ServedBlob(manifest, source), audience }
    const standing = this.#offers.get(key) ?? new Set()
    this.#offers.set(key, standing.add(offer))
    this.#offerCount++
    return {
      manifest,
      withdraw: () => {
        if (!standing.delete(offer)) return
        this.#offerCount--
        if (standing.size === 0) this.#offers.delete(key)
      },
    }
  }

  /** Where received content is looked for. Returns the way to stop. */
  provide(finder: HeldFinder): () => void {
    this.#finders.add(finder)
    return () => this.#finders.delete(finder)
  }

  /** Roots offered to a peer, for announcements. */
  *offeredTo(peer: Did): Generator<Uint8Array> {
    for (const standing of this.#offers.values()) {
      for (const offer of standing) {
        if (!this.#admits(offer, peer)) continue
        yield offer.blob.manifest.root
        break
      }
    }
  }

  /** What this node offers to the peer itself. */
  offered(peer: Did, ref: BlobRef): Lease | undefined {
    const standing = this.#offers.get(toHex(ref.root))
    for (const offer of standing ?? []) {
      if (offer.blob.manifest.size !== ref.size || !this.#admits(offer, peer)) continue
      return { blob: offer.blob, valid: () => standing?.has(offer) === true && this.#admits(offer, peer), release: () => undefined }
    }
    return undefined
  }

  /**
   * What this node has from the grant's issuer. Reads and hashes all of it the first time. The caller has checked the grant.
   * @throws KithError `BUDGET_EXCEEDED`.
   */
  async granted(grant: Grant): Promise<Lease | undefined> {
    const key = `${grant.issuer} ${toHex(grant.root)}`
    let held = this.#held.get(key)
    if (held === undefined) {
      this.#makeRoom()
      held = { opening: this.#open(grant), users: 0, idle: undefined }
      this.#held.set(key, held)
    }
    const lease = this.#lease(key, held)
    try {
      const opened = await held.opening
      if (opened !== undefined) return { blob: opened.blob, ...lease }
    } catch (error) {
      lease.release()
      throw error
    }
    lease.release()
    return undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#offers.clear()
    this.#finders.clear()
    const all = [...this.#held.keys()]
    await Promise.all(all.map((key) => this.#drop(key)))
  }

  #admits({ audience }: Offer, peer: Did): boolean {
    if ('peers' in audience) return audience.peers.includes(peer)
    return this.#policy.decide({ peer, action: 'subscribe', target: audience.topic }).allowed
  }

  #lease(key: string, held: Held): { valid(): boolean; release(): void } {
    held.users++
    held.idle?.cancel()
    held.idle = undefined
    let released = false
    const release = (): void => {
      if (released) return
      released = true
      held.users--
      if (held.users > 0 || this.#held.get(key) !== held) return
      held.idle = this.#clock.after(HELD_IDLE_MS, () => void this.#drop(key))
      // What was not there, or has changed, is looked for anew the next time.
      held.opening.then(
        (opened) => {
          if (opened === undefined && held.users === 0) void this.#drop(key)
        },
        () => {
          if (held.users === 0) void this.#drop(key)
        },
      )
    }
    return { valid: () => !this.#closed, release }
  }

  async #open(grant: Grant): Promise<{ readonly blob: ServedBlob; readonly source: HeldSource } | undefined> {
    for (const find of this.#finders) {
      const source = await find({ from: grant.issuer, sha256: grant.sha256, size: grant.size })
      if (source === undefined) continue
      try {
        const manifest = await describeBlob(source)
        if (!this.#closed && toHex(manifest.root) === toHex(grant.root)) return { blob: new ServedBlob(manifest, source), source }
      } catch (error) {
        await source.close()
        throw error
      }
      await source.close()
    }
    return undefined
  }

  #makeRoom(): void {
    if (this.#held.size < MAX_HELD) return
    for (const [key, held] of this.#held) {
      if (held.users > 0) continue
      void this.#drop(key)
      return
    }
    throw new KithError('BUDGET_EXCEEDED', `${MAX_HELD} files are being given on already`)
  }

  async #drop(key: string): Promise<void> {
    const held = this.#held.get(key)
    if (held === undefined) return
    this.#held.delete(key)
    held.idle?.cancel()
    const opened = await held.opening.catch(() => undefined)
    await opened?.source.close()
  }
}

import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { Mesh } from '../../mesh/mesh-types.ts'
import type { Carrier } from '../../mesh/messages/types.ts'
import type { Conduct } from '../../mesh/types.ts'
import { Announcer, type NoticeBoard } from './announce.ts'
import { blobMetrics } from './blob-metrics.ts'
import { fetchBlob } from './fetch.ts'
import type { BlobProvider, BlobSink, FetchOptions, FetchResult } from './fetch-types.ts'
import { GRANT_LIFE_MS, type Grant, type GrantClaim, type GrantMessages, papersOf, readGrant, signGrant } from './grant.ts'
import type { BlobRef } from './layout.ts'
import { type BlobSource, describeBlob, type Manifest } from './manifest.ts'
import { NonceGuard } from './nonce-guard.ts'
import { serveBlob } from './serve.ts'
import { type Audience, type HeldFinder, type Offered, Shelf } from './shelf.ts'
import { Slots } from './slots.ts'
import { BLOB_PROTOCOL } from './wire.ts'

/** What blobs need of the mesh. */
export type BlobMesh = Pick<Mesh, 'did' | 'openLean' | 'handleLean' | 'policy' | 'links'>

export interface BlobComponents {
  readonly mesh: BlobMesh
  readonly messages: GrantMessages
  /** Announcements and requests; without it only peers that are named are asked. */
  readonly gossip?: NoticeBoard
  readonly conduct?: Pick<Conduct, 'report'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics?: Metrics
}

export interface BlobFetchOptions extends Omit<FetchOptions, 'watch'> {
  /** Ask on `blob:request` who else has it, and take those that answer too. Default false. */
  readonly look?: boolean
}

/** Content by hash: given to those it is for, fetched from several peers at once. */
export interface Blobs extends AsyncDisposable {
  /** Reads all of it once. @throws KithError `ABORTED`, or what the source throws. */
  describe(source: BlobSource, options?: { readonly signal?: AbortSignal | undefined }): Promise<Manifest>
  /** Gives a blob to an audience until it is withdrawn; the source stays the caller's. @throws KithError `BUDGET_EXCEEDED`. */
  offer(manifest: Manifest, source: BlobSource, audience: Audience, options?: { readonly announce?: boolean }): Offered
  /** Where content that peers sent to this node is looked for when their grants ask for it. Returns the way to stop. */
  provide(finder: HeldFinder): () => void
  /** Allows `recipient` to fetch a blob from `providers`, who have it from this node. @throws TypeError for more than 16 providers. */
  grant(claim: Omit<GrantClaim, 'expiresMs'> & { readonly expiresMs?: number }): Uint8Array
  /** Checks a grant that a peer showed. @throws KithError as `Messages.verifyRecord`; `BLOB_GRANT_INVALID`. */
  readGrant(bytes: Uint8Array, carrier: Carrier): Promise<Grant>
  /** Who a grant names, as providers to fetch from: its issuer by its own offer, the rest by the grant. */
  providersOf(grant: Grant, bytes: Uint8Array): readonly BlobProvider[]
  /** @throws KithError as `fetchBlob`. */
  fetch(ref: BlobRef, sink: BlobSink, options: BlobFetchOptions): Promise<FetchResult>
  /** Peers with a link now. */
  linked(): readonly Did[]
  /** Ends what runs. The sources of offers stay open; those of finders are closed. */
  close(): Promise<void>
}

/** How often nonces that have run out are forgotten. */
const SWEEP_MS = 60_000

/** Serves `icn/blob/1` and fetches over it. */
export function createBlobs(components: BlobComponents): Blobs {
  return new BlobNode(components)
}

class BlobNode implements Blobs {
  readonly #components: BlobComponents
  readonly #metrics: ReturnType<typeof blobMetrics>
  readonly #shelf: Shelf
  readonly #nonces: NonceGuard
  readonly #announcer: Announcer | undefined
  readonly #serving: Set<Promise<void>> = new Set()
  readonly #closing: AbortController = new AbortController()
  readonly #stopServing: () => void
  #sweeper: Timer

  constructor(components: BlobComponents) {
    this.#components = components
    const { mesh, messages, gossip, conduct, clock, logger } = components
    const { policy } = mesh
    const metrics = blobMetrics(components.metrics)
    this.#metrics = metrics
    this.#shelf = new Shelf({ clock, policy })
    this.#nonces = new NonceGuard(clock)
    this.#announcer =
      gossip === undefined ? undefined : new Announcer({ own: mesh.did, gossip, clock, logger, offeredTo: (peer) => this.#shelf.offeredTo(peer) })
    const slots = new Slots({ clock, policy })
    const serving = { own: mesh.did, clock, policy, messages, shelf: this.#shelf, nonces: this.#nonces, slots, conduct, metrics }
    this.#stopServing = mesh.handleLean(
      BLOB_PROTOCOL,
      (stream, context) => {
        const work = serveBlob(serving, stream, context, this.#closing.signal).finally(() => this.#serving.delete(work))
        this.#serving.add(work)
      },
      // Asked per request, with the grant at hand.
      { access: 'handler' },
    )
    this.#sweeper = this.#sweepLater()
  }

  async describe(source: BlobSource, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Manifest> {
    return await describeBlob(source, options)
  }

  offer(manifest: Manifest, source: BlobSource, audience: Audience, options: { readonly announce?: boolean } = {}): Offered {
    this.#alive()
    const offered = this.#shelf.offer(manifest, source, audience)
    if (options.announce === true) this.#announcer?.announce(manifest.root)
    return offered
  }

  provide(finder: HeldFinder): () => void {
    return this.#shelf.provide(finder)
  }

  grant(claim: Omit<GrantClaim, 'expiresMs'> & { readonly expiresMs?: number }): Uint8Array {
    this.#alive()
    const { messages, clock } = this.#components
    return signGrant(messages, { ...claim, expiresMs: claim.expiresMs ?? clock.now() + GRANT_LIFE_MS })
  }

  async readGrant(bytes: Uint8Array, carrier: Carrier): Promise<Grant> {
    const { messages, clock } = this.#components
    return await readGrant(messages, bytes, carrier, clock.now())
  }

  providersOf(grant: Grant, bytes: Uint8Array): readonly BlobProvider[] {
    const { mesh, messages } = this.#components
    const others = grant.providers.filter((peer) => peer !== mesh.did && peer !== grant.issuer)
    return [{ peer: grant.issuer }, ...others.map((peer) => ({ peer, grant: bytes, papers: () => papersOf(messages, grant) }))]
  }

  async fetch(ref: BlobRef, sink: BlobSink, options: BlobFetchOptions): Promise<FetchResult> {
    this.#alive()
    const { mesh, conduct, clock, random } = this.#components
    const { look, signal, ...rest } = options
    const announcer = look === true ? this.#announcer : undefined
    return await fetchBlob(
      { clock, random, conduct, metrics: this.#metrics, open: (peer, opening) => mesh.openLean(peer, BLOB_PROTOCOL, opening) },
      ref,
      sink,
      {
        ...rest,
        signal: signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]),
        watch: announcer === undefined ? undefined : (add) => announcer.look(ref.root, (peer) => this.linked().includes(peer) && add({ peer })),
      },
    )
  }

  linked(): readonly Did[] {
    return this.#components.mesh.links().flatMap(({ did, state }) => (state === 'connected' ? [did] : []))
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(new KithError('CLOSED'))
    this.#stopServing()
    this.#sweeper.cancel()
    this.#announcer?.close()
    await Promise.all(this.#serving)
    await this.#shelf.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #alive(): void {
    if (this.#closing.signal.aborted) throw new KithError('CLOSED')
  }

  #sweepLater(): Timer {
    return this.#components.clock.after(SWEEP_MS, () => {
      this.#nonces.sweep()
      this.#sweeper = this.#sweepLater()
    })
  }
}

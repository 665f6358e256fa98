import type { Clock } from '../../core/clock.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { Conduct } from '../../mesh/types.ts'
import type { LinkStream } from '../../transport/types.ts'
import type { BlobMetrics } from './blob-metrics.ts'

/** Where the bytes of a blob are kept, and what of them lies there already. */
export interface BlobSink {
  /** Reads up to `target.length` bytes at `position`; returns how many there were. */
  read(target: Uint8Array, position: number): Promise<number>
  /** Called with verified bytes only; several calls may be under way for different places. */
  write(data: Uint8Array, position: number): Promise<void>
}

/** One that may have the blob, and by which authority it gives it to this node. */
export interface BlobProvider {
  readonly peer: Did
  /** Absent: it has offered the blob to this node itself. */
  readonly grant?: Uint8Array | undefined
  /** Papers of the grant's signer, for a provider that has not met it. */
  readonly papers?: () => Promise<{ readonly binding: Uint8Array; readonly chain: Uint8Array } | undefined>
}

export interface FetchOptions {
  readonly providers: readonly BlobProvider[]
  /** Look at what the sink has already, chunk by chunk. Default false: it is overwritten. */
  readonly resume?: boolean
  readonly signal?: AbortSignal | undefined
  /** Asked before every chunk that is kept. What it throws ends the fetch. */
  readonly allowed?: (() => void) | undefined
  readonly onProgress?: ((progress: FetchProgress) => void) | undefined
  /** Further providers that become known while the fetch runs. Returns the way to stop. */
  readonly watch?: ((add: (provider: BlobProvider) => void) => () => void) | undefined
}

export interface FetchProgress {
  /** Verified bytes in the sink. */
  readonly bytes: number
  /** How many of them were there before. */
  readonly resumed: number
  /** Peers that have delivered some. */
  readonly providers: number
}

export interface FetchResult extends FetchProgress {
  /** Bytes each peer delivered that were kept. */
  readonly from: ReadonlyMap<Did, number>
}

export interface FetchComponents {
  readonly clock: Clock
  readonly random: Random
  readonly conduct: Pick<Conduct, 'report'> | undefined
  readonly metrics: BlobMetrics
  open(peer: Did, options: { readonly signal: AbortSignal }): Promise<LinkStream>
}

import type { ErrorCode } from '../../core/errors.ts'
import { type Metrics, silentMetrics } from '../../core/observe/metrics.ts'

/** Counters of blob transfers. Labels are codes of the error table, or `done`. */
export interface BlobMetrics {
  served(result: ErrorCode | 'done'): void
  fetched(result: ErrorCode | 'done'): void
  /** A provider was left, and why. */
  left(reason: ErrorCode | 'done'): void
  bytesOut(length: number): void
  bytesIn(length: number): void
  replayed(): void
}

export function blobMetrics(metrics: Metrics = silentMetrics): BlobMetrics {
  const served = metrics.counter('kith_blob_serves_total', 'Blob transfers to peers that ended, by result.', ['result'])
  const fetched = metrics.counter('kith_blob_fetches_total', 'Blobs fetched from peers, by result.', ['result'])
  const left = metrics.counter('kith_blob_providers_left_total', 'Providers that a fetch was finished with, by reason.', ['reason'])
  const bytes = metrics.counter('kith_blob_bytes_total', 'Bytes of blob chunks, by direction.', ['direction'])
  const replays = metrics.counter('kith_blob_replays_total', 'Blob requests that repeated one answered before.')
  return {
    served: (result) => served.add(1, { result }),
    fetched: (result) => fetched.add(1, { result }),
    left: (reason) => left.add(1, { reason }),
    bytesOut: (length) => bytes.add(length, { direction: 'out' }),
    bytesIn: (length) => bytes.add(length, { direction: 'in' }),
    replayed: () => replays.add(),
  }
}

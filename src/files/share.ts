import { toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { patient } from '../core/patient.ts'
import type { Did } from '../identity/did.ts'
import type { FileBlobs, FileSource } from './blobs.ts'
import type { FrameStream } from './frame-stream.ts'
import type { Holder } from './sent.ts'
import { AT, at, type Fetch, STORED_HEAD_BYTES, type Stored, share, stored, storedRest, WAIT } from './wire.ts'

export interface Sharing {
  readonly blobs: FileBlobs
  /** Whom the file goes to. */
  readonly peer: Did
  /** Who has it from this node already, in the order of the offer. */
  readonly holders: readonly Holder[]
}

export interface SharedProgress {
  readonly bytes: number
  readonly resumed: number
  /** Peers that have delivered some of it, this one included. */
  readonly peers: number
}

interface ShareOptions {
  readonly clock: Clock
  readonly signal: AbortSignal | undefined
  onProgress(progress: SharedProgress): void
}

/** Hashing a large file takes longer than the other side waits in silence. */
const WAIT_EVERY_MS = 10_000

/**
 * The sender's side of a file that the receiver fetches as a blob: from here, and from the holders it is linked with, which get to see a grant. Returns the receipt
 * and the digest of what was offered.
 */
export async function shareFile(
  frames: FrameStream,
  source: FileSource,
  sharing: Sharing,
  { places }: Fetch,
  options: ShareOptions,
): Promise<{ readonly receipt: Stored; readonly sha256: Uint8Array; readonly last: SharedProgress }> {
  const { blobs, peer, holders } = sharing
  const chosen = chosenOf(holders, places)
  const manifest = await patient(options.clock, WAIT_EVERY_MS, () => frames.write(Uint8Array.of(WAIT)), blobs.describe(source, { signal: options.signal }))
  const { root, size, sha256 } = manifest
  // Who was sent other content under the same name and date cannot help.
  const providers = chosen.filter((holder) => (holder.sha256 ?? toHex(sha256)) === toHex(sha256)).map((holder) => holder.peer)
  const offered = blobs.offer(manifest, source, { peers: [peer] })
  try {
    const grant = blobs.grant({ root, size, sha256, recipient: peer, providers })
    await frames.send(share, { root, sha256, grant })
    let last: SharedProgress = { bytes: 0, resumed: 0, peers: 0 }
    for (;;) {
      const tag = await frames.bytes(1)
      if (tag[0] !== AT)
        return { receipt: await frames.read(stored, STORED_HEAD_BYTES - 1, (head) => storedRest(Buffer.concat([tag, head])), tag), sha256, last }
      last = await frames.read(at, at.max - 1, undefined, tag)
      if (last.bytes > size || last.resumed > last.bytes) throw new KithError('WIRE_MALFORMED', 'the other side claims more than was offered')
      options.onProgress(last)
    }
  } finally {
    offered.withdraw()
  }
}

function chosenOf(holders: readonly Holder[], places: readonly number[]): readonly Holder[] {
  if (new Set(places).size !== places.length) throw new KithError('WIRE_MALFORMED', 'a holder twice')
  return places.map((place) => {
    const holder = holders[place]
    if (holder === undefined) throw new KithError('WIRE_MALFORMED', 'a holder that was not offered')
    return holder
  })
}

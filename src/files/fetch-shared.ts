import type { FileHandle } from 'node:fs/promises'
import { equal, type PublicKey } from '../core/bytes.ts'
import { type Clock, sleep } from '../core/clock.ts'
import { decode, malformed } from '../core/codec.ts'
import { createSha256 } from '../core/crypto/hash.ts'
import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import { type FileBlobs, holderTag } from './blobs.ts'
import type { FrameStream } from './frame-stream.ts'
import {
  type At,
  at,
  fetch,
  HOLDER_BYTES,
  MAX_HOLDERS,
  OFFER_HEAD_BYTES,
  offer,
  offerRest,
  SHARE,
  SHARE_HEAD_BYTES,
  type Share,
  type SharedOffer,
  share,
  shareRest,
  WAIT,
} from './wire.ts'

/** How often the sender is told how far it is; it takes a minute of silence for the end. */
const TELL_EVERY_MS = 1_000
const READ_BYTES = 1 << 20

/** Reads an offer of either form. @throws as `FrameStream.bytes`; KithError `WIRE_MALFORMED`. */
export async function readOffer(frames: FrameStream): Promise<SharedOffer> {
  const head = Buffer.from(await frames.bytes(OFFER_HEAD_BYTES))
  const isShared = head[0] === 0x01 && head[1] === 0x02
  if (isShared) head[1] = 0x01
  const wanted = decode(offer, Buffer.concat([head, await frames.bytes(offerRest(head))]))
  const holders: Uint8Array[] = []
  if (isShared) {
    const count = (await frames.bytes(1))[0] as number
    if (count === 0 || count > MAX_HOLDERS) throw malformed('holders out of range', { count })
    for (let i = 0; i < count; i++) holders.push(Uint8Array.from(await frames.bytes(HOLDER_BYTES)))
  }
  return { ...wanted, holders }
}

/** Which of the holders are linked here: they are worth asking. */
export function knownHolders(wanted: SharedOffer, blobs: FileBlobs, except: Did): readonly number[] {
  if (wanted.holders.length === 0) return []
  const tags = blobs.linked().flatMap((peer) => (peer === except ? [] : [holderTag(wanted.fingerprint, peer)]))
  return wanted.holders.flatMap((holder, place) => (tags.some((tag) => equal(tag, holder)) ? [place] : []))
}

export interface SharedFile {
  readonly blobs: FileBlobs
  readonly own: Did
  /** Who offers the file, and with which machine. */
  readonly peer: Did
  readonly device: PublicKey
  readonly wanted: SharedOffer
  readonly places: readonly number[]
  readonly clock: Clock
  /** Asked with every chunk. @throws KithError `FILE_DENIED`. */
  readonly allowed: () => void
}

/** Fetches the content of an offered file from the sender and the holders into `file`. Returns its digest, which was checked. */
export async function fetchShared(frames: FrameStream, file: FileHandle, options: SharedFile): Promise<Uint8Array> {
  const { blobs, peer, device, own, wanted, places, allowed } = options
  await frames.send(fetch, { places })
  const { root, sha256, grant: bytes } = await readShare(frames)
  const grant = await blobs.readGrant(bytes, { peer, device })
  const about = grant.size === wanted.size && equal(grant.root, root) && equal(grant.sha256, sha256)
  if (grant.issuer !== peer || grant.recipient !== own || !about || grant.providers.length > places.length) {
    throw new KithError('BLOB_GRANT_INVALID', 'the sender’s grant is about something else')
  }
  if (!wanted.resume) await file.truncate(0)
  else if ((await file.stat()).size > wanted.size) await file.truncate(wanted.size)
  let progress: At = { bytes: 0, resumed: 0, peers: 0 }
  const over = new AbortController()
  const telling = tell(frames, options.clock, over.signal, () => progress)
  try {
    await blobs.fetch(
      { root, size: wanted.size },
      {
        read: async (target, position) => (await file.read(target, 0, target.length, position)).bytesRead,
        write: async (data, position) => await writeExactly(file, data, position),
      },
      {
        providers: blobs.providersOf(grant, bytes),
        resume: wanted.resume,
        signal: frames.gone,
        allowed,
        onProgress: (now) => {
          progress = { bytes: now.bytes, resumed: now.resumed, peers: now.providers }
        },
      },
    )
  } catch (error) {
    throw frames.gone.aborted ? frames.gone.reason : error
  } finally {
    over.abort()
    await telling
  }
  const digest = await digestOf(file, wanted.size)
  if (equal(digest, sha256)) {
    await frames.send(at, progress)
    return digest
  }
  // Every part is what the root says, so trying again would end here again.
  await file.truncate(0)
  throw new KithError('FILE_MISMATCH', 'the file as a whole does not match its digest')
}

async function readShare(frames: FrameStream): Promise<Share> {
  for (;;) {
    const tag = await frames.bytes(1)
    if (tag[0] === SHARE) return await frames.read(share, SHARE_HEAD_BYTES, shareRest, tag)
    if (tag[0] !== WAIT) throw malformed('neither a share nor patience', { tag: tag[0] ?? -1 })
  }
}

/** Says how far it is until it is over; a sender that has gone is noticed by `frames.gone`. */
async function tell(frames: FrameStream, clock: Clock, over: AbortSignal, now: () => At): Promise<void> {
  while (!over.aborted) {
    try {
      await sleep(clock, TELL_EVERY_MS, over)
      await frames.send(at, now())
    } catch {
      return
    }
  }
}

async function digestOf(file: FileHandle, size: number): Promise<Uint8Array> {
  const whole = createSha256()
  const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, Math.max(1, size)))
  for (let position = 0; position < size; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - position), position)
    if (bytesRead === 0) break
    whole.update(buffer.subarray(0, bytesRead))
    position += bytesRead
  }
  return whole.digest()
}

/** Writes all of it. */
export async function writeExactly(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < data.length; ) at += (await file.write(data, at, data.length - at, position + at)).bytesWritten
}

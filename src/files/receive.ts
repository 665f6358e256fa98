import { constants, type Stats } from 'node:fs'
import { type FileHandle, link, lstat, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { equal, type PublicKey, toHex, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { createSha256, type Sha256, sha256 } from '../core/crypto/hash.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { FileBlobs } from './blobs.ts'
import { fetchShared, knownHolders, readOffer, writeExactly } from './fetch-shared.ts'
import { type FrameStream, frameStream } from './frame-stream.ts'
import { alternatives, checkName } from './names.ts'
import { begin, CHUNK, CHUNK_BYTES, chunkHeader, DONE, done, resume, stored } from './wire.ts'

export interface ReceiveOptions {
  readonly peer: Did
  /** The machine it sends from. */
  readonly device: PublicKey
  readonly own: Did
  /** For files that others have too. */
  readonly blobs: FileBlobs | undefined
  /** Finished files. */
  readonly inbox: string
  /** Unfinished ones; on the same file system. */
  readonly partials: string
  readonly clock: Clock
  /** Asked with every offer before anything is stored. @throws KithError the refusal. */
  admit(offer: { name: string; partial: string; size: number; have: number }): Promise<Reservation>
  /** Asked again with every chunk: what the owner takes back ends at once. @throws KithError `FILE_DENIED`. */
  allowed(): void
  /** One transfer at a time per partial: ends an older one that still holds it. */
  claim(partial: string, cancel: () => void): Promise<() => void>
  /** Notes the stored file. Awaited before the sender gets its receipt, so that what was acknowledged is on record. */
  record(received: Received): Promise<void>
}

export interface Reservation {
  release(): void
}

export interface Received {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

/** The file an unfinished transfer is kept in: the same peer's offer of the same version of a file finds it again. */
export function partialName(peer: Did, fingerprint: Uint8Array): string {
  return `${toHex(hashLabeled('icn/file-partial/v1', utf8(peer), fingerprint)).slice(0, 40)}.part`
}

/** Receives one file; every failure resets the stream with its code and leaves the verified part for a later attempt. */
export async function receiveFile(duplex: Duplex, options: ReceiveOptions): Promise<Received> {
  const frames = frameStream(duplex, options.clock)
  try {
    return await transfer(frames, options)
  } catch (error) {
    const failure = asKithError(error, 'INTERNAL')
    frames.fail(failure)
    throw failure
  }
}

async function transfer(frames: FrameStream, options: ReceiveOptions): Promise<Received> {
  const wanted = await readOffer(frames)
  const name = checkName(wanted.name)
  const path = join(options.partials, partialName(options.peer, wanted.fingerprint))
  const unclaim = await options.claim(path, () => frames.fail(new KithError('DUPLICATE', 'a newer transfer of the same file took over')))
  let file: FileHandle | undefined
  let reservation: Reservation | undefined
  try {
    const left = wanted.resume ? await leftOf(path) : NOTHING
    const have = Math.min(left.size, wanted.size) - (Math.min(left.size, wanted.size) % CHUNK_BYTES)
    reservation = await options.admit({ name, partial: path, size: wanted.size, have: Math.min(have, left.onDisk) })
    file = await openOwn(path)
    const { blobs, own, peer, device, clock, allowed } = options
    const places = blobs === undefined ? [] : knownHolders(wanted, blobs, peer)
    let digest: Uint8Array
    if (blobs !== undefined && places.length > 0) {
      digest = await fetchShared(frames, file, { blobs, own, peer, device, wanted, places, clock, allowed })
    } else {
      const { from, whole } = await offerPrefix(frames, file, have)
      await file.truncate(from)
      digest = await receiveChunks(frames, file, { from, size: wanted.size, whole, allowed })
    }
    await file.sync()
    const received: Received = { name: await publish(path, options.inbox, name), bytes: wanted.size, sha256: toHex(digest) }
    await options.record(received)
    await frames.send(stored, { name: received.name, digest })
    frames.end()
    return received
  } finally {
    await file?.close()
    reservation?.release()
    unclaim()
  }
}

interface Left {
  readonly size: number
  /** A file fetched from several peers has holes. */
  readonly onDisk: number
}

const NOTHING: Left = { size: 0, onDisk: 0 }
const BLOCK_BYTES = 512

async function leftOf(path: string): Promise<Left> {
  return await lstat(path).then(
    (found) => (isOwn(found) ? { size: found.size, onDisk: found.blocks * BLOCK_BYTES } : NOTHING),
    () => NOTHING,
  )
}

/**
 * Opens the unfinished file, or makes it. What else stands there goes away unopened: a link, or a file that has another name too, such as a finished one
 * whose transfer was killed between its new name and the end of its old one. Nothing is ever written through those.
 */
async function openOwn(path: string): Promise<FileHandle> {
  const fresh = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return await open(path, fresh, 0o600)
  if (isOwn(found)) {
    const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW, 0o600)
    if (isOwn(await file.stat())) return file
    await file.close()
  }
  await unlink(path)
  return await open(path, fresh, 0o600)
}

function isOwn(found: Stats): boolean {
  return found.isFile() && found.nlink === 1
}

/** Says what is here already, and learns from where the sender goes on. */
async function offerPrefix(frames: FrameStream, file: FileHandle, have: number): Promise<{ from: number; whole: Sha256 }> {
  const whole = createSha256()
  const chunks = createSha256()
  const data = Buffer.allocUnsafeSlow(have === 0 ? 0 : CHUNK_BYTES)
  for (let at = 0; at < have; at += CHUNK_BYTES) {
    await file.read(data, 0, CHUNK_BYTES, at)
    chunks.update(sha256(data))
    whole.update(data)
  }
  await frames.send(resume, { have, digest: chunks.digest() })
  const { from } = await frames.read(begin, begin.max)
  if (from !== have && from !== 0) throw new KithError('WIRE_MALFORMED', 'the sender goes on at a place that was not offered')
  return from === have ? { from, whole } : { from, whole: createSha256() }
}

interface Expected {
  readonly from: number
  readonly size: number
  readonly whole: Sha256
  readonly allowed: () => void
}

async function receiveChunks(frames: FrameStream, file: FileHandle, { from, size, whole, allowed }: Expected): Promise<Uint8Array> {
  let at = from
  for (;;) {
    allowed()
    const tag = (await frames.bytes(1))[0]
    if (tag === DONE) break
    if (tag !== CHUNK) throw new KithError('WIRE_MALFORMED', 'neither a chunk nor the end')
    const header = Buffer.concat([Uint8Array.of(CHUNK), await frames.bytes(chunkHeader.max - 1)])
    const length = header.readUInt32BE(1)
    // Only the last chunk may be shorter, and together they make exactly what was offered.
    if (length !== Math.min(CHUNK_BYTES, size - at) || length === 0) throw new KithError('WIRE_MALFORMED', 'a chunk of the wrong length')
    const data = await frames.bytes(length)
    if (!equal(sha256(data), header.subarray(5))) throw new KithError('FILE_MISMATCH')
    await writeExactly(file, data, at)
    whole.update(data)
    at += length
  }
  const claimed = await frames.bytes(done.max - 1)
  const digest = whole.digest()
  if (at !== size || !equal(digest, claimed)) throw new KithError('FILE_MISMATCH', 'the file as a whole does not match its digest')
  return digest
}

/** Gives the finished file its name without ever replacing another: a hard link fails where something stands. */
async function publish(path: string, inbox: string, name: string): Promise<string> {
  for (const candidate of alternatives(name)) {
    try {
      await link(path, join(inbox, candidate))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      throw error
    }
    await unlink(path)
    return candidate
  }
  throw new KithError('FILE_EXISTS', `the inbox already holds a thousand files named ${name}`)
}

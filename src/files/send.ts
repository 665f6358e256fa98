import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Duplex } from 'node:stream'
import { equal, toHex, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { createSha256, type Sha256, sha256 } from '../core/crypto/hash.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import { type FileBlobs, fileSource, holderTag, MAX_SHARED_BYTES } from './blobs.ts'
import { type FrameStream, frameStream } from './frame-stream.ts'
import { checkName, MAX_STORED_NAME_BYTES } from './names.ts'
import type { Holder } from './sent.ts'
import { shareFile } from './share.ts'
import {
  begin,
  CHUNK_BYTES,
  chunkHeader,
  done,
  FETCH,
  fetch,
  type Offer,
  offer,
  RESUME,
  type Resume,
  resume,
  STORED_HEAD_BYTES,
  type Stored,
  sharedOffer,
  stored,
  storedRest,
} from './wire.ts'

export interface SendOptions {
  readonly path: string
  /** Go on where an interrupted transfer of the same file stopped. Default false: start over. */
  readonly resume?: boolean
  readonly signal?: AbortSignal
  onProgress?(progress: SendProgress): void
}

export interface SendProgress {
  readonly bytes: number
  readonly total: number
  /** How much of it was already there. */
  readonly resumed: number
}

export interface SendResult {
  readonly bytes: number
  readonly resumed: number
  readonly sha256: string
  /** The name it has in the other side's inbox. */
  readonly name: string
  readonly durationMs: number
  /** Peers it came from: 1 when this node sent all of it, more when others that have it helped. */
  readonly providers: number
}

/** What sending needs of this node. */
export interface SendComponents {
  readonly peer: Did
  readonly clock: Clock
  readonly blobs: FileBlobs | undefined
  /** Peers that have this version of the file from here already, or are getting it. */
  holders(fingerprint: Uint8Array): Promise<readonly Holder[]>
  /** The peer is getting it, until the returned function is called. */
  begin(fingerprint: Uint8Array): () => void
  /** The peer has acknowledged it. */
  delivered(fingerprint: Uint8Array, sha256: Uint8Array): Promise<void>
}

/**
 * Sends one file over an open stream of `kith/file/1`.
 * @throws KithError `FILE_MISSING`, `FILE_NAME`, `FILE_DENIED`, `FILE_QUOTA`, `FILE_CHANGED`, `FILE_MISMATCH`, `LINK_LOST`, `TIMEOUT`, `ABORTED`.
 */
export async function sendFile(duplex: Duplex, components: SendComponents, options: SendOptions): Promise<SendResult> {
  const abort = (): void => {
    duplex.destroy(new KithError('ABORTED'))
  }
  options.signal?.addEventListener('abort', abort, { once: true })
  const frames = frameStream(duplex, components.clock)
  let file: FileHandle | undefined
  try {
    if (options.signal?.aborted === true) throw new KithError('ABORTED')
    file = await openRegular(options.path)
    return await transfer(frames, file, components, options)
  } catch (error) {
    const failure = options.signal?.aborted === true ? new KithError('ABORTED') : asKithError(error, 'INTERNAL')
    frames.fail(failure)
    throw failure
  } finally {
    options.signal?.removeEventListener('abort', abort)
    await file?.close()
  }
}

async function openRegular(path: string): Promise<FileHandle> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw new KithError('FILE_MISSING', `cannot read ${basename(path)}: ${cause.code ?? 'unknown'}`, { cause })
  })
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw new KithError('FILE_MISSING', `${basename(path)} is not a regular file`)
}

/** One version of a file, opened. */
interface Opened {
  readonly file: FileHandle
  readonly name: string
  readonly size: number
  readonly mtimeNs: bigint
}

/** What the other side has acknowledged. */
interface Delivered {
  readonly receipt: Stored
  readonly sha256: Uint8Array
  readonly resumed: number
  readonly providers: number
}

async function transfer(frames: FrameStream, file: FileHandle, components: SendComponents, options: SendOptions): Promise<SendResult> {
  const { clock } = components
  const started = clock.monotonic()
  const before = await file.stat({ bigint: true })
  const name = checkName(basename(options.path).normalize('NFC'))
  const opened: Opened = { file, name, size: Number(before.size), mtimeNs: before.mtimeNs }
  const fingerprint = hashLabeled('icn/file-fingerprint/v1', utf8(name), utf8(`\0${opened.size}\0${before.mtimeNs}`))
  const greeting: Offer = { name, size: opened.size, fingerprint, resume: options.resume === true }
  const ended = components.begin(fingerprint)
  let delivered: Delivered
  try {
    delivered = await deliver(frames, opened, greeting, components, options)
  } finally {
    ended()
  }
  const { receipt, sha256, resumed, providers } = delivered
  await components.delivered(fingerprint, sha256)
  frames.end()
  return {
    bytes: opened.size,
    resumed,
    sha256: toHex(sha256),
    name: checkName(receipt.name, MAX_STORED_NAME_BYTES),
    durationMs: Math.round(clock.monotonic() - started),
    providers,
  }
}

/** Offers it, and gives it in the way the other side wants it. */
async function deliver(frames: FrameStream, opened: Opened, greeting: Offer, components: SendComponents, options: SendOptions): Promise<Delivered> {
  const { fingerprint } = greeting
  const holders = components.blobs === undefined || opened.size === 0 || opened.size > MAX_SHARED_BYTES ? [] : await components.holders(fingerprint)
  if (holders.length === 0) await frames.send(offer, greeting)
  else await frames.send(sharedOffer, { ...greeting, holders: holders.map(({ peer }) => holderTag(fingerprint, peer)) })

  const tag = await frames.bytes(1)
  const isShared = tag[0] === FETCH && holders.length > 0
  if (!isShared && tag[0] !== RESUME) throw new KithError('WIRE_MALFORMED', 'an answer to what was not offered')
  const delivered = isShared
    ? await give(frames, opened, tag, { components, holders, options })
    : await push(frames, opened, await frames.read(resume, resume.max - 1, undefined, tag), options)
  if (!equal(delivered.receipt.digest, delivered.sha256)) throw new KithError('FILE_MISMATCH', 'the other side stored something else')
  return delivered
}

interface Giving {
  readonly components: SendComponents
  readonly holders: readonly Holder[]
  readonly options: SendOptions
}

/** The receiver fetches it, from here and from others. */
async function give(frames: FrameStream, { file, size }: Opened, tag: Uint8Array, { components, holders, options }: Giving): Promise<Delivered> {
  const { blobs, peer, clock } = components
  if (blobs === undefined) throw new KithError('WIRE_MALFORMED', 'an answer to what was not offered')
  const wanted = await frames.read(fetch, 1, (head) => head[0] as number, tag)
  const { receipt, sha256, last } = await shareFile(frames, fileSource(file, size), { blobs, peer, holders }, wanted, {
    clock,
    signal: options.signal,
    onProgress: ({ bytes, resumed }) => options.onProgress?.({ bytes, total: size, resumed }),
  })
  return { receipt, sha256, resumed: last.resumed, providers: last.peers }
}

/** All of it goes through this stream. */
async function push(frames: FrameStream, opened: Opened, answer: Resume, options: SendOptions): Promise<Delivered> {
  const { file, name, size, mtimeNs } = opened
  if (answer.have % CHUNK_BYTES !== 0 || answer.have > size) throw new KithError('WIRE_MALFORMED', 'the other side claims more than was offered')
  const { from, whole } = await agreeOnPrefix(file, answer.have, answer.digest)
  await frames.send(begin, { from })
  options.onProgress?.({ bytes: from, total: size, resumed: from })

  // Two buffers: while one is being written the next chunk is read and hashed into the other.
  const buffers = [Buffer.allocUnsafeSlow(CHUNK_BYTES), Buffer.allocUnsafeSlow(CHUNK_BYTES)] as const
  let writing: Promise<void> = Promise.resolve()
  for (let at = from, turn = 0; at < size; turn ^= 1) {
    const length = Math.min(CHUNK_BYTES, size - at)
    const data = (buffers[turn] as Buffer).subarray(0, length)
    await readExactly(file, data, at)
    whole.update(data)
    const digest = sha256(data)
    await writing
    await frames.send(chunkHeader, { length, digest })
    writing = frames.write(data)
    // Awaited in the next round or after the loop; until then a rejection must not count as unhandled.
    writing.catch(() => {})
    at += length
    options.onProgress?.({ bytes: at, total: size, resumed: from })
  }
  await writing
  const after = await file.stat({ bigint: true })
  if (Number(after.size) !== size || after.mtimeNs !== mtimeNs) throw new KithError('FILE_CHANGED', `${name} changed while it was being sent`)
  const digest = whole.digest()
  await frames.send(done, { digest })
  const receipt = await frames.read(stored, STORED_HEAD_BYTES, storedRest)
  return { receipt, sha256: digest, resumed: from, providers: 1 }
}

/** Hashes what the other side claims to have; its prefix is kept only when every chunk agrees. The returned state has taken in the kept prefix. */
async function agreeOnPrefix(file: FileHandle, have: number, claimed: Uint8Array): Promise<{ from: number; whole: Sha256 }> {
  const chunks = createSha256()
  const whole = createSha256()
  const data = Buffer.allocUnsafeSlow(have === 0 ? 0 : CHUNK_BYTES)
  for (let at = 0; at < have; at += CHUNK_BYTES) {
    await readExactly(file, data, at)
    chunks.update(sha256(data))
    whole.update(data)
  }
  return have === 0 || equal(chunks.digest(), claimed) ? { from: have, whole } : { from: 0, whole: createSha256() }
}

async function readExactly(file: FileHandle, target: Buffer, position: number): Promise<void> {
  for (let at = 0; at < target.length; ) {
    const { bytesRead } = await file.read(target, at, target.length - at, position + at)
    if (bytesRead === 0) throw new KithError('FILE_CHANGED', 'the file became shorter while it was being sent')
    at += bytesRead
  }
}

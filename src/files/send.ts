import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Duplex } from 'node:stream'
import { equal, toHex, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { createSha256, type Sha256, sha256 } from '../core/crypto/hash.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { type FrameStream, frameStream } from './frame-stream.ts'
import { checkName, MAX_STORED_NAME_BYTES } from './names.ts'
import { begin, CHUNK_BYTES, chunkHeader, done, type Offer, offer, resume, STORED_HEAD_BYTES, stored, storedRest } from './wire.ts'

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
}

/**
 * Sends one file over an open stream of `kith/file/1`.
 * @throws KithError `FILE_MISSING`, `FILE_NAME`, `FILE_DENIED`, `FILE_QUOTA`, `FILE_CHANGED`, `FILE_MISMATCH`, `LINK_LOST`, `TIMEOUT`, `ABORTED`.
 */
export async function sendFile(duplex: Duplex, clock: Clock, options: SendOptions): Promise<SendResult> {
  const abort = (): void => {
    duplex.destroy(new KithError('ABORTED'))
  }
  options.signal?.addEventListener('abort', abort, { once: true })
  const frames = frameStream(duplex, clock)
  let file: FileHandle | undefined
  try {
    if (options.signal?.aborted === true) throw new KithError('ABORTED')
    file = await openRegular(options.path)
    return await transfer(frames, file, clock, options)
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

async function transfer(frames: FrameStream, file: FileHandle, clock: Clock, options: SendOptions): Promise<SendResult> {
  const started = clock.monotonic()
  const before = await file.stat({ bigint: true })
  const name = checkName(basename(options.path).normalize('NFC'))
  const size = Number(before.size)
  const fingerprint = hashLabeled('icn/file-fingerprint/v1', utf8(name), utf8(`\0${size}\0${before.mtimeNs}`))
  const greeting: Offer = { name, size, fingerprint, resume: options.resume === true }
  await frames.send(offer, greeting)

  const answer = await frames.read(resume, resume.max)
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
  if (after.size !== before.size || after.mtimeNs !== before.mtimeNs) throw new KithError('FILE_CHANGED', `${name} changed while it was being sent`)
  const digest = whole.digest()
  await frames.send(done, { digest })
  const receipt = await frames.read(stored, STORED_HEAD_BYTES, storedRest)
  if (!equal(receipt.digest, digest)) throw new KithError('FILE_MISMATCH', 'the other side stored something else')
  frames.end()
  return {
    bytes: size,
    resumed: from,
    sha256: toHex(digest),
    name: checkName(receipt.name, MAX_STORED_NAME_BYTES),
    durationMs: Math.round(clock.monotonic() - started),
  }
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

import { lstat, readdir, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { fromHex, parseUtf8, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { makeFolder } from '../core/make-folder.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store, StoreOp } from '../core/store/types.ts'
import { type Did, shortDid } from '../identity/did.ts'
import type { Policy, ProtocolOptions, StreamContext, StreamHandler } from '../mesh/types.ts'
import type { FileBlobs } from './blobs.ts'
import { heldRow, openHeld } from './held.ts'
import { type Received, type Reservation, receiveFile } from './receive.ts'
import { type SendComponents, type SendOptions, type SendResult, sendFile } from './send.ts'
import { createSentFiles } from './sent.ts'
import { FILE_PROTOCOL } from './wire.ts'

/** What files need of the mesh. */
export interface FileMesh {
  readonly did: Did
  /** What the owner calls a peer, for sentences. */
  nameOf?(peer: Did): string | undefined
  open(peer: Did, protocol: string, options: { signal?: AbortSignal }): Promise<Duplex>
  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): void
}

export interface FilesOptions {
  readonly mesh: FileMesh
  readonly policy: Policy
  /** With it, a file that several peers have is fetched from all of them. `createBlobs` of `gossip/blobs` makes one. */
  readonly blobs?: FileBlobs
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  /** Directory of finished files; made with 0700. Unfinished ones lie in `.partial` inside it. */
  readonly inbox: string
  /** What finished and unfinished files together may take, in blocks of 4 KiB. Read with each offer, so it may be a getter. Default 10 GiB. */
  readonly quotaBytes?: number
}

/** One received file, as `kith inbox --json` prints it. */
export interface InboxEntry {
  readonly name: string
  readonly from: Did
  readonly bytes: number
  readonly sha256: string
  readonly received_at: string
  /** Whether it still lies in the inbox. */
  readonly here: boolean
}

export interface Files {
  /** @throws KithError as `sendFile`; `FILE_DENIED` names in `next` what the other side would have to run. */
  send(peer: Did, options: SendOptions): Promise<SendResult>
  /** Newest first. */
  list(options?: { limit?: number }): Promise<readonly InboxEntry[]>
  readonly inbox: string
  /** Ends transfers that run; resolves when nothing uses the inbox or the store any more. */
  close(): Promise<void>
}

const DEFAULT_QUOTA_BYTES = 10 * 2 ** 30
/** Transfers from one peer at once. */
const MAX_TRANSFERS_PER_PEER = 4
/** What an interrupted transfer left behind is dropped after a week. */
const PARTIAL_LIFE_MS = 7 * 86_400_000
/** Never fill the disk to the brim: other programs live here too. */
const KEEP_FREE_BYTES = 64 * 2 ** 20
/** What even the smallest file takes: otherwise empty ones would never fill a quota. */
const BLOCK_BYTES = 4_096
/** Files that the inbox holds at once: it is a place to take things out of, and looked through with each offer. */
const MAX_FILES = 20_000
const NAMESPACE = 'inbox'

/** File transfer of one node: its inbox under policy and quota, and sending to others. */
export async function createFiles(options: FilesOptions): Promise<Files> {
  const { mesh, policy, blobs, store, clock, logger, inbox } = options
  const partials = join(inbox, '.partial')
  makeFolder(partials)
  await dropOldPartials(partials, clock.now())
  const sent = createSentFiles(store, clock)
  const running = new Map<string, { cancel: () => void; ended: Promise<void> }>()
  const perPeer = new Map<Did, number>()
  const streams = new Set<Duplex>()
  const receiving = new Set<Promise<void>>()
  /** By the path of the unfinished file; only one transfer holds it at a time. */
  const reservations = new Map<string, { readonly bytes: number; readonly missing: number }>()
  let admitting: Promise<unknown> = Promise.resolve()

  async function claim(partial: string, cancel: () => void): Promise<() => void> {
    for (let older = running.get(partial); older !== undefined; older = running.get(partial)) {
      older.cancel()
      await older.ended
    }
    let finish: () => void = () => {}
    const ended = new Promise<void>((resolve) => {
      finish = resolve
    })
    running.set(partial, { cancel, ended })
    return () => {
      running.delete(partial)
      finish()
    }
  }

  /** Offers are looked at one after the other: two at once must not both take the room that only one has. */
  function admit(partial: string, size: number, have: number): Promise<Reservation> {
    const admitted = admitting.then(() => reserve(partial, size, have))
    admitting = admitted.catch(() => undefined)
    return admitted
  }

  async function reserve(partial: string, size: number, have: number): Promise<Reservation> {
    // A transfer under way counts with its whole size, and what it has stored already not once more.
    const reserved = [...reservations.values()].reduce((sum, { bytes }) => sum + bytes, 0)
    const missing = [...reservations.values()].reduce((sum, one) => sum + one.missing, 0)
    const finished = await usage(inbox, () => false)
    const unfinished = await usage(partials, (path) => path === partial || reservations.has(path))
    const { bavail, bsize } = await statfs(inbox)
    const mine = { bytes: inBlocks(size), missing: size - have }
    const full = finished.bytes + unfinished.bytes + reserved + mine.bytes > (options.quotaBytes ?? DEFAULT_QUOTA_BYTES)
    if (full || finished.files + reservations.size >= MAX_FILES || missing + mine.missing > bavail * bsize - KEEP_FREE_BYTES)
      throw new KithError('FILE_QUOTA', undefined, { details: { needed_bytes: mine.missing } })
    reservations.set(partial, mine)
    return { release: () => void reservations.delete(partial) }
  }

  async function record(peer: Did, received: Received): Promise<void> {
    const entry: Omit<InboxEntry, 'here'> = { ...received, from: peer, received_at: new Date(clock.now()).toISOString() }
    const row: StoreOp = { type: 'put', ns: NAMESPACE, key: utf8(`${entry.received_at} ${entry.name}`), value: utf8(JSON.stringify(entry)) }
    await store.batch([row, heldRow(peer, fromHex(entry.sha256), entry.name)], { durable: true })
    logger.info('file received', { peer, bytes: received.bytes })
  }

  function allowed(peer: Did): void {
    const decision = policy.decide({ peer, action: 'file' })
    if (decision.allowed) return
    logger.info('file refused', { peer, rule: decision.rule, next: decision.next })
    throw new KithError('FILE_DENIED')
  }

  async function receive(stream: Duplex, { peer, linkKey }: StreamContext): Promise<void> {
    streams.add(stream)
    const count = perPeer.get(peer) ?? 0
    perPeer.set(peer, count + 1)
    try {
      allowed(peer)
      if (count >= MAX_TRANSFERS_PER_PEER) throw new KithError('BUDGET_EXCEEDED', 'too many transfers at once')
      await receiveFile(stream, {
        peer,
        device: linkKey,
        own: mesh.did,
        blobs,
        inbox,
        partials,
        clock,
        claim,
        allowed: () => allowed(peer),
        admit: ({ partial, size, have }) => admit(partial, size, have),
        record: (received) => record(peer, received),
      })
    } catch (error) {
      const failure = asKithError(error, 'INTERNAL')
      if (failure.code === 'INTERNAL') logger.warn('file transfer failed', { peer, error: String(error) })
      stream.destroy(failure)
    } finally {
      streams.delete(stream)
      const left = (perPeer.get(peer) ?? 1) - 1
      if (left === 0) perPeer.delete(peer)
      else perPeer.set(peer, left)
    }
  }

  mesh.handle(
    FILE_PROTOCOL,
    async (stream, context) => {
      const work = receive(stream, context)
      receiving.add(work)
      await work
      receiving.delete(work)
    },
    { access: 'handler' },
  )

  function sending(peer: Did): SendComponents {
    return {
      peer,
      clock,
      blobs,
      // A cache: without it this node sends the file alone, and what arrived has arrived.
      holders: (fingerprint) => sent.holders(fingerprint, peer).catch(() => []),
      begin: (fingerprint) => sent.begin(fingerprint, peer),
      delivered: (fingerprint, digest) => sent.record(fingerprint, peer, digest).catch(() => undefined),
    }
  }

  const stopProviding = blobs?.provide((claim) => openHeld(store, inbox, claim))

  return {
    inbox,
    async send(peer, sendOptions) {
      const stream = await mesh.open(peer, FILE_PROTOCOL, sendOptions.signal === undefined ? {} : { signal: sendOptions.signal })
      streams.add(stream)
      try {
        return await sendFile(stream, sending(peer), sendOptions)
      } catch (error) {
        throw explain(asKithError(error, 'INTERNAL'), mesh.did, peer, mesh.nameOf?.(peer))
      } finally {
        streams.delete(stream)
      }
    },
    async list({ limit = 1_000 } = {}) {
      const entries: InboxEntry[] = []
      for await (const { value } of store.scan(NAMESPACE, { reverse: true, limit })) {
        const text = parseUtf8(value)
        if (text === undefined) continue
        const entry = JSON.parse(text) as Omit<InboxEntry, 'here'>
        entries.push({ ...entry, here: await isHere(join(inbox, entry.name), entry.bytes) })
      }
      return entries
    },
    async close() {
      stopProviding?.()
      for (const stream of streams) stream.destroy(new KithError('GOING_AWAY'))
      await Promise.all(receiving)
    },
  }
}

/** A refusal arrives as a number; who must run which command on which machine is known here. */
function explain(error: KithError, me: Did, peer: Did, name: string | undefined): KithError {
  if (error.code === 'FILE_DENIED' || error.code === 'POLICY_DENIED') {
    return new KithError('FILE_DENIED', `this node may not send files to ${name ?? shortDid(peer)}`, {
      remote: true,
      details: { peer },
      next: `on the other machine: kith allow ${me} file`,
      cause: error,
    })
  }
  if (!error.retryable || error.code === 'ABORTED') return error
  return new KithError(error.code, error.message, { details: error.details, remote: error.remote, next: 'run the same command with --resume', cause: error })
}

async function isHere(path: string, bytes: number): Promise<boolean> {
  return await lstat(path).then(
    (found) => found.isFile() && found.size === bytes,
    () => false,
  )
}

async function usage(folder: string, except: (path: string) => boolean): Promise<{ readonly files: number; readonly bytes: number }> {
  let files = 0
  let bytes = 0
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (!entry.isFile() || except(path)) continue
    files++
    bytes += await lstat(path).then(
      ({ size }) => inBlocks(size),
      () => 0,
    )
  }
  return { files, bytes }
}

function inBlocks(size: number): number {
  return Math.max(1, Math.ceil(size / BLOCK_BYTES)) * BLOCK_BYTES
}

async function dropOldPartials(folder: string, now: number): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.part')) continue
    const path = join(folder, entry.name)
    const { mtimeMs } = await lstat(path)
    if (now - mtimeMs > PARTIAL_LIFE_MS) await unlink(path)
  }
}

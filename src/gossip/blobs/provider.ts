import { equal } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { LinkStream } from '../../transport/types.ts'
import { type Board, pageBytes, type Task, topBytes } from './board.ts'
import { Frames } from './frames.ts'
import { CHUNK_BYTES, chunkHash, chunkLength } from './layout.ts'
import type { Pace } from './pace.ts'
import { CHUNK_HEAD_BYTES, checkChunkHead, encodeGet, encodeOpen, encodePage, encodeTop, KIND, NONCE_BYTES, type OpenPapers } from './wire.ts'

/** What a fetch is to each of its providers. */
export interface FetchSession {
  readonly board: Board
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal
  /** The hashes of a page are here: what lies on the disk is looked at, then its chunks are given out. */
  examine(page: number): Promise<void>
  /** A verified chunk. */
  keep(peer: Did, chunk: number, data: Uint8Array): Promise<void>
  /** The provider did what no correct one does. */
  report(supply: Supply, evidence: Uint8Array): void
  changed(): void
  waitForChange(ms: number): Promise<void>
}

/** One provider over one stream. */
export interface Supply {
  readonly peer: Did
  readonly stream: LinkStream
  readonly grant: Uint8Array | undefined
  readonly papers: OpenPapers | undefined
  readonly pace: Pace
}

/** A provider may look at a large file first, and says that it does. */
const READY_MS = 30_000
/** A provider that delivers nothing for so long loses its place; its chunks have gone to others before. */
const SILENT_MS = 15_000
/** Questions that are out at once: the next is there when the last has been answered. */
const DEPTH = 2
/** How often an idle provider looks whether there is something to take over. */
const LOOK_MS = 250

/**
 * Asks one provider for pages and chunks until the blob is complete or nothing is left for it to do. Returns when the provider has done its part.
 * @throws KithError `BLOB_MISMATCH` and `WIRE_MALFORMED` for what no correct provider sends (reported), or what ended the stream.
 */
export async function fetchFrom(session: FetchSession, supply: Supply): Promise<void> {
  const { clock, signal, board } = session
  const frames = new Frames(supply.stream, { clock, idleMs: READY_MS })
  const abort = (): void => frames.fail(new KithError('ABORTED'))
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  try {
    await open(session, supply, frames)
    frames.idleMs = SILENT_MS
    await exchange(session, supply, frames)
    frames.end()
  } catch (error) {
    frames.fail(isKithError(error) ? error : new KithError('INTERNAL', undefined, { cause: error }))
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
    board.giveBack(supply.pace)
    session.changed()
  }
}

async function open(session: FetchSession, supply: Supply, frames: Frames): Promise<void> {
  const { board, random } = session
  const { grant, papers } = supply
  await frames.write(encodeOpen({ ...board.ref, nonce: random.bytes(NONCE_BYTES), grant, papers }))
  for (;;) {
    const [kind] = await frames.read(1)
    if (kind === KIND.ready) break
    if (kind !== KIND.wait) throw deceived(session, supply, new KithError('WIRE_MALFORMED', 'neither ready nor waiting'), Uint8Array.of(kind ?? 0))
  }
  if (board.hasTop) return
  await frames.write(encodeTop())
  await expectKind(session, supply, frames, KIND.topIs)
  const top = await frames.read(topBytes(board.ref.size))
  if (!board.setTop(top)) throw deceived(session, supply, new KithError('BLOB_MISMATCH', 'page hashes of another blob'), top)
}

interface Question {
  readonly task: Task
  readonly id: number
}

async function exchange(session: FetchSession, supply: Supply, frames: Frames): Promise<void> {
  const { board, clock } = session
  const { pace } = supply
  const asked: Question[] = []
  // One chunk at a time is read, checked and written before the next.
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  let ids = 0
  while (!board.done) {
    while (asked.length < DEPTH) {
      const task = board.next(pace, clock.monotonic())
      if (task === undefined) break
      const question = { task, id: task.kind === 'span' ? ids++ : 0 }
      asked.push(question)
      if (task.kind === 'span') pace.asked(task.count, clock.monotonic())
      await frames.write(task.kind === 'page' ? encodePage(task.page) : encodeGet({ id: question.id, first: task.first, count: task.count }))
    }
    const question = asked.shift()
    if (question !== undefined) await answer(session, supply, frames, question, buffer)
    else if (frames.unasked) throw deceived(session, supply, new KithError('WIRE_MALFORMED', 'bytes that nobody asked for'), new Uint8Array(0))
    else if (frames.failure !== undefined) throw frames.failure
    else if (frames.over) throw new KithError('LINK_LOST', 'the provider left')
    else await session.waitForChange(LOOK_MS)
    if (session.signal.aborted) throw new KithError('ABORTED')
  }
}

async function answer(session: FetchSession, supply: Supply, frames: Frames, { task, id }: Question, buffer: Buffer): Promise<void> {
  if (task.kind === 'page') await takePage(session, supply, frames, task.page)
  else {
    for (let chunk = task.first; chunk < task.first + task.count; chunk++) await takeChunk(session, supply, frames, { id, chunk }, buffer)
  }
}

async function takePage(session: FetchSession, supply: Supply, frames: Frames, page: number): Promise<void> {
  const { board } = session
  await expectKind(session, supply, frames, KIND.pageIs)
  const head = await frames.read(4)
  if (head.readUInt32BE(0) !== page) throw deceived(session, supply, new KithError('WIRE_MALFORMED', 'a page that was not asked for'), head)
  const hashes = await frames.read(pageBytes(board.ref.size, page))
  if (!board.setPage(page, hashes)) throw deceived(session, supply, new KithError('BLOB_MISMATCH', 'chunk hashes of another page'), hashes)
  if (board.examines(page)) await session.examine(page)
}

async function takeChunk(
  session: FetchSession,
  supply: Supply,
  frames: Frames,
  asked: { readonly id: number; readonly chunk: number },
  buffer: Buffer,
): Promise<void> {
  const { board, clock } = session
  const { id, chunk } = asked
  const { size } = board.ref
  const head = await frames.read(CHUNK_HEAD_BYTES)
  try {
    checkChunkHead(head, { id, chunk, size })
  } catch (error) {
    throw deceived(session, supply, error, head)
  }
  const data = buffer.subarray(0, chunkLength(size, chunk))
  await frames.readInto(data)
  supply.pace.delivered(data.length, clock.monotonic())
  const expected = board.hashOf(chunk)
  // Somebody else was quicker, and the page is done with.
  if (expected === undefined) return
  if (!equal(chunkHash(data), expected)) throw deceived(session, supply, new KithError('BLOB_MISMATCH'), Buffer.concat([head, chunkHash(data)]))
  await session.keep(supply.peer, chunk, data)
}

async function expectKind(session: FetchSession, supply: Supply, frames: Frames, kind: number): Promise<void> {
  const found = await frames.read(1)
  if (found[0] !== kind) throw deceived(session, supply, new KithError('WIRE_MALFORMED', 'not the answer to what was asked'), found)
}

/**
 * A provider has hashed what it sends (`ServedBlob`), and the link is authenticated: wrong bytes are its own doing, whatever others sent it. So they count as a
 * first-hand, context-free violation (PN-10), and so does every answer to a question that was not asked.
 */
function deceived(session: FetchSession, supply: Supply, error: unknown, evidence: Uint8Array): KithError {
  session.report(supply, evidence)
  return isKithError(error) ? error : new KithError('WIRE_MALFORMED', undefined, { cause: error })
}

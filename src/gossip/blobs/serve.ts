import type { Clock } from '../../core/clock.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import { patient } from '../../core/patient.ts'
import type { Did } from '../../identity/did.ts'
import type { Conduct, LinkViolation, Policy, StreamContext } from '../../mesh/types.ts'
import type { LinkStream } from '../../transport/types.ts'
import type { BlobMetrics } from './blob-metrics.ts'
import { Frames } from './frames.ts'
import { type Grant, type GrantMessages, isFor, readGrant, stillHolds } from './grant.ts'
import { CHUNK_BYTES, PAGE_CHUNKS, pageCount } from './layout.ts'
import type { ServedBlob } from './manifest.ts'
import type { NonceGuard } from './nonce-guard.ts'
import type { Lease, Shelf } from './shelf.ts'
import type { Slots } from './slots.ts'
import {
  BLOB_PROTOCOL,
  CHUNK_HEAD_BYTES,
  decodeGet,
  decodeOpening,
  decodePage,
  encodeChunkHead,
  GET_BODY_BYTES,
  KIND,
  MAX_OPENING_BYTES,
  type Opening,
  opening as openingCodec,
} from './wire.ts'

export interface ServeComponents {
  readonly own: Did
  readonly clock: Clock
  readonly policy: Policy
  readonly messages: GrantMessages
  readonly shelf: Shelf
  readonly nonces: NonceGuard
  readonly slots: Slots
  readonly conduct: Pick<Conduct, 'report'> | undefined
  readonly metrics: BlobMetrics
}

/** A requester says what it wants at once. */
const OPEN_MS = 15_000
/** And goes on asking, or taking, within this; its place is wanted by others. */
const IDLE_MS = 60_000
/** How often a requester is told that its file is still being looked at. */
const WAIT_EVERY_MS = 5_000
/** Times that all pages may be read again for one requester, and some more: reading 16 MiB for a question of five bytes is not free. */
const PAGE_ROUNDS = 4
const PAGE_EXTRA = 64

/** Gives one blob to one peer, over one stream, until it has enough. Never throws; the stream ends with the code. */
export async function serveBlob(components: ServeComponents, stream: LinkStream, context: StreamContext, closing: AbortSignal): Promise<void> {
  const frames = new Frames(stream, { clock: components.clock, idleMs: OPEN_MS })
  const session = new ServeSession(components, frames, context)
  const leave = (): void => frames.fail(new KithError('GOING_AWAY'))
  if (closing.aborted) leave()
  else closing.addEventListener('abort', leave, { once: true })
  try {
    await session.run()
    frames.end()
    components.metrics.served('done')
  } catch (error) {
    const failure = asKithError(error, 'INTERNAL')
    components.metrics.served(failure.code)
    frames.fail(failure)
  } finally {
    closing.removeEventListener('abort', leave)
    session.close()
  }
}

class ServeSession {
  readonly #components: ServeComponents
  readonly #frames: Frames
  readonly #context: StreamContext
  #lease: Lease | undefined
  #slot: (() => void) | undefined
  #grant: Grant | undefined
  /** Pages that may still be read for this requester. */
  #reads = 0
  #nextId = 0

  constructor(components: ServeComponents, frames: Frames, context: StreamContext) {
    this.#components = components
    this.#frames = frames
    this.#context = context
  }

  async run(): Promise<void> {
    const { slots } = this.#components
    const { peer } = this.#context
    if (!slots.mayAsk(peer)) throw new KithError('BUDGET_EXCEEDED')
    const wanted = await this.#opening()
    this.#slot = slots.take(peer)
    const { blob } = await this.#admit(wanted)
    this.#reads = PAGE_ROUNDS * pageCount(blob.manifest.size) + PAGE_EXTRA
    this.#frames.idleMs = IDLE_MS
    await this.#frames.write(Uint8Array.of(KIND.ready))
    for (;;) {
      const kind = await this.#frames.readByte()
      if (kind === undefined) return
      this.#check()
      await this.#answer(kind, blob)
    }
  }

  close(): void {
    this.#lease?.release()
    this.#slot?.()
  }

  async #opening(): Promise<Opening> {
    const head = await this.#frames.read(5)
    const length = head.readUInt32BE(1)
    if (head[0] !== KIND.open || length < openingCodec.min || length > MAX_OPENING_BYTES) throw this.#violated('malformed-frame', head)
    const body = await this.#frames.read(length)
    try {
      return decodeOpening(body)
    } catch (error) {
      throw this.#violated('malformed-frame', body, error)
    }
  }

  /**
   * Whether this peer gets this blob. Everything that is not a yes is `BLOB_UNKNOWN`, so that nobody learns from here who has what; the grant is checked before
   * anything is looked for, so that the time tells no more than the word.
   */
  async #admit(wanted: Opening): Promise<Lease> {
    const { shelf, nonces, metrics } = this.#components
    const { peer } = this.#context
    this.#check()
    let lease: Lease | undefined
    if (wanted.grant === undefined) lease = shelf.offered(peer, wanted)
    else {
      this.#grant = await this.#obeyed(wanted, wanted.grant)
      if (this.#grant !== undefined) lease = await this.#patient(shelf.granted(this.#grant))
    }
    this.#lease = lease
    if (lease === undefined) throw new KithError('BLOB_UNKNOWN')
    if (!nonces.mark(peer, wanted.nonce)) {
      metrics.replayed()
      throw new KithError('REPLAYED')
    }
    return lease
  }

  /** The grant, when it allows exactly this; `undefined` for everything else. @throws KithError `DEVICE_UNKNOWN`: the requester may send papers. */
  async #obeyed(wanted: Opening, bytes: Uint8Array): Promise<Grant | undefined> {
    const { messages, clock, own } = this.#components
    const { peer, linkKey } = this.#context
    const { papers } = wanted
    try {
      if (papers !== undefined) await messages.directory.learn({ did: messages.readRecord(bytes).from, ...papers })
      const grant = await readGrant(messages, bytes, { peer, device: linkKey }, clock.now())
      return isFor(grant, wanted) && grant.recipient === peer && grant.providers.includes(own) ? grant : undefined
    } catch (error) {
      const isUnmet = isKithError(error, 'DEVICE_UNKNOWN') || isKithError(error, 'BINDING_EXPIRED')
      if (isUnmet && papers === undefined) throw new KithError('DEVICE_UNKNOWN', undefined, { cause: error })
      return undefined
    }
  }

  /** Tells the other side, now and then, that an answer is coming. */
  #patient<T>(work: Promise<T>): Promise<T> {
    return patient(this.#components.clock, WAIT_EVERY_MS, () => this.#frames.write(Uint8Array.of(KIND.wait)), work)
  }

  /** Asked with every question: what the owner takes back, or what has run out, ends at once. */
  #check(): void {
    const { policy, clock } = this.#components
    const { peer } = this.#context
    if (!policy.decide({ peer, action: 'open', target: BLOB_PROTOCOL }).allowed) throw new KithError('POLICY_DENIED')
    if (this.#lease?.valid() === false || (this.#grant !== undefined && !stillHolds(this.#grant, clock.now()))) throw new KithError('BLOB_UNKNOWN')
  }

  async #answer(kind: number, blob: ServedBlob): Promise<void> {
    const { size, top } = blob.manifest
    switch (kind) {
      case KIND.top:
        return await this.#frames.write(Uint8Array.of(KIND.topIs), top)
      case KIND.page: {
        const page = this.#parsed(await this.#frames.read(4), (body) => decodePage(body, size))
        this.#charge(blob, page)
        const head = Buffer.alloc(5)
        head[0] = KIND.pageIs
        head.writeUInt32BE(page, 1)
        return await this.#frames.write(head, await blob.page(page))
      }
      case KIND.get:
        return await this.#give(blob)
      default:
        throw this.#violated('malformed-frame', Uint8Array.of(kind))
    }
  }

  async #give(blob: ServedBlob): Promise<void> {
    const { size } = blob.manifest
    const { id, first, count } = this.#parsed(await this.#frames.read(GET_BODY_BYTES), (body) => {
      const get = decodeGet(body, size)
      if (get.id !== this.#nextId) throw new KithError('WIRE_MALFORMED', 'a question out of order')
      return get
    })
    this.#nextId++
    this.#charge(blob, Math.floor(first / PAGE_CHUNKS))
    const data = await blob.chunks(first, count)
    for (let i = 0; i < count; i++) {
      const part = data.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES)
      await this.#frames.write(encodeChunkHead(id, first + i, size), part)
      this.#components.metrics.bytesOut(CHUNK_HEAD_BYTES + part.length)
    }
  }

  #parsed<T>(body: Buffer, parse: (body: Buffer) => T): T {
    try {
      return parse(body)
    } catch (error) {
      throw this.#violated('protocol-state', body, error)
    }
  }

  #charge(blob: ServedBlob, page: number): void {
    if (blob.knows(page)) return
    if (this.#reads === 0) throw new KithError('BUDGET_EXCEEDED', 'the same pages too often')
    this.#reads--
  }

  /** What no correct node sends, whatever it was told: held against the device at the other end (PN-10). */
  #violated(kind: LinkViolation, evidence: Uint8Array, cause?: unknown): KithError {
    const { peer, linkKey } = this.#context
    this.#components.conduct?.report({ peer, device: linkKey, kind, protocol: BLOB_PROTOCOL, evidence: evidence.subarray(0, 256) })
    return isKithError(cause) ? cause : new KithError('WIRE_MALFORMED', undefined, { cause })
  }
}

import { equal } from '../../core/bytes.ts'
import { type Clock, sleep, type Timer } from '../../core/clock.ts'
import { asKithError, type ErrorCode, KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import { Board } from './board.ts'
import type { BlobProvider, BlobSink, FetchComponents, FetchOptions, FetchProgress, FetchResult } from './fetch-types.ts'
import { type BlobRef, CHUNK_BYTES, chunkHash, chunkLength, chunksInPage, isBlobSize, PAGE_CHUNKS } from './layout.ts'
import { Pace } from './pace.ts'
import { type FetchSession, fetchFrom, type Supply } from './provider.ts'

/** A fetch in which no chunk was kept for so long has failed. */
const STALL_MS = 60_000
const MAX_SOURCES = 17
/** Failures after which a provider is not asked again in this fetch. */
const MAX_TRIES = 6
const BACKOFF_MS = 1_000
/** Whoever deceives, or says no for good, is not asked again; the rest may recover. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'BLOB_MISMATCH',
  'WIRE_MALFORMED',
  'BLOB_UNKNOWN',
  'BLOB_CHANGED',
  'POLICY_DENIED',
  'PROTOCOL_UNKNOWN',
  'PEER_UNKNOWN',
  'BANNED',
])

/**
 * Fetches a blob from several peers at once into a sink; every chunk is checked against the root before it is written.
 * @throws TypeError for a size no blob has. @throws KithError `BLOB_UNAVAILABLE` with the last provider's failure as cause, `TIMEOUT`, `ABORTED`, or what the sink
 * or `allowed` throws.
 */
export async function fetchBlob(components: FetchComponents, ref: BlobRef, sink: BlobSink, options: FetchOptions): Promise<FetchResult> {
  if (!isBlobSize(ref.size)) throw new TypeError(`not the size of a blob: ${ref.size}`)
  const transfer = new Transfer(components, ref, sink, options)
  try {
    const result = await transfer.run()
    components.metrics.fetched('done')
    return result
  } catch (error) {
    components.metrics.fetched(asKithError(error, 'INTERNAL').code)
    throw error
  }
}

class Transfer implements FetchSession {
  readonly board: Board
  readonly clock: Clock
  readonly random: Random
  readonly #components: FetchComponents
  readonly #ref: BlobRef
  readonly #sink: BlobSink
  readonly #options: FetchOptions
  readonly #stop: AbortController = new AbortController()
  readonly #from: Map<Did, number> = new Map()
  readonly #known: Set<Did> = new Set()
  readonly #running: Set<Promise<void>> = new Set()
  readonly #waiters: Set<() => void> = new Set()
  #bytes = 0
  #resumed = 0
  #lastError: KithError | undefined
  #stall: Timer | undefined
  #progressAt: number
  #settle: { resolve(): void; reject(error: unknown): void } | undefined

  constructor(components: FetchComponents, ref: BlobRef, sink: BlobSink, options: FetchOptions) {
    this.#components = components
    this.clock = components.clock
    this.random = components.random
    this.#ref = ref
    this.#sink = sink
    this.#options = options
    this.board = new Board(ref)
    this.#progressAt = components.clock.monotonic()
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  async run(): Promise<FetchResult> {
    const { signal, providers, watch } = this.#options
    if (signal?.aborted === true) throw new KithError('ABORTED', undefined, { cause: signal.reason })
    let unwatch: (() => void) | undefined
    const abort = (): void => this.fatal(new KithError('ABORTED', undefined, { cause: signal?.reason }))
    signal?.addEventListener('abort', abort, { once: true })
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = { resolve, reject }
        if (this.board.done) return resolve()
        this.#watchStall(STALL_MS)
        for (const provider of providers) this.#add(provider)
        unwatch = watch?.((provider) => this.#add(provider))
        this.#look()
      })
    } finally {
      signal?.removeEventListener('abort', abort)
      unwatch?.()
      this.#stall?.cancel()
      this.#stop.abort(new KithError('ABORTED'))
      this.changed()
      // Nobody writes into the sink any more once this has settled.
      await Promise.all(this.#running)
    }
    return { ...this.#progress(), from: this.#from }
  }

  /** Ends the whole fetch: not the provider's doing. */
  fatal(error: unknown): void {
    this.#settle?.reject(error)
    this.#stop.abort(error)
    this.changed()
  }

  async examine(page: number): Promise<void> {
    try {
      if (this.#options.resume === true) await this.#examine(page)
    } catch (error) {
      this.fatal(error)
      throw error
    }
    this.board.pageReady(page)
    this.#advanced()
  }

  async keep(peer: Did, chunk: number, data: Uint8Array): Promise<void> {
    try {
      this.#options.allowed?.()
      if (!this.board.wants(chunk)) return
      await this.#sink.write(data, chunk * CHUNK_BYTES)
    } catch (error) {
      this.fatal(error)
      throw error
    }
    this.#components.metrics.bytesIn(data.length)
    if (!this.board.keep(chunk)) return
    this.#bytes += data.length
    this.#from.set(peer, (this.#from.get(peer) ?? 0) + data.length)
    this.#advanced()
  }

  report(supply: Supply, evidence: Uint8Array): void {
    const { peer, stream } = supply
    this.#components.conduct?.report({
      peer,
      device: stream.connection.remoteKey,
      kind: 'protocol-state',
      protocol: 'icn/blob/1',
      evidence: evidence.subarray(0, 256),
    })
  }

  changed(): void {
    const waiting = [...this.#waiters]
    this.#waiters.clear()
    for (const wake of waiting) wake()
  }

  async waitForChange(ms: number): Promise<void> {
    if (this.signal.aborted || this.board.done) return
    await new Promise<void>((resolve) => {
      const timer = this.clock.after(ms, () => {
        this.#waiters.delete(wake)
        resolve()
      })
      const wake = (): void => {
        timer.cancel()
        resolve()
      }
      this.#waiters.add(wake)
    })
  }

  #add(provider: BlobProvider): void {
    if (this.signal.aborted || this.#known.has(provider.peer) || this.#known.size >= MAX_SOURCES) return
    this.#known.add(provider.peer)
    const work = this.#supply(provider)
      .catch((error: unknown) => this.fatal(error))
      .finally(() => {
        this.#running.delete(work)
        this.#look()
      })
    this.#running.add(work)
  }

  /** One provider, from its first stream to its last. */
  async #supply(provider: BlobProvider): Promise<void> {
    const { peer, grant } = provider
    let withPapers = false
    let tries = 0
    while (tries < MAX_TRIES) {
      if (tries > 0) await sleep(this.clock, BACKOFF_MS * 2 ** (tries - 1) * (0.5 + this.random.unit()), this.signal).catch(() => undefined)
      if (this.signal.aborted || this.board.done) return
      const before = this.#from.get(peer) ?? 0
      try {
        const stream = await this.#components.open(peer, { signal: this.signal })
        const papers = withPapers ? await provider.papers?.() : undefined
        return await fetchFrom(this, { peer, stream, grant, papers, pace: new Pace(this.clock.monotonic()) })
      } catch (thrown) {
        if (this.signal.aborted) return
        const error = asKithError(thrown, 'INTERNAL')
        this.#components.metrics.left(error.code)
        this.#lastError = error
        // One that is named by a grant may be receiving it right now.
        if (FINAL.has(error.code) && !(error.code === 'BLOB_UNKNOWN' && grant !== undefined)) return
        // One that delivered something is as good as new.
        tries = (this.#from.get(peer) ?? 0) > before ? 1 : tries + 1
        if (error.code === 'DEVICE_UNKNOWN' && !withPapers && provider.papers !== undefined) {
          withPapers = true
          tries = 0
        }
      }
    }
  }

  /** What lies in the sink for a page already, chunk by chunk. */
  async #examine(page: number): Promise<void> {
    const { size } = this.#ref
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    for (let place = 0; place < chunksInPage(size, page); place++) {
      if (this.signal.aborted) return
      const chunk = page * PAGE_CHUNKS + place
      const data = buffer.subarray(0, chunkLength(size, chunk))
      const found = await this.#sink.read(data, chunk * CHUNK_BYTES)
      // Nothing lies behind the end.
      if (found === 0) return
      const hash = this.board.hashOf(chunk)
      if (found < data.length || hash === undefined || !equal(chunkHash(data), hash) || !this.board.keep(chunk)) continue
      this.#bytes += data.length
      this.#resumed += data.length
    }
  }

  #advanced(): void {
    this.#progressAt = this.clock.monotonic()
    this.#options.onProgress?.(this.#progress())
    if (this.board.done) this.#settle?.resolve()
    this.changed()
  }

  #progress(): FetchProgress {
    return { bytes: this.#bytes, resumed: this.#resumed, providers: this.#from.size }
  }

  /** Without anybody left who might deliver there is nothing to wait for, unless somebody may still turn up. */
  #look(): void {
    if (this.#running.size > 0 || this.board.done || this.signal.aborted || this.#options.watch !== undefined) return
    this.fatal(this.#unavailable())
  }

  #unavailable(): KithError {
    return new KithError('BLOB_UNAVAILABLE', undefined, { cause: this.#lastError })
  }

  #watchStall(ms: number): void {
    this.#stall = this.clock.after(ms, () => {
      const left = this.#progressAt + STALL_MS - this.clock.monotonic()
      if (left > 0) this.#watchStall(left)
      else if (this.#running.size === 0) this.fatal(this.#unavailable())
      else this.fatal(new KithError('TIMEOUT', 'no peer delivered anything for a minute', { cause: this.#lastError }))
    })
  }
}

import type { Duplex } from 'node:stream'
import { type Clock, sleep, type Timer } from '../core/clock.ts'
import { bytes, type Codec, constant, decode, encode, list, malformed, struct } from '../core/codec.ts'
import { asKithError, isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import { CHAIN_PROTOCOL, fetchChain } from '../mesh/chain-protocol.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { DeviceDirectory } from '../mesh/messages/types.ts'
import { ask, serve } from '../mesh/request-stream.ts'
import type { RecoveryDesk, Source, Taken } from './desk.ts'
import { MAX_MESSAGE_BYTES } from './wire.ts'

/**
 * # `icn/recovery/1`: what two nodes know of one recovery
 *
 * ```text
 * asker   01 | list<bytes message>(1..2)        the recovery, and its end as far as it goes; then the asker's end
 * answer  01 | list<bytes message>(1..2)        the same recovery with what is known there
 * ```
 *
 * Open to the address book: a person who lost everything first pairs with a trustee, which is also how the two speak to each other. The requester asks its trustees
 * until enough of them attested; whoever hears of a recovery tells the owner's machines.
 */
export const RECOVERY_PROTOCOL = 'icn/recovery/1'
const MAX_BYTES = 2 * (MAX_MESSAGE_BYTES + 4) + 2
const POLL_MS = 30_000
/** A person who waits for the answers does not wait longer. */
const TELL_MS = 10_000
/** Links move between connections: what failed for such a reason is tried again soon. */
const TRIES = 3
const AGAIN_MS = 500

interface Exchange {
  readonly _version: undefined
  readonly messages: readonly Uint8Array[]
}

export const exchangeCodec: Codec<Exchange> = struct<Exchange>({ _version: constant(1), messages: list(bytes(MAX_MESSAGE_BYTES), 2) })

export interface RecoveryLinksParts {
  readonly desk: RecoveryDesk
  readonly directory: Pick<DeviceDirectory, 'chainOf' | 'learnChain'>
  readonly mesh: Pick<Mesh, 'handle' | 'open' | 'links' | 'onEvent' | 'showHistories'>
  readonly clock: Clock
  readonly logger: Logger
}

/** Carries recoveries over links: answers who asks, asks trustees, and tells owners. */
export class RecoveryLinks {
  readonly #parts: RecoveryLinksParts
  readonly #stop: AbortController = new AbortController()
  readonly #asking: Map<string, Promise<void>> = new Map()
  readonly #ends: (() => void)[] = []
  #timer: Timer | undefined

  constructor(parts: RecoveryLinksParts) {
    this.#parts = parts
    this.#ends.push(parts.mesh.handle(RECOVERY_PROTOCOL, (stream, { peer, signal }) => this.#serve(stream, peer, signal)))
  }

  start(): void {
    // A trustee that was away when it was named needs the entry that the request follows; the requester brings it along.
    this.#parts.mesh.showHistories((did) => this.#parts.desk.isAbout(did))
    this.#ends.push(
      this.#parts.mesh.onEvent((event) => {
        if (event.type === 'up') void this.tell(event.peer)
      }),
    )
    this.#poll()
  }

  close(): void {
    this.#stop.abort()
    this.#timer?.cancel()
    for (const end of this.#ends) end()
  }

  /** Talks with a peer about everything that concerns it, when it is linked. */
  async tell(peer: Did): Promise<void> {
    await Promise.all(this.#parts.desk.concerning(peer).map((id) => this.#exchange(peer, id)))
  }

  /** Talks with everybody who is linked and whom a recovery concerns; resolves when all have answered, failed, or not answered in time. */
  async tellAll(): Promise<void> {
    const { clock } = this.#parts
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = clock.after(TELL_MS, resolve)
    const told = Promise.all(this.#linked().map((peer) => this.tell(peer)))
    await Promise.race([told, promise])
    timer.cancel()
  }

  /**
   * The history of an identity that is not linked, from whoever is: longer ones replace shorter ones.
   * @throws KithError `RECOVERY_CHAIN` when nobody who is linked has it.
   */
  async learnHistory(did: Did, peers: readonly Did[] = this.#linked()): Promise<ChainState> {
    const { directory, mesh, clock, logger } = this.#parts
    const { signal } = this.#stop
    for (const peer of peers) {
      try {
        const have = await directory.chainOf(did)
        const told = await fetchChain(await mesh.open(peer, CHAIN_PROTOCOL, { signal }), { did, have, clock, signal })
        if (told !== undefined) await directory.learnChain(did, told.pending === undefined ? told.entries : [...told.entries, told.pending.entry])
      } catch (error) {
        logger.debug('a history was not told', { peer, code: asKithError(error, 'INTERNAL').code })
      }
    }
    const chain = await directory.chainOf(did)
    if (chain === undefined)
      throw new KithError('RECOVERY_CHAIN', undefined, { details: { did }, next: 'kith join TICKET (of a trustee, then the same again)' })
    return chain
  }

  /**
   * As `RecoveryDesk.take`. Whoever missed the newest keys of that identity, since it was away when they were published, asks for them first: the peer that brought
   * the message, or everybody who is linked when a person did.
   * @throws as `RecoveryDesk.take`.
   */
  async take(message: Uint8Array, source: Source): Promise<Taken> {
    const { desk } = this.#parts
    try {
      return await desk.take(message, source)
    } catch (error) {
      if (!isKithError(error, 'RECOVERY_CHAIN')) throw error
      await this.learnHistory(desk.subjectOf(message).did, source.kind === 'link' ? [source.peer] : undefined)
    }
    return await desk.take(message, source)
  }

  #linked(): readonly Did[] {
    return [...new Set(this.#parts.mesh.links().flatMap(({ did, state }) => (state === 'connected' ? [did] : [])))]
  }

  #poll(): void {
    const { desk, clock } = this.#parts
    this.#timer = clock.after(POLL_MS, () => {
      this.#poll()
      const waiting = desk.collecting
      if (waiting.length === 0) return
      const linked = new Set(this.#linked())
      for (const { id, trustees } of waiting) for (const trustee of trustees) if (linked.has(trustee)) void this.#exchange(trustee, id)
    })
  }

  /** One at a time about each recovery with each peer; whoever comes later waits for it. Never throws. */
  #exchange(peer: Did, id: string): Promise<void> {
    const about = `${peer} ${id}`
    const running = this.#asking.get(about)
    if (running !== undefined) return running
    const asking = this.#tryExchange(peer, id).finally(() => this.#asking.delete(about))
    this.#asking.set(about, asking)
    return asking
  }

  async #tryExchange(peer: Did, id: string): Promise<void> {
    const { clock, logger } = this.#parts
    const { signal } = this.#stop
    try {
      for (let tries = 1; !signal.aborted; tries++) {
        try {
          return await this.#ask(peer, id)
        } catch (error) {
          const failure = asKithError(error, 'INTERNAL')
          if (!failure.retryable || tries >= TRIES) throw failure
          await sleep(clock, AGAIN_MS, signal)
        }
      }
    } catch (error) {
      if (!signal.aborted) logger.debug('a recovery was not talked about', { peer, code: asKithError(error, 'INTERNAL').code })
    }
  }

  async #ask(peer: Did, id: string): Promise<void> {
    const { desk, mesh, clock } = this.#parts
    const { signal } = this.#stop
    const stream = await mesh.open(peer, RECOVERY_PROTOCOL, { signal })
    const told = encode(exchangeCodec, { _version: undefined, messages: desk.messages(id) })
    const answer = decode(exchangeCodec, await ask(stream, told, MAX_BYTES, { clock, signal }))
    let news = false
    for (const message of answer.messages) news = (await this.take(message, { kind: 'link', peer })) === 'new' || news
    // Brought together here first: others learn it from the topic.
    if (news) await desk.republish(id)
  }

  async #serve(stream: Duplex, peer: Did, signal: AbortSignal): Promise<void> {
    const { desk, clock, logger } = this.#parts
    const run = async (request: Uint8Array): Promise<Uint8Array> => {
      const { messages } = decode(exchangeCodec, request)
      const [first] = messages
      if (first === undefined) throw malformed('nothing was said')
      let news = false
      for (const message of messages) news = (await this.take(message, { kind: 'link', peer })) === 'new' || news
      if (news) this.#tellOwner(first, peer)
      return encode(exchangeCodec, { _version: undefined, messages: desk.answerTo(first) })
    }
    await serve(stream, 1, { clock, signal }, () => ({ limit: MAX_BYTES, run })).catch((error: unknown) => {
      logger.debug('a recovery was not answered', { peer, code: asKithError(error, 'INTERNAL').code })
    })
  }

  /** Whose identity is asked for should know before anybody attests. */
  #tellOwner(message: Uint8Array, from: Did): void {
    const { did, id } = this.#parts.desk.subjectOf(message)
    if (did !== from && this.#linked().includes(did)) void this.#exchange(did, id)
  }
}

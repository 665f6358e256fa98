import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/clock.ts'
import { malformed } from '../../core/codec.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import { Lru } from '../../core/lru.ts'
import { type Did, formatDid } from '../../identity/did.ts'
import { TokenBucket } from '../admission-rate.ts'
import { type Accepted, serve } from '../request-stream.ts'
import { decodeHeader, decodeSealed, MAX_LIFE_MS, MAX_RECIPIENTS, SEALED_HEADER_BYTES, type SealedHeader, sealedSize } from '../sealed/sealed-codec.ts'
import type { Policy, StreamContext } from '../types.ts'
import type { Depositor, Hosted } from './hosted.ts'
import type { Intake } from './intake.ts'
import type { MailMetrics } from './mail-metrics.ts'
import { accountOf } from './quotas.ts'
import {
  decodeRecordRequest,
  decodeRequest,
  encodeDeleteAnswer,
  encodeGetAnswer,
  encodeListAnswer,
  encodePutAnswer,
  encodeRecordAnswer,
  HEAD_BYTES,
  type Kept,
  RECORD_REQUEST_BYTES,
  requestKind,
} from './wire.ts'

/** Bodies of PUT that are read at once, in all and of one peer: each may be a mebibyte. */
const READING = 32
const READING_PER_PEER = 4
/** Requests of an owner for what is kept for it. */
const FETCHES_PER_SECOND = 200
const FETCH_BURST = 400
/** What all isolated peers together may leave. */
const ISOLATED_PER_SECOND = 200
const ISOLATED_BURST = 50
const REMEMBERED_PEERS = 4_096
const CLOCK_SLACK_MS = 600_000

export interface ServerComponents {
  readonly own: () => Did
  readonly intake: Pick<Intake, 'accept'>
  readonly hosted: Hosted
  readonly policy: Pick<Policy, 'classOf' | 'constraints' | 'decide'>
  readonly clock: Clock
  readonly metrics: MailMetrics
  /** The record that tells a sender what to seal to now. */
  readonly ownRecord: () => Promise<Uint8Array>
  /** Records that this asker may be shown. */
  readonly recordsOf: (about: Did, asker: Did) => Promise<readonly Uint8Array[]>
}

/** The answering side of `icn/mailbox/1` and `icn/record/1`. */
export class MailboxServer {
  readonly #components: ServerComponents
  readonly #rates: Lru<Did, { readonly messagesPerSecond: number; readonly burst: number; readonly tokens: TokenBucket }> = new Lru(REMEMBERED_PEERS)
  readonly #fetches: Lru<Did, TokenBucket> = new Lru(REMEMBERED_PEERS)
  readonly #isolated: TokenBucket
  readonly #reading: Map<Did, number> = new Map()
  #readingAll = 0

  constructor(components: ServerComponents) {
    this.#components = components
    this.#isolated = new TokenBucket(components.clock, ISOLATED_PER_SECOND, ISOLATED_BURST)
  }

  /** Answers one request. Never rejects: the peer is told by the number of the refusal. */
  async mailbox(stream: Duplex, { peer, linkKey, signal }: StreamContext): Promise<void> {
    const { clock } = this.#components
    await quietly(
      serve(stream, HEAD_BYTES + SEALED_HEADER_BYTES, { clock, signal }, (head) => {
        const { op, limit } = requestKind(head)
        return op === 'put' ? this.#put(head.subarray(HEAD_BYTES), peer) : this.#fetch(peer, linkKey, limit)
      }),
    )
  }

  async records(stream: Duplex, { peer, signal }: StreamContext): Promise<void> {
    const { clock, recordsOf } = this.#components
    await quietly(
      serve(stream, RECORD_REQUEST_BYTES, { clock, signal }, () => {
        this.#fetchRate(peer)
        return {
          limit: RECORD_REQUEST_BYTES,
          run: async (request) => encodeRecordAnswer(await recordsOf(formatDid(parsePublicKey(decodeRecordRequest(request))), peer)),
        }
      }),
    )
  }

  /** Decides on the header alone whether the rest is worth reading. */
  #put(head: Uint8Array, peer: Did): Accepted {
    const { own, metrics } = this.#components
    try {
      if (head.length < SEALED_HEADER_BYTES) throw malformed('ends too early', { length: head.length })
      const header = decodeHeader(head)
      this.#admit(header, peer)
      this.#checkReading(peer)
      const hosting = header.to === own() ? undefined : this.#host(header, peer)
      this.#beginReading(peer)
      return {
        limit: HEAD_BYTES + sealedSize(header.bucket, MAX_RECIPIENTS),
        release: () => {
          this.#endReading(peer)
          hosting?.release()
        },
        run: async (request) => {
          const sealed = request.subarray(HEAD_BYTES)
          return await this.#counted(hosting === undefined ? () => this.#take(sealed) : () => this.#keep(sealed, hosting))
        },
      }
    } catch (error) {
      metrics.put(asKithError(error, 'INTERNAL').code)
      throw error
    }
  }

  #admit({ expiresMs, bucket }: SealedHeader, peer: Did): void {
    const { policy, clock } = this.#components
    const now = clock.now()
    if (expiresMs <= now) throw new KithError('MESSAGE_EXPIRED')
    if (expiresMs > now + MAX_LIFE_MS + CLOCK_SLACK_MS) throw new KithError('MESSAGE_EARLY')
    const { messageBytes, messagesPerSecond, burst } = policy.constraints(peer)
    if (bucket > messageBytes) throw new KithError('MESSAGE_TOO_LARGE', undefined, { details: { bucket, limit: messageBytes } })
    let rate = this.#rates.get(peer)
    // A peer whose class changed gets its new rate at once.
    if (rate === undefined || rate.messagesPerSecond !== messagesPerSecond || rate.burst !== burst) {
      rate = { messagesPerSecond, burst, tokens: new TokenBucket(clock, messagesPerSecond, burst) }
      this.#rates.set(peer, rate)
    }
    const shared = policy.classOf(peer) === 'isolated' ? this.#isolated : undefined
    if (shared?.peek() === false || !rate.tokens.take()) throw new KithError('RATE_LIMITED')
    shared?.take()
  }

  #host({ to, msgId, bucket }: SealedHeader, peer: Did): { readonly depositor: Depositor; readonly release: () => void } {
    const { policy, hosted } = this.#components
    if (!policy.decide({ peer: to, action: 'mailbox' }).allowed) throw new KithError('MAILBOX_REFUSED')
    const held = policy.classOf(peer)
    const depositor: Depositor = { did: peer, account: accountOf(peer, held, policy.constraints(peer)), class: held }
    // What is here already takes no more room.
    const release = hosted.has(to, msgId, depositor) ? () => undefined : hosted.reserve(to, policy.classOf(to), depositor, sealedSize(bucket, 1))
    return { depositor, release }
  }

  #checkReading(peer: Did): void {
    if ((this.#reading.get(peer) ?? 0) >= READING_PER_PEER || this.#readingAll >= READING) throw new KithError('BUDGET_EXCEEDED')
  }

  #beginReading(peer: Did): void {
    this.#reading.set(peer, (this.#reading.get(peer) ?? 0) + 1)
    this.#readingAll++
  }

  #endReading(peer: Did): void {
    const reading = this.#reading.get(peer) ?? 0
    if (reading <= 1) this.#reading.delete(peer)
    else this.#reading.set(peer, reading - 1)
    this.#readingAll--
  }

  async #counted(run: () => Promise<Kept>): Promise<Uint8Array> {
    const { metrics, ownRecord } = this.#components
    try {
      const kept = await run()
      metrics.put(kept)
      return encodePutAnswer({ kept })
    } catch (error) {
      metrics.put(asKithError(error, 'INTERNAL').code)
      if (isKithError(error, 'NEED_PREKEY')) return encodePutAnswer({ record: await ownRecord() })
      throw error
    }
  }

  async #take(sealed: Uint8Array): Promise<Kept> {
    await this.#components.intake.accept(sealed, undefined)
    return 'inbox'
  }

  async #keep(sealed: Uint8Array, { depositor, release }: { readonly depositor: Depositor; readonly release: () => void }): Promise<Kept> {
    const { hosted, metrics } = this.#components
    await hosted.keep(decodeSealed(sealed), sealed, depositor)
    release()
    metrics.kept(hosted.usage)
    return 'mailbox'
  }

  /** LIST, GET and DELETE: only ever of what is kept for the identity that asks. */
  #fetch(peer: Did, device: Uint8Array, limit: number): Accepted {
    const { hosted, metrics } = this.#components
    this.#fetchRate(peer)
    return {
      limit,
      run: async (bytes) => {
        const request = decodeRequest(bytes)
        switch (request.op) {
          case 'list':
            return encodeListAnswer(hosted.list(peer, device, request.after, request.limit))
          case 'get':
            return encodeGetAnswer(await hosted.get(peer, device, request.msgId))
          case 'delete': {
            const count = await hosted.delete(peer, device, request.msgIds)
            metrics.kept(hosted.usage)
            return encodeDeleteAnswer(count)
          }
          default:
            throw malformed('mailbox operation')
        }
      },
    }
  }

  #fetchRate(peer: Did): void {
    const rate = this.#fetches.get(peer) ?? new TokenBucket(this.#components.clock, FETCHES_PER_SECOND, FETCH_BURST)
    this.#fetches.set(peer, rate)
    if (!rate.take()) throw new KithError('RATE_LIMITED')
  }
}

/** The stream has been ended with the same error, which is all there is to do about it. */
async function quietly(serving: Promise<void>): Promise<void> {
  await serving.catch((error: unknown) => asKithError(error, 'INTERNAL'))
}

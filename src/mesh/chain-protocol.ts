import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import { bytesN, type Codec, constant, decode, encode, malformed, struct, u32 } from '../core/codec.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { decodeChain } from '../identity/chain-codec.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import type { ChainEntry, ChainState } from '../identity/types.ts'
import { adoptShown } from './adopt-shown.ts'
import { bounded, endWith, readAll } from './conversation.ts'
import { encodeEntriesFrom } from './hello-chain.ts'
import type { KnownKeys } from './known-keys.ts'
import { NO_INDEX } from './locate-codec.ts'

/**
 * # `icn/chain/1`: whoever is behind asks (PN-6)
 *
 * ```text
 * request  01 | did 32 | u32 have_index                      37 bytes, then the asker's end; have_index ffffffff = none
 * answer   01 | u32 length | chain (PN-6, <= 4 MiB)          the entries after have_index; length 0 = nothing to add
 * ```
 *
 * A recovery that waits for objection is served as the last entry. Anyone may serve, since every entry verifies by itself from the asker's own stored head, or from entry 0. A server says "nothing to add" both for a chain that
 * is not longer and for one it does not know or does not show to this asker.
 */
export const CHAIN_PROTOCOL = 'icn/chain/1'
/** Of every exchange about what is known of an identity. */
export const CHAIN_DEADLINE_MS = 30_000
const MAX_BYTES = 4 * 1024 * 1024
const REQUEST_BYTES = 37
const ANSWER_HEAD_BYTES = 5

interface Request {
  readonly _version: undefined
  readonly did: Uint8Array
  readonly haveIndex: number
}

const request: Codec<Request> = struct<Request>({ _version: constant(1), did: bytesN(32), haveIndex: u32 })
const answerHead: Codec<{ _version: undefined; length: number }> = struct<{ _version: undefined; length: number }>({ _version: constant(1), length: u32 })

export interface ServeOptions {
  /** What may be shown to this asker; undefined for everything else. */
  readonly chainOf: (did: Did) => Promise<ChainState | undefined>
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/**
 * Answers one question on a stream and ends it.
 * @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`, `TIMEOUT`, `LINK_LOST`, `ABORTED`. The stream is destroyed with the same error.
 */
export async function serveChain(stream: Duplex, options: ServeOptions): Promise<void> {
  await bounded(stream, CHAIN_DEADLINE_MS, options, async () => {
    const asked = decode(request, await readAll(stream, REQUEST_BYTES))
    const chain = await options.chainOf(formatDid(parsePublicKey(asked.did)))
    const from = asked.haveIndex === NO_INDEX ? 0 : asked.haveIndex + 1
    const tail = chain === undefined ? undefined : encodeEntriesFrom(withPending(chain), from, MAX_BYTES)
    stream.write(encode(answerHead, { _version: undefined, length: tail?.length ?? 0 }))
    await endWith(stream, tail ?? new Uint8Array(0))
  })
}

/** A recovery that waits is told too, so that everybody's delay begins as early as it can; each counts it from its own first sight. */
function withPending({ entries, index, pending }: ChainState): readonly ChainEntry[] {
  return pending?.entry.index === index + 1 ? [...entries, pending.entry] : entries
}

export interface FetchOptions {
  readonly did: Did
  /** What is known here; verification starts from it. */
  readonly have?: ChainState | undefined
  /** Where chains of trustees are known, for identities that were recovered. */
  readonly known?: Pick<KnownKeys, 'chain'> | undefined
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/**
 * Asks for the rest of a chain and verifies it. Undefined when the other side has nothing to add. Stores nothing.
 * @throws KithError `CHAIN_INVALID`, `WIRE_MALFORMED`, `TIMEOUT`, `LINK_LOST`, `ABORTED`. The stream is destroyed with the same error.
 */
export async function fetchChain(stream: Duplex, options: FetchOptions): Promise<ChainState | undefined> {
  return await bounded(stream, CHAIN_DEADLINE_MS, options, async () => {
    stream.end(encode(request, { _version: undefined, did: didPublicKey(options.did), haveIndex: options.have?.index ?? NO_INDEX }))
    const bytes = await readAll(stream, ANSWER_HEAD_BYTES + MAX_BYTES)
    if (bytes.length < ANSWER_HEAD_BYTES) throw malformed('ends too early', { length: bytes.length })
    const { length } = decode(answerHead, bytes.subarray(0, ANSWER_HEAD_BYTES))
    if (length !== bytes.length - ANSWER_HEAD_BYTES) throw malformed('length out of range', { length })
    if (length === 0) return undefined
    const { did, known, clock } = options
    return await adoptShown(options.have, decodeChain(bytes.subarray(ANSWER_HEAD_BYTES)), { did, known, now: clock.now() })
  })
}

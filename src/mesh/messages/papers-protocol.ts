import type { Duplex } from 'node:stream'
import type { PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, struct, u32 } from '../../core/codec.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { MAX_BINDING_BYTES } from '../../identity/binding.ts'
import { type Did, didPublicKey, formatDid } from '../../identity/did.ts'
import { CHAIN_DEADLINE_MS } from '../chain-protocol.ts'
import { bounded, endWith, readAll } from '../conversation.ts'
import { NO_INDEX } from '../locate-codec.ts'
import { MAX_CHAIN_TAIL_BYTES } from './directory.ts'
import type { DevicePapers } from './types.ts'

/**
 * # `icn/papers/1`: whose machine is this?
 *
 * ```text
 * request  01 | did 32 | device 32 | u32 have_index             69 bytes, then the asker's end; have_index ffffffff = no entry of its chain
 * answer   01 | bytes binding (PN-4) | bytes chain (PN-6)       the entries after have_index, <= 64 KiB; an empty binding = nothing to show
 * ```
 *
 * Papers prove themselves, so anybody may serve them. What an answer gives away is whom the server knows: it shows its own papers, the asker's own, those of book peers
 * to book peers, and those of authors whose records it gives to this asker anyway (`Messages.showPapers`). Everything else looks like what it does not know.
 */
export const PAPERS_PROTOCOL = 'icn/papers/1'
const REQUEST_BYTES = 69

interface Request {
  readonly _version: undefined
  readonly did: Uint8Array
  readonly device: Uint8Array
  readonly haveIndex: number
}

interface Answer {
  readonly _version: undefined
  readonly binding: Uint8Array
  readonly chain: Uint8Array
}

export const papersRequest: Codec<Request> = struct<Request>({ _version: constant(1), did: bytesN(32), device: bytesN(32), haveIndex: u32 })
export const papersAnswer: Codec<Answer> = struct<Answer>({ _version: constant(1), binding: bytes(MAX_BINDING_BYTES), chain: bytes(MAX_CHAIN_TAIL_BYTES) })

export interface ServePapersOptions {
  /** What may be shown to this asker; undefined for everything else. */
  readonly papersOf: (did: Did, device: PublicKey, haveIndex: number) => Promise<DevicePapers | undefined>
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/**
 * Answers one question on a stream and ends it.
 * @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`, `TIMEOUT`, `LINK_LOST`, `ABORTED`, `STORE_FAILED`. The stream is destroyed with the same error.
 */
export async function servePapers(stream: Duplex, options: ServePapersOptions): Promise<void> {
  await bounded(stream, CHAIN_DEADLINE_MS, options, async () => {
    const asked = decode(papersRequest, await readAll(stream, REQUEST_BYTES))
    const haveIndex = asked.haveIndex === NO_INDEX ? -1 : asked.haveIndex
    const papers = await options.papersOf(formatDid(parsePublicKey(asked.did)), parsePublicKey(asked.device), haveIndex)
    const nothing = new Uint8Array(0)
    await endWith(stream, encode(papersAnswer, { _version: undefined, binding: papers?.binding ?? nothing, chain: papers?.chain ?? nothing }))
  })
}

export interface AskPapersOptions {
  readonly did: Did
  readonly device: PublicKey
  /** The last entry of its chain that is known here. */
  readonly haveIndex: number | undefined
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/** Asks; nothing of the answer is verified. @throws KithError `WIRE_MALFORMED`, `TIMEOUT`, `LINK_LOST`, `ABORTED`. */
export async function askPapers(stream: Duplex, options: AskPapersOptions): Promise<DevicePapers | undefined> {
  const { did, device, haveIndex = NO_INDEX } = options
  return await bounded(stream, CHAIN_DEADLINE_MS, options, async () => {
    stream.end(encode(papersRequest, { _version: undefined, did: didPublicKey(did), device, haveIndex }))
    const { binding, chain } = decode(papersAnswer, await readAll(stream, papersAnswer.max))
    return binding.length === 0 ? undefined : { did, binding, chain }
  })
}

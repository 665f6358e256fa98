import type { PublicKey } from '../core/bytes.ts'
import { equal } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { verify } from '../core/crypto/ed25519.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import type { Random } from '../core/random.ts'
import { decodeBinding, verifyBinding } from '../identity/binding.ts'
import { decodeChain } from '../identity/chain-codec.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import type { Binding, ChainState, Device } from '../identity/types.ts'
import type { Source, Transport } from '../transport/types.ts'
import { TokenBucket } from './admission-rate.ts'
import { sourceKeys } from './admission-source.ts'
import { adoptShown } from './adopt-shown.ts'
import { abortError } from './errors.ts'
import { encodeEntriesFrom } from './hello-chain.ts'
import { contradicts } from './hello-knowledge.ts'
import type { KnownKeys } from './known-keys.ts'
import {
  decodeLocateAnswer,
  decodeLocateRequest,
  encodeLocateAnswerBody,
  encodeLocateRequest,
  locateAnswerMessage,
  locateTag,
  MAX_LOCATE_TAIL_BYTES,
  NO_INDEX,
} from './locate-codec.ts'

/** Answers for one source per second, remembered sources, and answers to everybody per second: each costs one signature. */
const ANSWERS_PER_SECOND = 10
const REMEMBERED_SOURCES = 4096
const TOTAL_PER_SECOND = 500
/** All rounds of one question. */
const LOCATE_DEADLINE_MS = 10_000
/** Entries that fit into one answer whatever keys they have. */
const LAST_SHOWN = 5
/** 4 MiB of chain in tails of 64 KiB. */
const MAX_ROUNDS = 64

/** For `ListenOptions.onLocate`: answers who asks for this identity and is silent to everyone else. */
export function createLocateAnswerer(components: {
  readonly device: Pick<Device, 'didKey' | 'linkSigner' | 'chain' | 'binding'>
  readonly clock: Clock
}): (request: Uint8Array, source: Source) => Uint8Array | undefined {
  const { device, clock } = components
  const rates = new Lru<string, TokenBucket>(REMEMBERED_SOURCES)
  const total = new TokenBucket(clock, TOTAL_PER_SECOND, TOTAL_PER_SECOND)
  const mayAsk = (source: Source): boolean => {
    const key = sourceKeys(source.host).source
    let bucket = rates.get(key)
    if (bucket === undefined) {
      bucket = new TokenBucket(clock, ANSWERS_PER_SECOND, ANSWERS_PER_SECOND)
      rates.set(key, bucket)
    }
    return bucket.take()
  }
  return (frame, source) => {
    if (!mayAsk(source)) return undefined
    let asked: ReturnType<typeof decodeLocateRequest>
    try {
      asked = decodeLocateRequest(frame)
    } catch (error) {
      if (isKithError(error, 'WIRE_MALFORMED')) return undefined
      throw error
    }
    // Whoever asks for somebody else costs one hash and takes nothing from those who ask for us.
    if (!equal(asked.tag, locateTag(device.didKey, asked.nonce)) || !total.take()) return undefined
    const from = asked.haveIndex === NO_INDEX ? 0 : asked.haveIndex + 1
    const tail = encodeEntriesFrom(device.chain.entries, from, MAX_LOCATE_TAIL_BYTES) ?? new Uint8Array(0)
    const body = encodeLocateAnswerBody({ binding: device.binding, tail, timeMs: clock.now() })
    return Buffer.concat([body, device.linkSigner.sign(locateAnswerMessage(asked, body))])
  }
}

/** Who is at an address: certified by the identity, so its link key may be dialled and remembered. */
export interface Located {
  readonly did: Did
  readonly linkKey: PublicKey
  readonly binding: Binding
  readonly chain: ChainState
  /** The other side's clock minus ours, in ms. */
  readonly clockOffsetMs: number
}

export interface LocateOptions {
  readonly did: Did
  /** What is known of its chain; verification starts from there. */
  readonly chain?: ChainState | undefined
  /** Where chains of trustees are known, for identities that were recovered. */
  readonly known?: Pick<KnownKeys, 'chain'> | undefined
  /** Told what became of the chain that was known, also when the answer is worth nothing otherwise: it proves itself. */
  readonly onChain?: (chain: ChainState) => void
  /** Asks for the chain alone: to its end, and whatever became of the machine's own binding, which is not verified then. Default false. */
  readonly whole?: boolean
  readonly clock: Clock
  readonly random: Random
  readonly signal?: AbortSignal
}

/**
 * Asks an address for the machine that stands there for an identity (PN-2), in rounds until its chain is complete. Stores nothing.
 * @throws KithError `CHAIN_FORKED`, `LOCATE_FAILED` when the answer is not from that identity, `CHAIN_*`, `BINDING_*`, `ADDRESS_UNREACHABLE`, `TIMEOUT`, `ABORTED`;
 * `UNSUPPORTED` when the transport cannot ask.
 */
export async function locate(transport: Pick<Transport, 'scheme' | 'locate'>, address: string, options: LocateOptions): Promise<Located> {
  if (transport.locate === undefined) throw new KithError('UNSUPPORTED', `${transport.scheme} cannot ask who is at an address`)
  const { clock, did } = options
  const stop = new AbortController()
  const timer = clock.after(LOCATE_DEADLINE_MS, () => stop.abort(new KithError('TIMEOUT', 'the machine at this address did not say who it is in time')))
  const abort = (): void => stop.abort(options.signal === undefined ? undefined : abortError(options.signal))
  if (options.signal?.aborted === true) abort()
  else options.signal?.addEventListener('abort', abort, { once: true })
  try {
    let chain = options.chain
    let again: number | undefined
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (stop.signal.aborted) throw stop.signal.reason
      const nonce = options.random.bytes(16)
      const asked = { nonce, tag: locateTag(didPublicKey(did), nonce), haveIndex: again ?? chain?.index ?? NO_INDEX }
      const sentAt = clock.now()
      const frame = await transport.locate(address, encodeLocateRequest(asked), { signal: stop.signal })
      const answer = readAnswer(frame, asked, did)
      const had = chain?.index ?? -1
      if (answer.tail.length > 0) {
        const entries = decodeChain(answer.tail)
        const adopted = await adoptShown(chain, entries, { did, now: clock.now(), known: options.known })
        if (adopted !== chain && options.chain !== undefined) options.onChain?.(adopted)
        chain = adopted
        if (contradicts(chain, entries)) throw new KithError('CHAIN_FORKED', undefined, { details: { did, index: chain.index } })
      }
      if (chain === undefined) throw failed('it showed no chain of that identity')
      // More entries than fit into one answer: ask for the rest, as long as there is progress.
      if (chain.index > had && (options.whole === true || answer.binding.chainIndex > chain.index)) continue
      const now = clock.now()
      const clockOffsetMs = Math.round(answer.timeMs - (sentAt + now) / 2)
      if (options.whole === true) return { did, linkKey: answer.binding.linkKey, binding: answer.binding, chain, clockOffsetMs }
      if (again === undefined && partsFrom(chain, answer.binding)) {
        // As long as the one known here, so nothing came after it: what contradicts it has to be asked for.
        again = answer.binding.chainIndex > LAST_SHOWN ? answer.binding.chainIndex - LAST_SHOWN : NO_INDEX
        continue
      }
      const binding = verifyBinding(answer.bindingBytes, { chain, now })
      return { did, linkKey: binding.linkKey, binding, chain, clockOffsetMs }
    }
    throw failed('its chain does not end')
  } finally {
    timer.cancel()
    options.signal?.removeEventListener('abort', abort)
  }
}

/** The machine was certified by another history than the one known here. */
function partsFrom(chain: ChainState, { chainIndex, chainHead }: Binding): boolean {
  const entry = chain.entries[chainIndex]
  return entry !== undefined && !equal(entry.hash, chainHead)
}

function readAnswer(
  frame: Uint8Array,
  asked: { nonce: Uint8Array; tag: Uint8Array },
  did: Did,
): { binding: Binding; bindingBytes: Uint8Array; tail: Uint8Array; timeMs: number } {
  try {
    const answer = decodeLocateAnswer(frame)
    const binding = decodeBinding(answer.binding)
    if (binding.did !== did) throw failed('it answers for another identity')
    if (!verify(binding.linkKey, locateAnswerMessage(asked, answer.body), answer.signature)) throw failed('the answer is not signed by its machine')
    return { binding, bindingBytes: answer.binding, tail: answer.tail, timeMs: answer.timeMs }
  } catch (error) {
    if (isKithError(error, 'WIRE_MALFORMED')) throw failed('the answer does not decode', error)
    throw error
  }
}

function failed(reason: string, cause?: unknown): KithError {
  return new KithError('LOCATE_FAILED', `the machine at this address does not answer for that identity: ${reason}`, { details: { reason }, cause })
}

import { utf8 } from '../core/bytes.ts'
import { bytes, bytesN, type Codec, decode, encode, list, malformed, mapped, option, struct, u8, u32, uint53, varint, varintSize } from '../core/codec.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { MAX_ENVELOPE_BYTES } from '../mesh/messages/envelope.ts'

/**
 * # Gossip protocol `icn/gossip/1`
 *
 * Two linked machines (neighbours) each open one long-lived stream; frames go one way on it, from the opener. What they carry end to end is signed by its author
 * (PN-7, class 3), so frames themselves are not: the link vouches for the neighbour.
 *
 * ```text
 * frame        varint length of the rest || u8 kind || body
 *
 * 01 SUBSCRIBE     list<u32 handle as varint, bytes32 topic>   1..256     topic = H("icn/gossip-topic/v1", name): a name nobody knows stays unknown
 * 02 UNSUBSCRIBE   list<varint handle>                         1..256
 * 03 PUSH          envelope                                               an entry, unasked, along the tree
 * 04 ANNOUNCE      varint handle || u8 urgent || list<bytes32 id>  1..1024    urgent: the other side was found to lack them
 * 05 PRUNE         varint handle                                          stop pushing this topic to me, announce instead
 * 06 REQUEST       u32 nonce || varint handle || u8 graft || list<bytes32 id>  1..512    graft: and push to me from now on
 * 07 DIGEST        u32 nonce || varint handle || u8 round || bound from || list<range>   0..4096    see reconcile.ts; answered by a DIGEST of the next round
 * 08 PULL          u32 nonce || varint handle || bound from || bound to || u32 max_bytes || option<cursor 64>
 * 09 ENTRIES       u32 nonce || u8 state || option<cursor 64> || list<bytes envelope>  0..1024   answers REQUEST and PULL, in one or more frames
 *                  state: 0 more follows, 1 that is all, 2 cut at the byte budget, 3 busy: ask later
 *
 * bound = u64 time_ms || bytes id prefix (<= 32)     the first entry not before it; time 2^53 - 1 is the end
 * range = bound upper (exclusive) || u8 mode || (0 nothing | 1: varint count || bytes16 fingerprint | 2: list<bytes32 id> <= 256)
 *         its lower end is the upper end of the one before, for the first one `from`
 * ```
 *
 * A handle is a number the sender of the frame chose in its own SUBSCRIBE, so a machine can only speak of topics it subscribed to. All frames but PUSH and ENTRIES
 * are at most 128 KiB; what is longer than its kind allows is malformed and ends the stream.
 */
export const GOSSIP_PROTOCOL = 'icn/gossip/1'

export const ID_BYTES = 32
export const FINGERPRINT_BYTES = 16
export const CURSOR_BYTES = 64
export const MAX_CONTROL_BYTES: number = 128 * 1024
/** One envelope and its header; ENTRIES with several of them are filled up to about this by the answering side. */
export const MAX_FRAME_BYTES: number = MAX_ENVELOPE_BYTES + 1024
export const MAX_TOPICS_PER_FRAME = 256
export const MAX_ANNOUNCED = 1024
export const MAX_REQUESTED = 512
export const MAX_RANGES = 4096
export const MAX_RANGE_IDS = 256
const MAX_ENTRIES = 1024
/** Stands behind every entry: times are checked to be far below. */
export const END_OF_TIME: number = Number.MAX_SAFE_INTEGER

export interface Bound {
  readonly timeMs: number
  readonly prefix: Uint8Array
}

export type RangeBody =
  | { readonly mode: 'skip' }
  | { readonly mode: 'fingerprint'; readonly count: number; readonly fingerprint: Uint8Array }
  | { readonly mode: 'ids'; readonly ids: readonly Uint8Array[] }

export type DigestRange = RangeBody & { readonly upper: Bound }

export type EntriesState = 'more' | 'done' | 'cut' | 'busy'

export interface Digest {
  readonly nonce: number
  readonly handle: number
  readonly round: number
  readonly from: Bound
  readonly ranges: readonly DigestRange[]
}

export interface Request {
  readonly nonce: number
  readonly handle: number
  readonly graft: boolean
  readonly ids: readonly Uint8Array[]
}

export interface Pull {
  readonly nonce: number
  readonly handle: number
  readonly from: Bound
  readonly to: Bound
  readonly maxBytes: number
  readonly cursor: Uint8Array | undefined
}

export interface Entries {
  readonly nonce: number
  readonly state: EntriesState
  readonly cursor: Uint8Array | undefined
  readonly entries: readonly Uint8Array[]
}

export type Frame =
  | { readonly kind: 'subscribe'; readonly topics: readonly { readonly handle: number; readonly topic: Uint8Array }[] }
  | { readonly kind: 'unsubscribe'; readonly handles: readonly number[] }
  | { readonly kind: 'push'; readonly envelope: Uint8Array }
  | { readonly kind: 'announce'; readonly handle: number; readonly urgent: boolean; readonly ids: readonly Uint8Array[] }
  | { readonly kind: 'prune'; readonly handle: number }
  | ({ readonly kind: 'request' } & Request)
  | ({ readonly kind: 'digest' } & Digest)
  | ({ readonly kind: 'pull' } & Pull)
  | ({ readonly kind: 'entries' } & Entries)

const KINDS: readonly Frame['kind'][] = ['subscribe', 'unsubscribe', 'push', 'announce', 'prune', 'request', 'digest', 'pull', 'entries']
const STATES: readonly EntriesState[] = ['more', 'done', 'cut', 'busy']

/** How a topic is named between neighbours. */
export function topicHash(name: string): Uint8Array {
  return hashLabeled('icn/gossip-topic/v1', utf8(name))
}

const flag: Codec<boolean> = mapped(
  u8,
  (value) => {
    if (value > 1) throw malformed('flag')
    return value === 1
  },
  (value) => (value ? 1 : 0),
)

/** A list that is never empty: an empty one would say nothing. */
function some<T>(inner: Codec<T>, limit: number): Codec<readonly T[]> {
  return mapped(
    list(inner, limit),
    (values) => {
      if (values.length === 0) throw malformed('empty list')
      return values
    },
    (values) => values,
  )
}

const id = bytesN(ID_BYTES)
const cursor = option(bytesN(CURSOR_BYTES))
const bound: Codec<Bound> = struct<Bound>({ timeMs: uint53, prefix: bytes(ID_BYTES) })
const counted = struct<{ count: number; fingerprint: Uint8Array }>({ count: varint, fingerprint: bytesN(FINGERPRINT_BYTES) })
const ids = list(id, MAX_RANGE_IDS)

/** One of three bodies behind its mode. */
const range: Codec<DigestRange> = {
  min: bound.min + 1,
  max: bound.max + 1 + ids.max,
  size: (value) => bound.size(value.upper) + 1 + (value.mode === 'skip' ? 0 : value.mode === 'ids' ? ids.size(value.ids) : counted.size(value)),
  write(writer, value) {
    bound.write(writer, value.upper)
    writer.u8(value.mode === 'skip' ? 0 : value.mode === 'fingerprint' ? 1 : 2)
    if (value.mode === 'fingerprint') counted.write(writer, value)
    else if (value.mode === 'ids') ids.write(writer, value.ids)
  },
  read(reader) {
    const upper = bound.read(reader)
    const mode = reader.u8()
    if (mode === 0) return { upper, mode: 'skip' }
    if (mode === 1) return { upper, mode: 'fingerprint', ...counted.read(reader) }
    if (mode === 2) return { upper, mode: 'ids', ids: ids.read(reader) }
    throw malformed('range mode')
  },
}

const bodies: { readonly [K in Exclude<Frame['kind'], 'push'>]: Codec<Omit<Extract<Frame, { kind: K }>, 'kind'>> } = {
  subscribe: struct({ topics: some(struct<{ handle: number; topic: Uint8Array }>({ handle: varint, topic: bytesN(32) }), MAX_TOPICS_PER_FRAME) }),
  unsubscribe: struct({ handles: some(varint, MAX_TOPICS_PER_FRAME) }),
  announce: struct<{ handle: number; urgent: boolean; ids: readonly Uint8Array[] }>({ handle: varint, urgent: flag, ids: some(id, MAX_ANNOUNCED) }),
  prune: struct({ handle: varint }),
  request: struct<Request>({ nonce: u32, handle: varint, graft: flag, ids: some(id, MAX_REQUESTED) }),
  digest: struct<Digest>({ nonce: u32, handle: varint, round: u8, from: bound, ranges: list(range, MAX_RANGES) }),
  pull: struct<Pull>({ nonce: u32, handle: varint, from: bound, to: bound, maxBytes: u32, cursor }),
  entries: struct<Entries>({
    nonce: u32,
    state: mapped(
      u8,
      (value) => {
        const state = STATES[value]
        if (state === undefined) throw malformed('state')
        return state
      },
      (state) => STATES.indexOf(state),
    ),
    cursor,
    entries: list(bytes(MAX_ENVELOPE_BYTES), MAX_ENTRIES),
  }),
}

/** The whole frame, its length in front. @throws TypeError when a value does not fit. */
export function encodeFrame(frame: Frame): Uint8Array {
  const body = frame.kind === 'push' ? frame.envelope : encode(bodies[frame.kind] as Codec<unknown>, frame)
  const length = 1 + body.length
  const out = new Uint8Array(varintSize(length) + length)
  let at = 0
  for (let rest = length; ; rest >>>= 7) {
    out[at++] = rest > 0x7f ? (rest & 0x7f) | 0x80 : rest
    if (rest <= 0x7f) break
  }
  out[at] = KINDS.indexOf(frame.kind) + 1
  out.set(body, at + 1)
  return out
}

/** Bytes that a frame of this kind may have behind its length; 0 for a kind that does not exist. */
export function frameLimit(kind: number): number {
  const name = KINDS[kind - 1]
  return name === undefined ? 0 : name === 'push' || name === 'entries' ? MAX_FRAME_BYTES : MAX_CONTROL_BYTES
}

/** What stands behind the length: kind and body. Nothing in the result refers to `input`. @throws KithError `WIRE_MALFORMED`. */
export function decodeFrame(input: Uint8Array): Frame {
  const kind = KINDS[(input[0] ?? 0) - 1]
  if (kind === undefined) throw malformed('frame kind')
  if (kind === 'push') return { kind, envelope: Uint8Array.from(input.subarray(1)) }
  return { kind, ...(decode(bodies[kind] as Codec<object>, input.subarray(1)) as object) } as Frame
}

import { parseUtf8, utf8 } from '../core/bytes.ts'
import { bytes, type Codec, decode, encode, list, malformed, mapped, option, struct, text, u8, u16, u32, varint } from '../core/codec.ts'
import { isOperationName } from './names.ts'
import type { JsonSchema, OperationAccess, OperationDescription, OperationKind } from './types.ts'

/**
 * # Workers and heads: `icn/worker/1`
 *
 * ## Design
 * A worker opens one stream to a head and says under which alias it offers which operations. The registration belongs to the link that carries the stream, so to
 * the identity and the machine that proved themselves there; it lives as long as the stream, and a later one takes the place of the former as a whole. Calls do not
 * travel here: the head makes them over `icn/call/1`, to exactly this machine.
 *
 * ```text
 * frame     = u32 length (1..1,048,576) || u8 kind || body
 *
 * worker -> head
 *   01 REGISTER   u32 sequence || text alias (32) || list<operation> (1..512)
 *   02 BEAT       varint running calls
 *   03 DRAIN
 * head -> worker
 *   81 ACCEPTED   u32 sequence || u32 ms between beats || u32 ms until a silent worker is given up
 *   82 REFUSED    u32 sequence || u16 error number || text detail (300)          the registration before it, if there is one, is left as it was
 *   83 BEATEN
 *   84 DRAINED                                                                   nothing of this head runs there any more
 *
 * operation = text name (129) || u8 kind || u8 flags || option<text summary> (500) || access || option<u32 deadline in ms>
 *          || bytes input (65,536) || bytes output (65,536) || list<error> (32)
 * flags     = 1 idempotent | 2 client stream | 4 resumable | 8 listed to everybody
 * access    = u8 0                                                               nobody but the owner of the head
 *           | u8 1                                                               everyone
 *           | u8 2 || list<text scope (128)> all (16) || list<text scope (128)> any (16) || option<text type || option<text action>>
 * error     = text code (128) || bytes schema (65,536)
 * ```
 *
 * Schemas are JSON of bounded size and depth; a head publishes them and compiles none.
 *
 * ## Provided
 * One alias has one holder; every frame is bounded before it is read; a second sequence number in flight is never needed, because answers come in order.
 *
 * ## Not provided
 * Whether the alias may be taken: that is a question for the rules of the head.
 */
export interface OfferedOperation extends Omit<OperationDescription, 'node'> {
  /** Absent: nobody but the owner of the head, where its rules say nothing. */
  readonly access?: OperationAccess
  /** Whether those who may not call it see it in lists. */
  readonly listed: boolean
}

export interface Registration {
  readonly alias: string
  readonly operations: readonly OfferedOperation[]
}

export const WORKER_PROTOCOL = 'icn/worker/1'
export const MAX_WORKER_FRAME = 1_048_576
export const MAX_OPERATIONS = 512

export type WorkerFrame =
  | { readonly kind: 'register'; readonly sequence: number; readonly registration: Registration }
  | { readonly kind: 'beat'; readonly running: number }
  | { readonly kind: 'drain' }

export type HeadFrame =
  | { readonly kind: 'accepted'; readonly sequence: number; readonly beatMs: number; readonly lostMs: number }
  | { readonly kind: 'refused'; readonly sequence: number; readonly number: number; readonly detail: string }
  | { readonly kind: 'beaten' }
  | { readonly kind: 'drained' }

const MAX_SCHEMA_BYTES = 65_536
const MAX_SCHEMA_DEPTH = 64
const KINDS: readonly OperationKind[] = ['query', 'mutation', 'subscription']
const SCOPE = /^[\x21-\x7e]{1,128}$/
const ALIAS = /^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/

/** Lower-case letters, digits and dashes, a letter first, at most 32: it stands in rules and paths. */
export function isAlias(text: string): boolean {
  return ALIAS.test(text)
}

function checked(inner: Codec<string>, valid: (value: string) => boolean, what: string): Codec<string> {
  return mapped(
    inner,
    (value) => {
      if (!valid(value)) throw malformed(what)
      return value
    },
    (value) => value,
  )
}

const word: Codec<string> = checked(text(128), (value) => SCOPE.test(value), 'not a name')
const words: Codec<readonly string[]> = list(word, 16)

const schema: Codec<JsonSchema> = mapped(bytes(MAX_SCHEMA_BYTES), parseSchema, (value) => utf8(JSON.stringify(value)))

/** @throws KithError `WIRE_MALFORMED` */
function parseSchema(encoded: Uint8Array): JsonSchema {
  const json = parseUtf8(encoded)
  if (json === undefined || tooDeep(json)) throw malformed('a schema that is not text or too deep', { depth: MAX_SCHEMA_DEPTH })
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    throw malformed('a schema that is not JSON')
  }
  if (typeof value !== 'boolean' && (typeof value !== 'object' || value === null || Array.isArray(value))) throw malformed('not a schema')
  return value as JsonSchema
}

/** Counted before anything is parsed: brackets inside strings only make it stricter. */
function tooDeep(json: string): boolean {
  let depth = 0
  for (let at = 0; at < json.length; at++) {
    const char = json.charCodeAt(at)
    if (char === 0x7b || char === 0x5b) depth++
    else if (char === 0x7d || char === 0x5d) depth--
    if (depth > MAX_SCHEMA_DEPTH) return true
  }
  return false
}

interface WireResource {
  readonly type: string
  readonly action: string | undefined
}
interface WireRules {
  readonly all: readonly string[]
  readonly any: readonly string[]
  readonly resource: WireResource | undefined
}
const rules: Codec<WireRules> = struct<WireRules>({ all: words, any: words, resource: option(struct<WireResource>({ type: word, action: option(word) })) })

const access: Codec<OperationAccess | undefined> = {
  min: 1,
  max: 1 + rules.max,
  size: (value) => 1 + (value === undefined || value === 'everyone' ? 0 : rules.size(wireRules(value))),
  write(writer, value) {
    writer.u8(value === undefined ? 0 : value === 'everyone' ? 1 : 2)
    if (value !== undefined && value !== 'everyone') rules.write(writer, wireRules(value))
  },
  read(reader) {
    const kind = reader.u8()
    if (kind > 2) throw malformed('kind of access')
    if (kind < 2) return kind === 0 ? undefined : 'everyone'
    const { all, any, resource } = rules.read(reader)
    return {
      ...(all.length === 0 ? {} : { all }),
      ...(any.length === 0 ? {} : { any }),
      ...(resource === undefined ? {} : { resource: { type: resource.type, ...(resource.action === undefined ? {} : { action: resource.action }) } }),
    }
  },
}

function wireRules({ all = [], any = [], resource }: Exclude<OperationAccess, 'everyone'>): WireRules {
  return { all, any, resource: resource === undefined ? undefined : { type: resource.type, action: resource.action } }
}

interface WireOperation {
  readonly name: string
  readonly kind: number
  readonly flags: number
  readonly summary: string | undefined
  readonly access: OperationAccess | undefined
  readonly deadlineMs: number | undefined
  readonly input: JsonSchema
  readonly output: JsonSchema
  readonly errors: readonly WireError[]
}
interface WireError {
  readonly code: string
  readonly schema: JsonSchema
}

const wireOperation: Codec<WireOperation> = struct<WireOperation>({
  name: checked(text(129), isOperationName, 'not the name of an operation'),
  kind: u8,
  flags: u8,
  summary: option(text(500)),
  access,
  deadlineMs: option(u32),
  input: schema,
  output: schema,
  errors: list(struct<WireError>({ code: word, schema }), 32),
})

const operation: Codec<OfferedOperation> = mapped(
  wireOperation,
  ({ name, kind: number, flags, summary, access: open, deadlineMs, input, output, errors }) => {
    const kind = KINDS[number]
    if (kind === undefined || flags > 15) throw malformed('kind of operation')
    return {
      name,
      kind,
      ...(summary === undefined ? {} : { summary }),
      ...(open === undefined ? {} : { access: open }),
      idempotent: (flags & 1) !== 0,
      clientStream: (flags & 2) !== 0,
      resumable: (flags & 4) !== 0,
      listed: (flags & 8) !== 0,
      deadlineMs: deadlineMs ?? null,
      input,
      output,
      errors: Object.fromEntries(errors.map(({ code, schema: details }) => [code, details])),
    }
  },
  (value) => ({
    name: value.name,
    kind: KINDS.indexOf(value.kind),
    flags: (value.idempotent ? 1 : 0) | (value.clientStream ? 2 : 0) | (value.resumable ? 4 : 0) | (value.listed ? 8 : 0),
    summary: value.summary,
    access: value.access,
    deadlineMs: value.deadlineMs ?? undefined,
    input: value.input,
    output: value.output,
    errors: Object.entries(value.errors).map(([code, details]) => ({ code, schema: details })),
  }),
)

const registration: Codec<Registration> = mapped(
  struct<Registration>({ alias: checked(text(32), isAlias, 'not an alias'), operations: list(operation, MAX_OPERATIONS) }),
  (value) => {
    if (value.operations.length === 0) throw malformed('nothing offered')
    if (new Set(value.operations.map(({ name }) => name)).size !== value.operations.length) throw malformed('an operation offered twice')
    return value
  },
  (value) => value,
)

const register: Codec<{ sequence: number; registration: Registration }> = struct({ sequence: u32, registration })
const accepted: Codec<{ sequence: number; beatMs: number; lostMs: number }> = struct({ sequence: u32, beatMs: u32, lostMs: u32 })
const refused: Codec<{ sequence: number; number: number; detail: string }> = struct({ sequence: u32, number: u16, detail: text(300) })

function frame<T>(kind: number, codec: Codec<T>, value: T): Uint8Array {
  const body = encode(codec, value)
  const length = 1 + body.length
  if (length > MAX_WORKER_FRAME) throw new TypeError(`a registration is at most ${MAX_WORKER_FRAME} bytes`)
  const bytes = Buffer.allocUnsafe(4 + length)
  bytes.writeUInt32BE(length, 0)
  bytes[4] = kind
  bytes.set(body, 5)
  return bytes
}

const nothing: Codec<undefined> = { min: 0, max: 0, size: () => 0, write: () => {}, read: () => undefined }

/** With its length. @throws TypeError for a registration that does not fit. */
export function encodeWorkerFrame(value: WorkerFrame): Uint8Array {
  if (value.kind === 'register') return frame(0x01, register, value)
  return value.kind === 'beat' ? frame(0x02, varint, value.running) : frame(0x03, nothing, undefined)
}

/** With its length. */
export function encodeHeadFrame(value: HeadFrame): Uint8Array {
  if (value.kind === 'accepted') return frame(0x81, accepted, value)
  if (value.kind === 'refused') return frame(0x82, refused, value)
  return frame(value.kind === 'beaten' ? 0x83 : 0x84, nothing, undefined)
}

/** Without its length. @throws KithError `WIRE_MALFORMED`. */
export function decodeWorkerFrame(payload: Uint8Array): WorkerFrame {
  const body = payload.subarray(1)
  switch (payload[0]) {
    case 0x01:
      return { kind: 'register', ...decode(register, body) }
    case 0x02:
      return { kind: 'beat', running: decode(varint, body) }
    case 0x03:
      decode(nothing, body)
      return { kind: 'drain' }
    default:
      throw malformed('kind of frame')
  }
}

/** Without its length. @throws KithError `WIRE_MALFORMED`. */
export function decodeHeadFrame(payload: Uint8Array): HeadFrame {
  const body = payload.subarray(1)
  switch (payload[0]) {
    case 0x81:
      return { kind: 'accepted', ...decode(accepted, body) }
    case 0x82:
      return { kind: 'refused', ...decode(refused, body) }
    case 0x83:
      decode(nothing, body)
      return { kind: 'beaten' }
    case 0x84:
      decode(nothing, body)
      return { kind: 'drained' }
    default:
      throw malformed('kind of frame')
  }
}

/** Takes frames out of a stream of bytes. Holds one frame at most, and what of the next came with its end. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0)
  #length = 0

  /** The frames that are whole now, without their lengths. @throws KithError `WIRE_MALFORMED` for a length out of range. */
  push(chunk: Uint8Array): readonly Uint8Array[] {
    this.#append(chunk)
    const frames: Uint8Array[] = []
    let at = 0
    while (this.#length - at >= 4) {
      const length = this.#pending.readUInt32BE(at)
      if (length === 0 || length > MAX_WORKER_FRAME) throw malformed('length of a frame', { length, limit: MAX_WORKER_FRAME })
      if (this.#length - at < 4 + length) break
      frames.push(Uint8Array.from(this.#pending.subarray(at + 4, at + 4 + length)))
      at += 4 + length
    }
    this.#pending.copyWithin(0, at, this.#length)
    this.#length -= at
    return frames
  }

  /** Grows by doubling, so that a frame that comes byte by byte costs no more than one that comes at once. */
  #append(chunk: Uint8Array): void {
    const wanted = this.#length + chunk.length
    if (wanted > this.#pending.length) {
      const grown = Buffer.allocUnsafe(Math.max(wanted, 2 * this.#pending.length, 256))
      this.#pending.copy(grown, 0, 0, this.#length)
      this.#pending = grown
    }
    this.#pending.set(chunk, this.#length)
    this.#length = wanted
  }
}

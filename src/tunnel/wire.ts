import { type Codec, constant, encode, malformed, mapped, Reader, struct, text, u8, u16 } from '../core/codec.ts'
import { type ForwardTarget, isTarget } from './target.ts'

/**
 * # Forward protocol `icn/forward/1`
 *
 * One stream is one forwarded connection. The opener's request and the first bytes leave together. A `connect` has no answer but the target's own
 * bytes, or a reset with the code of the refusal; a `dial` is answered with one byte once the target is connected, for doors that must say so to their
 * client before it speaks. A `check` asks only whether a connect would be allowed. `datagrams` turns the stream into a UDP association (datagrams.ts).
 *
 * ```text
 * opener -> acceptor   u8 1 (version) || u8 kind || varint n || n bytes host (ASCII) || u16 port || raw bytes until the end
 *                      kind 0 connect, 1 check, 2 dial, 3 datagrams (host empty, port 0)
 *                      a socket of the file system: host = "unix:/path", port 0
 * acceptor -> opener   connect: raw bytes until the end        check: 00, end        dial, datagrams: 00, then as connect
 * refusal              reset with FORWARD_DENIED, FORWARD_UNREACHABLE, FORWARD_REFUSED, FORWARD_NAME, FORWARD_TARGET, BUDGET_EXCEEDED
 * ```
 */
export const FORWARD_PROTOCOL = 'icn/forward/1'

const KINDS = ['connect', 'check', 'dial', 'datagrams'] as const

export interface ForwardRequest extends ForwardTarget {
  readonly kind: (typeof KINDS)[number]
}

interface RequestBody {
  _version?: undefined
  kind: number
  host: string
  port: number
}

const body: Codec<RequestBody> = struct<RequestBody>({ _version: constant(1), kind: u8, host: text(253), port: u16 })

export const forwardRequest: Codec<ForwardRequest> = mapped(
  body,
  ({ kind, host, port }): ForwardRequest => {
    const name = KINDS[kind]
    if (name === undefined) throw malformed('kind of forward', { kind })
    if (name === 'datagrams' ? host !== '' || port !== 0 : !isTarget({ host, port })) throw malformed('target of forward')
    return { kind: name, host, port }
  },
  ({ kind, host, port }): RequestBody => ({ kind: KINDS.indexOf(kind), host, port }),
)

/** A request never takes more bytes than this; an acceptor that has read as many without a whole request refuses. */
export const MAX_REQUEST_BYTES: number = body.max

/** A forward sends the same request for each of its connections. */
const encoded: WeakMap<ForwardRequest, Uint8Array> = new WeakMap()

/** The same bytes every time for the same object: not to be changed by whoever gets them. */
export function encodeRequest(request: ForwardRequest): Uint8Array {
  const known = encoded.get(request)
  if (known !== undefined) return known
  const bytes = encode(forwardRequest, request)
  encoded.set(request, bytes)
  return bytes
}

/** Takes a request off the front of what has arrived. `undefined`: more is needed. @throws KithError `WIRE_MALFORMED`. */
export function takeRequest(bytes: Uint8Array): { request: ForwardRequest; rest: number } | undefined {
  // version, kind and length come first: nothing is parsed before the whole request is there.
  if (bytes.length < 4) return undefined
  const lengthBytes = (bytes[2] as number) < 0x80 ? 1 : 2
  const hostLength = lengthBytes === 1 ? (bytes[2] as number) : ((bytes[2] as number) & 0x7f) | ((bytes[3] as number) << 7)
  const wanted = 2 + lengthBytes + hostLength + 2
  if (wanted > MAX_REQUEST_BYTES) throw malformed('forward request too long')
  if (bytes.length < wanted) return undefined
  const reader = new Reader(bytes.subarray(0, wanted))
  return { request: forwardRequest.read(reader), rest: reader.at }
}

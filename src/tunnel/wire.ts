import { type Codec, constant, encode, malformed, mapped, Reader, struct, text, u8, u16 } from '../core/codec.ts'
import { type ForwardTarget, isTarget } from './target.ts'

/**
 * # Forward protocol `icn/forward/1`
 *
 * One stream is one forwarded connection. The opener's request and the first bytes leave together; there is no answer to a `connect` but the
 * target's own bytes, or a reset with the code of the refusal. A `check` asks only whether a connect would be allowed and is answered with one byte.
 *
 * ```text
 * opener -> acceptor   u8 1 (version) || u8 kind (0 connect, 1 check) || varint n || n bytes host (ASCII) || u16 port || raw bytes until the end
 * acceptor -> opener   connect: raw bytes until the end        check: 00, end
 * refusal              reset with FORWARD_DENIED, FORWARD_UNREACHABLE, FORWARD_TARGET
 * ```
 */
export const FORWARD_PROTOCOL = 'icn/forward/1'

export interface ForwardRequest extends ForwardTarget {
  readonly kind: 'connect' | 'check'
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
    if (kind > 1) throw malformed('kind of forward', { kind })
    if (!isTarget({ host, port })) throw malformed('target of forward')
    return { kind: kind === 0 ? 'connect' : 'check', host, port }
  },
  ({ kind, host, port }): RequestBody => ({ kind: kind === 'connect' ? 0 : 1, host, port }),
)

/** A request never takes more bytes than this; an acceptor that has read as many without a whole request refuses. */
export const MAX_REQUEST_BYTES: number = body.max

export function encodeRequest(request: ForwardRequest): Uint8Array {
  return encode(forwardRequest, request)
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

import { bytesN, type Codec, constant, encode, malformed, Reader, struct, text, u16 } from '../core/codec.ts'
import { type ForwardTarget, isTarget } from './target.ts'

/**
 * # Listening for a peer `icn/listen/1`
 *
 * A remote forward is one control stream, and one stream for each connection that the listening side accepted:
 *
 * ```text
 * asker -> listener      u8 1 || u8 0 (listen)   || token16 || varint n || n bytes host || u16 port         control stream, stays open
 * listener -> asker      00 || u16 port                                                                     it listens, on this port
 * listener -> asker      u8 1 || u8 1 (accepted) || token16 || raw bytes until the end                      a new stream
 * asker -> listener      raw bytes until the end
 * refusal                reset with FORWARD_DENIED, FORWARD_TARGET, ADDRESS_IN_USE, ADDRESS_INVALID, BUDGET_EXCEEDED
 * ```
 *
 * The asker chooses the token at random; an accepted connection that names no token of this peer is reset. The end of the control stream, in whatever
 * way, is the end of the listening. The same token asked for again by the same peer takes the place of what it listened on before: a link that was lost is
 * noticed by one side earlier than by the other. `host` is an address, `localhost`, or `unix:/path` with port 0; port 0 of an address is any free one.
 */
export const LISTEN_PROTOCOL = 'icn/listen/1'

export const TOKEN_BYTES = 16
const HEAD_BYTES = 2 + TOKEN_BYTES

export type ListenRequest =
  | { readonly kind: 'listen'; readonly token: Uint8Array; readonly target: ForwardTarget }
  | { readonly kind: 'accepted'; readonly token: Uint8Array }

interface Listen {
  _version?: undefined
  _kind?: undefined
  token: Uint8Array
  host: string
  port: number
}

const listenBody: Codec<Listen> = struct<Listen>({ _version: constant(1), _kind: constant(0), token: bytesN(TOKEN_BYTES), host: text(253), port: u16 })
const acceptedBody: Codec<{ _version?: undefined; _kind?: undefined; token: Uint8Array }> = struct({
  _version: constant(1),
  _kind: constant(1),
  token: bytesN(TOKEN_BYTES),
})
const answerBody: Codec<{ _ok?: undefined; port: number }> = struct({ _ok: constant(0), port: u16 })

export const MAX_LISTEN_BYTES: number = listenBody.max
export const ANSWER_BYTES = 3

export function encodeListen(token: Uint8Array, { host, port }: ForwardTarget): Uint8Array {
  return encode(listenBody, { token, host, port })
}

export function encodeAccepted(token: Uint8Array): Uint8Array {
  return encode(acceptedBody, { token })
}

export function encodeListening(port: number): Uint8Array {
  return encode(answerBody, { port })
}

/** The port of an answer of exactly `ANSWER_BYTES`. @throws KithError `WIRE_MALFORMED`. */
export function readListening(bytes: Uint8Array): number {
  return answerBody.read(new Reader(bytes)).port
}

/** Takes a request off the front of what has arrived. `undefined`: more is needed. @throws KithError `WIRE_MALFORMED`. */
export function takeListenRequest(bytes: Uint8Array): { request: ListenRequest; rest: number } | undefined {
  if (bytes.length < 2) return undefined
  if (bytes[0] !== 1 || (bytes[1] as number) > 1) throw malformed('request to listen')
  if (bytes.length < HEAD_BYTES) return undefined
  if (bytes[1] === 1) {
    const reader = new Reader(bytes.subarray(0, HEAD_BYTES))
    return { request: { kind: 'accepted', token: acceptedBody.read(reader).token.slice() }, rest: HEAD_BYTES }
  }
  if (bytes.length < HEAD_BYTES + 2) return undefined
  const first = bytes[HEAD_BYTES] as number
  const lengthBytes = first < 0x80 ? 1 : 2
  const hostLength = lengthBytes === 1 ? first : (first & 0x7f) | ((bytes[HEAD_BYTES + 1] as number) << 7)
  const wanted = HEAD_BYTES + lengthBytes + hostLength + 2
  if (wanted > MAX_LISTEN_BYTES) throw malformed('request to listen too long')
  if (bytes.length < wanted) return undefined
  const { token, host, port } = listenBody.read(new Reader(bytes.subarray(0, wanted)))
  if (!isTarget({ host, port: port === 0 && !host.startsWith('unix:') ? 1 : port })) throw malformed('place to listen')
  return { request: { kind: 'listen', token: token.slice(), target: { host, port } }, rest: wanted }
}

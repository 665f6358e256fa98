import { KithError } from '../core/errors.ts'
import { parseJson } from './json.ts'

/** Bytes that a connection may send before it is known whose it is. */
export const MAX_UNKNOWN_BYTES = 65_536
const HEADER_BYTES = 4
const MAX_ID = 128
const MAX_TOKEN = 4_096

export interface FirstFrame {
  readonly id: string
  /** `null`: none, where the door knows by itself who it is. */
  readonly token: string | null
  /** What came behind the frame. */
  readonly rest: Buffer
}

/**
 * The first frame of raw framing: the same form as every other (`src/call/envelope.ts`).
 *
 * ```text
 * +----------------+------------------------------------------------------------+
 * | length, u32 BE | {"type":"auth","id":"auth-1","payload":"TOKEN"}             |
 * +----------------+------------------------------------------------------------+
 * ```
 * `payload` is an API key or a signed token; on the unix socket it may be null. The answer is `{"type":"auth.ok","id":"auth-1","payload":{}}`.
 */
export class FirstFrameReader {
  #bytes: Buffer = Buffer.alloc(0)

  /** The frame as soon as it is whole. @throws KithError `REQUEST_MALFORMED` for any other frame, and for more bytes than may come before. */
  push(chunk: Buffer): FirstFrame | undefined {
    if (this.#bytes.length + chunk.length > MAX_UNKNOWN_BYTES)
      throw new KithError('REQUEST_MALFORMED', `At most ${MAX_UNKNOWN_BYTES} bytes come before the answer to auth.`)
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    if (this.#bytes.length < HEADER_BYTES) return undefined
    const length = this.#bytes.readUInt32BE(0)
    if (length === 0 || length > MAX_UNKNOWN_BYTES - HEADER_BYTES) throw new KithError('REQUEST_MALFORMED', 'The first frame is of no length that it can have.')
    if (this.#bytes.length < HEADER_BYTES + length) return undefined
    const { id, token } = parseAuth(this.#bytes.subarray(HEADER_BYTES, HEADER_BYTES + length))
    return { id, token, rest: this.#bytes.subarray(HEADER_BYTES + length) }
  }
}

function parseAuth(body: Buffer): { readonly id: string; readonly token: string | null } {
  const frame = parseJson(body, 4)
  if (typeof frame !== 'object' || frame === null || Array.isArray(frame)) throw notAuth()
  const { type, id, payload } = frame as { readonly type?: unknown; readonly id?: unknown; readonly payload?: unknown }
  if (type !== 'auth' || typeof id !== 'string' || id.length > MAX_ID) throw notAuth()
  if (payload !== null && (typeof payload !== 'string' || payload.length === 0 || payload.length > MAX_TOKEN)) throw notAuth()
  return { id, token: payload }
}

function notAuth(): KithError {
  return new KithError('REQUEST_MALFORMED', 'The first frame is of type auth, with the token as its payload.')
}

/** A frame of this door's own. */
export function encodeFrame(type: 'auth.ok' | 'auth.error', id: string, payload: unknown): Buffer {
  const body = Buffer.from(JSON.stringify({ type, id, payload }))
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt32BE(body.length)
  return Buffer.concat([header, body])
}

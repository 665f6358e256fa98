import { type PublicKey, parseUtf8, utf8 } from '../core/bytes.ts'
import { verify } from '../core/crypto/ed25519.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { labeled } from '../core/crypto/labels.ts'
import type { Random } from '../core/random.ts'
import type { Signer } from '../core/signer.ts'

/**
 * # Tokens signed by a key, good for one use within five minutes
 *
 * ```text
 * first form    base64url( key_id32 || u64 seconds || sig64 )                                       139 characters, on doors of this machine only
 *               sig = Ed25519 over the 40 bytes before it;  key_id = SHA-256 of the 32 bytes of the key, or of its SSH key blob
 * second form   "kt2." base64url( 02 || key_id32 || u64 seconds || nonce16 || u8 length || audience || sig64 )          on every door
 *               sig = Ed25519 over L("icn/token/v2") || everything before it
 * ```
 *
 * The first form says nothing about where it is meant for, so whoever gets one could use it at another node that knows the key: it counts on the loopback doors of a
 * machine alone. The second names its audience, and a nonce, so that two of one second differ.
 *
 * Base64url without padding has spare bits at the end of both forms; a text that is not the one spelling of its bytes is refused, or one token would have several.
 */
export interface Token {
  readonly version: 1 | 2
  /** 32 bytes. */
  readonly keyId: Uint8Array
  /** Unix seconds. */
  readonly seconds: bigint
  /** What the door is called that it is meant for; undefined in the first form. */
  readonly audience: string | undefined
  readonly signature: Uint8Array
  /** What was signed. */
  readonly message: Uint8Array
}

/** Seconds before and after now within which a token counts. */
export const TOKEN_WINDOW_S = 300
export const TOKEN_LENGTH = 139
const PREFIX = 'kt2.'
const LABEL = 'icn/token/v2'
const MAX_AUDIENCE = 200
const V1_BYTES = 104
const V2_HEAD = 1 + 32 + 8 + 16 + 1
const SIGNATURE_BYTES = 64
const MAX_TEXT: number = PREFIX.length + Math.ceil(((V2_HEAD + MAX_AUDIENCE + SIGNATURE_BYTES) * 4) / 3)

/** SHA-256 of the raw key: what tokens name it by. */
export function tokenKeyId(key: Uint8Array): Uint8Array {
  return sha256(key)
}

/** `undefined` for anything that is not a token. Nothing of it is proved yet. */
export function parseToken(text: string): Token | undefined {
  if (text.length > MAX_TEXT) return undefined
  if (text.startsWith(PREFIX)) return parseSecond(decode(text.slice(PREFIX.length)))
  return text.length === TOKEN_LENGTH ? parseFirst(decode(text)) : undefined
}

function parseFirst(bytes: Buffer | undefined): Token | undefined {
  if (bytes?.length !== V1_BYTES) return undefined
  return {
    version: 1,
    keyId: bytes.subarray(0, 32),
    seconds: bytes.readBigUInt64BE(32),
    audience: undefined,
    signature: bytes.subarray(40),
    message: bytes.subarray(0, 40),
  }
}

function parseSecond(bytes: Buffer | undefined): Token | undefined {
  if (bytes === undefined || bytes.length < V2_HEAD + 1 + SIGNATURE_BYTES || bytes[0] !== 2) return undefined
  const length = bytes[V2_HEAD - 1] as number
  const audience = length === 0 || length > MAX_AUDIENCE ? undefined : parseUtf8(bytes.subarray(V2_HEAD, V2_HEAD + length))
  if (audience === undefined || bytes.length !== V2_HEAD + length + SIGNATURE_BYTES) return undefined
  const end = V2_HEAD + length
  return {
    version: 2,
    keyId: bytes.subarray(1, 33),
    seconds: bytes.readBigUInt64BE(33),
    audience,
    signature: bytes.subarray(end),
    message: labeled(LABEL, bytes.subarray(0, end)),
  }
}

/** Only the one spelling. */
function decode(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

/** Whether the key made it and it is of now. @param nowMs Unix ms. */
export function tokenHolds(token: Token, key: PublicKey, nowMs: number): boolean {
  return inWindow(token, nowMs) && verify(key, token.message, token.signature)
}

function inWindow({ seconds }: Token, nowMs: number): boolean {
  const away = BigInt(Math.floor(nowMs / 1_000)) - seconds
  return away <= TOKEN_WINDOW_S && -away <= TOKEN_WINDOW_S
}

/** A token of the first form. @param seconds Unix seconds. */
export function signToken(signer: Signer, seconds: number): string {
  const message = Buffer.alloc(40)
  message.set(tokenKeyId(signer.publicKey), 0)
  message.writeBigUInt64BE(BigInt(seconds), 32)
  return Buffer.concat([message, signer.sign(message)]).toString('base64url')
}

/** A token of the second form. @param audience 1 to 200 bytes. @throws TypeError for another audience. */
export function signTokenFor(signer: Signer, audience: string, seconds: number, random: Random): string {
  const name = utf8(audience)
  if (name.length === 0 || name.length > MAX_AUDIENCE) throw new TypeError(`an audience is 1 to ${MAX_AUDIENCE} bytes`)
  const body = Buffer.alloc(V2_HEAD + name.length)
  body[0] = 2
  body.set(tokenKeyId(signer.publicKey), 1)
  body.writeBigUInt64BE(BigInt(seconds), 33)
  body.set(random.bytes(16), 41)
  body[V2_HEAD - 1] = name.length
  body.set(name, V2_HEAD)
  return PREFIX + Buffer.concat([body, signer.sign(labeled(LABEL, body))]).toString('base64url')
}

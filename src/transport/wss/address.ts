import { isIP } from 'node:net'
import { equalSecret } from '../../core/bytes.ts'
import { hmacSha256, sha256 } from '../../core/crypto/hash.ts'
import { KithError } from '../../core/errors.ts'
import type { HostPort } from '../tcp/address.ts'

/**
 * # Addresses of the keyed path
 *
 * ```text
 * wss://HOST:PORT/TOKEN[?pin=HASH]       TOKEN 32 characters base64url, the 24 bytes that open the door; HASH the SHA-256 of the site's certificate, 43 characters
 * /HMAC-SHA256(token, "icn/wss-link/v1")[0..24], base64url       the path that is asked for
 * ```
 *
 * The token itself is never sent: a proxy that reads the request learns one path, and nobody who knows one path learns another. Who does not know the token
 * finds the site there, whatever they ask for.
 */
export const TOKEN_BYTES = 24
const PATH_BYTES = 24
const PIN_BYTES = 32

export type KeyedPurpose = 'link' | 'ssh'

export interface WssAddress extends HostPort {
  readonly token: Uint8Array
  /** SHA-256 of the certificate (DER) that has to be shown; the machine's authorities judge when absent. */
  readonly pin: Uint8Array | undefined
}

/** An address to dial. @throws KithError `ADDRESS_INVALID`. */
export function parseWssAddress(address: string): WssAddress {
  const match = /^wss:\/\/([^/?#]+)\/([A-Za-z0-9_-]{32})(?:\?pin=([A-Za-z0-9_-]{43}))?$/.exec(address)
  const place = hostPort(match?.[1] ?? '', 1)
  const pin = match?.[3] === undefined ? undefined : Buffer.from(match[3], 'base64url')
  if (match === null || place === undefined || (pin !== undefined && (pin.length !== PIN_BYTES || pin.toString('base64url') !== match[3])))
    throw invalid('A WebSocket address is written wss://HOST:PORT/TOKEN.', address)
  return { ...place, token: Buffer.from(match[2] as string, 'base64url'), pin }
}

/** An address to listen on. The listener has a token of its own: one that is written must be that. @throws KithError `ADDRESS_INVALID`. */
export function parseWssListenAddress(address: string, token: Uint8Array): HostPort {
  const match = /^wss:\/\/([^/?#]+)(?:\/([A-Za-z0-9_-]{32}(?:\?pin=[A-Za-z0-9_-]{43})?)?)?$/.exec(address)
  const place = hostPort(match?.[1] ?? '', 0)
  const written = match?.[2]?.slice(0, 32)
  if (place === undefined || (written !== undefined && !equalSecret(Buffer.from(written, 'base64url'), token)))
    throw invalid('A WebSocket address to listen on is written wss://HOST:PORT.', address)
  return place
}

export function formatWssAddress({ host, port }: HostPort, token?: Uint8Array, pin?: Uint8Array): string {
  const place = `wss://${host.includes(':') ? `[${host}]` : host}:${port}`
  const keyed = token === undefined ? place : `${place}/${Buffer.from(token).toString('base64url')}`
  return pin === undefined ? keyed : `${keyed}?pin=${Buffer.from(pin).toString('base64url')}`
}

/** An address for logs: without what opens the door. */
export function withoutToken(address: string): string {
  return address.startsWith('wss:') ? address.replace(/^(wss:\/\/[^/]*).*$/, '$1') : address
}

/** The path that a WebSocket for this purpose has, begins with a slash. */
export function keyedPath(token: Uint8Array, purpose: KeyedPurpose): string {
  return `/${Buffer.from(hmacSha256(token, Buffer.from(`icn/wss-${purpose}/v1`)).subarray(0, PATH_BYTES)).toString('base64url')}`
}

/** Compares in a time that does not tell how much of it is right. */
export function isKeyedPath(target: string, path: string): boolean {
  return equalSecret(sha256(Buffer.from(target)), sha256(Buffer.from(path)))
}

function hostPort(text: string, lowestPort: 0 | 1): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || (match?.[1] !== undefined && isIP(host) !== 6) || port < lowestPort || port > 65_535) return undefined
  return { host, port }
}

/** Without what follows the host: it may be a token. */
function invalid(message: string, address: string): KithError {
  const place = /^[^/]{0,20}:\/\/[^/?#]{0,260}/.exec(address)?.[0] ?? ''
  return new KithError('ADDRESS_INVALID', message, { details: { address: place } })
}

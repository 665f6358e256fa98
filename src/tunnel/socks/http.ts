import { malformed } from '../../core/codec.ts'
import { isKithError } from '../../core/errors.ts'
import { type ForwardTarget, parseTarget } from '../target.ts'
import type { Login, Taken } from './wire.ts'

/**
 * # HTTP CONNECT (RFC 9110, section 9.3.6)
 *
 * ```text
 * client   CONNECT host:port HTTP/1.1 CRLF headers CRLF CRLF, then raw bytes
 * server   HTTP/1.1 200 Connection established CRLF CRLF, then raw bytes; otherwise a status with a sentence, then it closes
 * ```
 *
 * The head is read strictly: CRLF line ends, no folding, no control characters, ASCII, at most 8 KiB and 100 lines. Only `Proxy-Authorization` is looked at.
 */
export interface ConnectHead {
  /** `undefined`: a form of request that this proxy does not carry. */
  readonly target: ForwardTarget | undefined
  readonly login: Login | undefined
}

export const MAX_HEAD_BYTES = 8_192
const MAX_LINES = 100
const METHOD = /^[A-Za-z]{1,20}$/
const HEADER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}:[\t\x20-\x7e]*$/

/** `undefined`: more is needed. @throws KithError `WIRE_MALFORMED`. */
export function takeConnect(bytes: Buffer): Taken<ConnectHead> | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) {
    if (bytes.length >= MAX_HEAD_BYTES) throw malformed('head of a proxy request too long')
    return undefined
  }
  if (end > MAX_HEAD_BYTES) throw malformed('head of a proxy request too long')
  const [first, ...headers] = bytes.toString('latin1', 0, end).split('\r\n')
  const [method = '', place = '', version = '', ...more] = (first ?? '').split(' ')
  if (!METHOD.test(method) || place === '' || !/^HTTP\/1\.[01]$/.test(version) || more.length > 0) throw malformed('line of a proxy request')
  if (headers.length > MAX_LINES || !headers.every((line) => HEADER.test(line))) throw malformed('header of a proxy request')
  const given = headers.filter((line) => /^proxy-authorization:/i.test(line))
  if (given.length > 1) throw malformed('more than one login')
  return { value: { target: method === 'CONNECT' ? authority(place) : undefined, login: given[0] === undefined ? undefined : basic(given[0]) }, rest: end + 4 }
}

function authority(place: string): ForwardTarget {
  try {
    return parseTarget(place)
  } catch (error) {
    if (isKithError(error, 'FORWARD_TARGET')) throw malformed('target of a proxy request')
    throw error
  }
}

function basic(line: string): Login | undefined {
  const encoded = /^[^:]*:[\t ]*basic[\t ]+([A-Za-z0-9+/=]{1,700})[\t ]*$/i.exec(line)?.[1]
  if (encoded === undefined) return undefined
  const decoded = Buffer.from(encoded, 'base64')
  const colon = decoded.indexOf(':')
  return colon === -1 ? undefined : { user: decoded.toString('utf8', 0, colon), password: decoded.subarray(colon + 1) }
}

const REASONS: Readonly<Record<number, string>> = {
  200: 'Connection established',
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  407: 'Proxy Authentication Required',
  408: 'Request Timeout',
  502: 'Bad Gateway',
  504: 'Gateway Timeout',
}

export function encodeStatus(status: number, sentence = ''): Buffer {
  const head = `HTTP/1.1 ${status} ${REASONS[status] ?? ''}\r\n`
  if (status === 200) return Buffer.from(`${head}\r\n`)
  const extra = status === 405 ? 'Allow: CONNECT\r\n' : status === 407 ? 'Proxy-Authenticate: Basic realm="kith"\r\n' : ''
  const body = Buffer.from(`${sentence}\n`)
  return Buffer.concat([
    Buffer.from(`${head}${extra}Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`),
    body,
  ])
}

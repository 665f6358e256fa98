import { isIP, SocketAddress } from 'node:net'
import { malformed } from '../../core/codec.ts'
import { parseIp } from '../../mesh/ip.ts'
import type { ForwardTarget } from '../target.ts'

/**
 * # SOCKS version 5 (RFC 1928, RFC 1929)
 *
 * ```text
 * client   05 || n || n x method                                greeting; 00 no authentication, 02 user and password
 * server   05 || method (ff: none of them)
 * client   01 || n || user || m || password                     with method 02
 * server   01 || 00 (ff..: refused, then it closes)
 * client   05 || command || 00 || address || u16 port           command 1 CONNECT, 2 BIND, 3 UDP ASSOCIATE
 * server   05 || reply || 00 || address || u16 port
 * datagram 00 00 || fragment || address || u16 port || payload
 * address  01 || 4 bytes | 03 || n || name | 04 || 16 bytes
 * ```
 */
export const METHOD_NONE = 0
export const METHOD_PASSWORD = 2
export const NO_METHOD = 0xff

/** Reply codes, RFC 1928 section 6. */
export const REPLY = { ok: 0, general: 1, denied: 2, network: 3, host: 4, refused: 5, command: 7, address: 8 } as const

export type Command = 'connect' | 'bind' | 'udp' | 'unknown'

const COMMANDS: readonly Command[] = ['unknown', 'connect', 'bind', 'udp']

/** The longest of all messages of a client before its connection carries anything else. */
export const MAX_MESSAGE_BYTES = 513

export interface Taken<T> {
  readonly value: T
  /** Where the next message begins. */
  readonly rest: number
}

/** @throws KithError `WIRE_MALFORMED`. */
export function takeGreeting(bytes: Buffer): Taken<readonly number[]> | undefined {
  if (bytes.length > 0 && bytes[0] !== 5) throw malformed('SOCKS version')
  if (bytes.length < 2) return undefined
  const rest = 2 + (bytes[1] as number)
  if (rest === 2) throw malformed('SOCKS greeting without methods')
  return bytes.length < rest ? undefined : { value: [...bytes.subarray(2, rest)], rest }
}

export interface Login {
  readonly user: string
  readonly password: Buffer
}

/** @throws KithError `WIRE_MALFORMED`. */
export function takeLogin(bytes: Buffer): Taken<Login> | undefined {
  if (bytes.length > 0 && bytes[0] !== 1) throw malformed('SOCKS login version')
  if (bytes.length < 2) return undefined
  const middle = 2 + (bytes[1] as number)
  if (bytes.length <= middle) return undefined
  const rest = middle + 1 + (bytes[middle] as number)
  if (bytes.length < rest) return undefined
  return { value: { user: bytes.toString('utf8', 2, middle), password: Buffer.from(bytes.subarray(middle + 1, rest)) }, rest }
}

export interface Request {
  readonly command: Command
  /** `undefined` for an address type that is none. */
  readonly target: ForwardTarget | undefined
}

/** @throws KithError `WIRE_MALFORMED`. */
export function takeRequest(bytes: Buffer): Taken<Request> | undefined {
  if (bytes.length > 0 && bytes[0] !== 5) throw malformed('SOCKS version')
  if (bytes.length > 2 && bytes[2] !== 0) throw malformed('SOCKS reserved byte')
  const address = takeAddress(bytes, 3)
  if (address === undefined) return undefined
  return { value: { command: COMMANDS[bytes[1] as number] ?? 'unknown', target: address.value }, rest: address.rest }
}

export interface UdpHeader {
  readonly fragment: number
  readonly target: ForwardTarget | undefined
}

/** The header of a datagram; `undefined` when it is cut short. @throws KithError `WIRE_MALFORMED`. */
export function takeUdpHeader(bytes: Buffer): Taken<UdpHeader> | undefined {
  if (bytes.length < 4) return undefined
  if (bytes[0] !== 0 || bytes[1] !== 0) throw malformed('SOCKS datagram header')
  const address = takeAddress(bytes, 3)
  return address === undefined ? undefined : { value: { fragment: bytes[2] as number, target: address.value }, rest: address.rest }
}

/** Whether it is a place one can go to is decided where it is used; a name here is only text. */
function takeAddress(bytes: Buffer, at: number): Taken<ForwardTarget | undefined> | undefined {
  const type = bytes[at]
  if (type === undefined) return undefined
  if (type !== 1 && type !== 3 && type !== 4) return { value: undefined, rest: bytes.length }
  const named = type === 3
  const start = at + (named ? 2 : 1)
  const length = named ? bytes[at + 1] : type === 1 ? 4 : 16
  if (length === undefined || bytes.length < start + length + 2) return undefined
  if (named && length === 0) throw malformed('SOCKS name of no length')
  const raw = bytes.subarray(start, start + length)
  const host = named ? raw.toString('latin1').toLowerCase() : formatIp(raw)
  return { value: { host, port: bytes.readUInt16BE(start + length) }, rest: start + length + 2 }
}

/** A reply; the address is where the server is bound, zeros where that says nothing. */
export function encodeReply(code: number, bound: ForwardTarget = { host: '0.0.0.0', port: 0 }): Buffer {
  return Buffer.concat([Uint8Array.of(5, code, 0), encodeAddress(bound)])
}

export function encodeUdp(source: ForwardTarget, payload: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(0, 0, 0), encodeAddress(source), payload])
}

function encodeAddress({ host, port }: ForwardTarget): Buffer {
  const family = isIP(host)
  const address =
    family === 0
      ? Buffer.concat([Uint8Array.of(3, host.length), Buffer.from(host, 'latin1')])
      : Buffer.concat([Uint8Array.of(family === 4 ? 1 : 4), ipBytes(host)])
  const end = Buffer.alloc(2)
  end.writeUInt16BE(port)
  return Buffer.concat([address, end])
}

function formatIp(raw: Buffer): string {
  if (raw.length === 4) return raw.join('.')
  const groups = Array.from({ length: 8 }, (_, at) => raw.readUInt16BE(2 * at).toString(16))
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address
}

function ipBytes(text: string): Uint8Array {
  const bytes = parseIp(text) as Uint8Array
  return isIP(text) === 4 ? bytes.subarray(12) : bytes
}

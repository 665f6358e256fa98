import { isIP } from 'node:net'
import { KithError } from '../core/errors.ts'
import { RESERVED_NAMES } from '../mesh/policy.ts'

/** Where a forward ends, as its owner wrote it: a name or an address, never yet resolved; or a socket of the file system. */
export interface ForwardTarget {
  /** Lower-case name, IPv4 or IPv6 address without brackets, or `unix:/absolute/path`. */
  readonly host: string
  /** 0 for a socket of the file system and, if so written, for a reserved name. */
  readonly port: number
}

/** Longest DNS name in text form (RFC 1035, section 2.3.4). */
const MAX_HOST_BYTES = 253
/** `sun_path` of Linux holds 108 bytes with the final zero. */
const MAX_PATH_BYTES = 107
const NAME = /^(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/
const UNIX = 'unix:'
const TARGET = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/

/**
 * Parses `HOST:PORT`, `[IPv6]:PORT` or `unix:/path`.
 * @throws KithError `FORWARD_TARGET`.
 */
export function parseTarget(text: string): ForwardTarget {
  if (text.startsWith(UNIX)) {
    const socket = { host: text, port: 0 }
    if (isTarget(socket)) return socket
    throw malformedTarget(text, 'a socket is written with its whole path: unix:/run/app.sock, letters, digits and . _ - @ : only')
  }
  const match = TARGET.exec(text)
  const host = (match?.[1] ?? match?.[2] ?? '').toLowerCase()
  const port = Number(match?.[3] ?? -1)
  if (!isTarget({ host, port }) || (match?.[1] !== undefined && isIP(host) !== 6))
    throw malformedTarget(text, 'write it like localhost:5432, [::1]:5432 or unix:/run/app.sock', portOutOfRange(port))
  return { host, port }
}

function malformedTarget(text: string, next: string, message?: string): KithError {
  return new KithError('FORWARD_TARGET', message, { details: { target: text.slice(0, 300) }, next })
}

/** Undefined where the port is one, or none was written. */
function portOutOfRange(port: number): string | undefined {
  return port === 0 || port > 65_535 ? `${port} is no port of a target: ports go from 1 to 65535.` : undefined
}

/** Whether host and port are well formed; for values from the wire. */
export function isTarget({ host, port }: ForwardTarget): boolean {
  if (host.startsWith(UNIX)) return port === 0 && isSocketPath(host.slice(UNIX.length))
  if (!Number.isInteger(port) || port < 0 || port > 65_535) return false
  if (port === 0) return isReserved(host)
  if (host.length === 0 || host.length > MAX_HOST_BYTES) return false
  if (isIP(host) !== 0) return true
  // Forms such as 127.1 or 0x7f.1 would be read as addresses by some resolvers; only the canonical spelling is one.
  if (/^[0-9.]+$/.test(host) || /^0x/.test(host)) return false
  return NAME.test(host)
}

function isSocketPath(path: string): boolean {
  if (path.length > MAX_PATH_BYTES || !/^\/[A-Za-z0-9._/@:-]+$/.test(path)) return false
  return path
    .slice(1)
    .split('/')
    .every((part) => part !== '' && part !== '.' && part !== '..')
}

/** A door inside the node: never resolved, never dialled. */
export function isReserved(host: string): boolean {
  return RESERVED_NAMES.includes(host)
}

/** RFC 7686, section 2: such a name means something to Tor only; it has no address, and no resolver may learn that somebody asked for it. */
export function isOnion(host: string): boolean {
  return /\.onion\.?$/.test(host)
}

/** The path, when the target is a socket of the file system. */
export function socketPath({ host }: ForwardTarget): string | undefined {
  return host.startsWith(UNIX) ? host.slice(UNIX.length) : undefined
}

export function formatTarget({ host, port }: ForwardTarget): string {
  if (host.startsWith(UNIX)) return host
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** `HOST:PORT` or `unix:/path` to listen on; port 0 for any free one. @throws KithError `FORWARD_TARGET`. */
export function parseLocal(text: string): ForwardTarget {
  const match = /^(.*):0$/.exec(text)
  if (match === null || text.startsWith(UNIX)) return parseTarget(text)
  return { host: parseTarget(`${match[1]}:1`).host, port: 0 }
}

/** Whether an address is reachable from this machine alone. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host.startsWith(UNIX)) return true
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1'
}

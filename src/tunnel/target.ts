import { isIP } from 'node:net'
import { KithError } from '../core/errors.ts'

/** Where a forward ends, as its owner wrote it: a name or an address, never yet resolved. */
export interface ForwardTarget {
  /** Lower-case name, IPv4 or IPv6 address without brackets. */
  readonly host: string
  readonly port: number
}

/** Longest DNS name in text form (RFC 1035, section 2.3.4). */
const MAX_HOST_BYTES = 253
const NAME = /^(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/

/**
 * Parses `HOST:PORT` or `[IPv6]:PORT`.
 * @throws KithError `FORWARD_TARGET`.
 */
export function parseTarget(text: string): ForwardTarget {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const host = (match?.[1] ?? match?.[2] ?? '').toLowerCase()
  const port = Number(match?.[3] ?? 0)
  if (!isTarget({ host, port }) || (match?.[1] !== undefined && isIP(host) !== 6)) {
    throw new KithError('FORWARD_TARGET', undefined, { details: { target: text.slice(0, 300) }, next: 'write it like localhost:5432 or [::1]:5432' })
  }
  return { host, port }
}

/** Whether host and port are well formed; for values from the wire. */
export function isTarget({ host, port }: ForwardTarget): boolean {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return false
  if (host.length === 0 || host.length > MAX_HOST_BYTES) return false
  if (isIP(host) !== 0) return true
  // Forms such as 127.1 or 0x7f.1 would be read as addresses by some resolvers; only the canonical spelling is one.
  if (/^[0-9.]+$/.test(host) || /^0x/.test(host)) return false
  return NAME.test(host)
}

export function formatTarget({ host, port }: ForwardTarget): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

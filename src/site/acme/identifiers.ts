import { isIP } from 'node:net'
import { KithError } from '../../core/errors.ts'
import { parseIp } from '../../mesh/ip.ts'

/** What a certificate is for: a host name (RFC 8555, section 9.7.7) or an IP address (RFC 8738). */
export interface Identifier {
  readonly type: 'dns' | 'ip'
  readonly value: string
}

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * A name in lower case, or an address in the form of RFC 5952. Wildcards need a challenge that is not offered here.
 * @throws KithError `CONFIG_INVALID`.
 */
export function parseIdentifier(text: string): Identifier {
  if (isIP(text) === 4) return { type: 'ip', value: text }
  if (isIP(text) === 6 && !text.includes('%')) return { type: 'ip', value: new URL(`http://[${text}]`).hostname.slice(1, -1) }
  const value = text.toLowerCase()
  const labels = value.split('.')
  const fits = value.length <= 253 && labels.length >= 2 && labels.every((label) => LABEL.test(label)) && !/^[0-9]+$/.test(labels.at(-1) as string)
  if (!fits)
    throw new KithError('CONFIG_INVALID', 'A certificate is for whole host names such as node.example.org, or for IP addresses.', {
      details: { name: text.slice(0, 100) },
    })
  return { type: 'dns', value }
}

/** The octets of an address as certificates carry it. */
export function addressOctets(value: string): Uint8Array {
  const bytes = parseIp(value) as Uint8Array
  return isIP(value) === 4 ? bytes.subarray(12) : bytes
}

/** The server name by which an authority asks for the challenge of an identifier: addresses are asked for by their reverse name (RFC 8738, section 6). */
export function challengeName({ type, value }: Identifier): string {
  if (type === 'dns') return value
  if (isIP(value) === 4) return `${value.split('.').reverse().join('.')}.in-addr.arpa`
  return `${[...Buffer.from(addressOctets(value)).toString('hex')].reverse().join('.')}.ip6.arpa`
}

import { isIP } from 'node:net'

/** An IP address as 16 bytes; IPv4 in its mapped form `::ffff:a.b.c.d`, so that one address has one value whatever its spelling. */
export type IpAddress = Uint8Array

/** A network: the first `bits` of `base`, counted in the 128-bit form. */
export interface IpNetwork {
  readonly base: IpAddress
  readonly bits: number
}

const V4_BITS = 96

/** Reads a canonical IPv4 (four decimal parts) or IPv6 literal, without brackets or zone; `undefined` for anything else. */
export function parseIp(text: string): IpAddress | undefined {
  const family = isIP(text)
  if (family === 4) return mapped(text.split('.').map(Number))
  if (family !== 6 || text.includes('%')) return undefined
  return parseIpv6(text)
}

/** Reads `ADDRESS/BITS`. Bits below the prefix must be zero: `10.0.0.1/8` is a mistake, not a network. */
export function parseNetwork(text: string): IpNetwork | undefined {
  const [address, prefix, ...rest] = text.split('/')
  if (address === undefined || prefix === undefined || rest.length > 0 || !/^(0|[1-9][0-9]{0,2})$/.test(prefix)) return undefined
  const base = parseIp(address)
  if (base === undefined) return undefined
  const bits = Number(prefix) + (isIP(address) === 4 ? V4_BITS : 0)
  if (bits > 128) return undefined
  for (let bit = bits; bit < 128; bit++) if (((base[bit >> 3] as number) >> (7 - (bit & 7))) & 1) return undefined
  return { base, bits }
}

export function inNetwork(address: IpAddress, network: IpNetwork): boolean {
  const whole = network.bits >> 3
  for (let i = 0; i < whole; i++) if (address[i] !== network.base[i]) return false
  const rest = network.bits & 7
  if (rest === 0) return true
  const mask = 0xff << (8 - rest)
  return ((address[whole] as number) & mask) === ((network.base[whole] as number) & mask)
}

/** Whether every address of `inner` lies in `outer`. */
export function networkContains(outer: IpNetwork, inner: IpNetwork): boolean {
  return outer.bits <= inner.bits && inNetwork(inner.base, outer)
}

export function sameIp(a: IpAddress, b: IpAddress): boolean {
  return inNetwork(a, { base: b, bits: 128 })
}

function network(text: string): IpNetwork {
  const parsed = parseNetwork(text)
  if (parsed === undefined) throw new TypeError(`not a network: ${text}`)
  return parsed
}

/**
 * Addresses that mean "this machine" or "this cable": a wildcard or a wider network never reaches them (protocol.md, further rules).
 * `0.0.0.0` and `::` connect to loopback on common systems, and clouds hand out the machine's credentials at addresses of their own, most of them link-local.
 * Forms of IPv6 that carry an IPv4 address would smuggle any of these in (`CARRIERS`).
 */
const NEVER_BY_RANGE: readonly IpNetwork[] = [
  network('127.0.0.0/8'),
  network('0.0.0.0/8'),
  network('169.254.0.0/16'),
  network('224.0.0.0/4'),
  network('255.255.255.255/32'),
  network('::1/128'),
  network('::/128'),
  network('fe80::/10'),
  network('ff00::/8'),
  // Metadata of clouds that is not link-local: Alibaba, Oracle, Azure; Amazon (169.254.169.254 and its neighbours in IPv6), Google.
  network('100.100.100.200/32'),
  network('192.0.0.192/32'),
  network('168.63.129.16/32'),
  network('fd00:ec2::/32'),
  network('fd20:ce::254/128'),
]
const LAST: readonly number[] = [12, 13, 14, 15]
/** IPv4-compatible, NAT64 (RFC 6052; RFC 8215 with its two usual lengths) and 6to4 forms carry an IPv4 address in these bytes. */
const CARRIERS: readonly { readonly network: IpNetwork; readonly bytes: readonly number[] }[] = [
  { network: network('::/96'), bytes: LAST },
  { network: network('64:ff9b::/96'), bytes: LAST },
  { network: network('64:ff9b:1::/48'), bytes: LAST },
  { network: network('64:ff9b:1::/48'), bytes: [6, 7, 9, 10] },
  { network: network('2002::/16'), bytes: [2, 3, 4, 5] },
]

/** Loopback, unspecified, link-local, multicast and metadata addresses, also when carried inside an IPv6 form. */
export function neverByRange(address: IpAddress): boolean {
  if (NEVER_BY_RANGE.some((range) => inNetwork(address, range))) return true
  return CARRIERS.some(({ network: range, bytes }) => {
    if (!inNetwork(address, range)) return false
    const inner = mapped(bytes.map((at) => address[at] as number))
    return NEVER_BY_RANGE.some((never) => inNetwork(inner, never))
  })
}

/** Whether a whole network lies in one of the ranges that only an exact rule reaches, so that a rule for it could never match. */
export function networkNeverByRange(candidate: IpNetwork): boolean {
  return NEVER_BY_RANGE.some((range) => networkContains(range, candidate))
}

const PRIVATE: readonly IpNetwork[] = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'].map(network)

/** Addresses that mean something in one network only: another machine has them elsewhere. */
export function isPrivate(address: IpAddress): boolean {
  return PRIVATE.some((range) => inNetwork(address, range))
}

export function isLoopback(address: IpAddress): boolean {
  return inNetwork(address, network('127.0.0.0/8')) || inNetwork(address, network('::1/128'))
}

function mapped(parts: ArrayLike<number>): IpAddress {
  const out = new Uint8Array(16)
  out[10] = 0xff
  out[11] = 0xff
  out.set(Array.from(parts), 12)
  return out
}

function parseIpv6(text: string): IpAddress {
  let body = text
  const tail: number[] = []
  const dotted = body.lastIndexOf(':')
  if (body.includes('.')) {
    const [a = 0, b = 0, c = 0, d = 0] = body
      .slice(dotted + 1)
      .split('.')
      .map(Number)
    tail.push((a << 8) | b, (c << 8) | d)
    body = body.slice(0, dotted)
    if (body.endsWith(':')) body += ':'
    if (body === ':') body = '::'
  }
  const [left = '', right] = body.split('::')
  const words = (part: string): number[] =>
    part === ''
      ? []
      : part
          .split(':')
          .filter((word) => word !== '')
          .map((word) => Number.parseInt(word, 16))
  const head = words(left)
  const end = [...(right === undefined ? [] : words(right)), ...tail]
  const all = [...head, ...new Array<number>(8 - head.length - end.length).fill(0), ...end]
  const out = new Uint8Array(16)
  const view = new DataView(out.buffer)
  for (const [at, word] of all.entries()) view.setUint16(at * 2, word)
  return out
}

import type { DnsRecord } from 'dns-packet'
import { base58Decode, base58Encode } from '../../core/base58.ts'
import { parseUtf8, toHex } from '../../core/bytes.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { isDid } from '../../identity/did.ts'
import { splitAddress } from '../addresses.ts'
import type { Announcement, FoundPeer } from '../discovery.ts'
import { isLoopback, neverByRange, parseIp } from '../ip.ts'
import { rotatingId } from './rotating.ts'

/** Lives of records in seconds: RFC 6762, 10. */
const HOST_TTL = 120
const SERVICE_TTL = 4_500
const MAX_URLS = 8
const MAX_URL = 120
const MAX_NAME = 64
const KEY_BYTES = 32

/** All records of one node on one interface. */
export interface OwnRecords {
  readonly instance: string
  readonly host: string
  readonly types: DnsRecord
  readonly ptr: DnsRecord
  readonly srv: DnsRecord
  readonly txt: DnsRecord
  readonly addresses: readonly DnsRecord[]
}

/** The first label of the instance: from the link key at home, from the rotating id elsewhere. */
export function instanceLabel(announcement: Announcement, home: boolean, day: number): string {
  return home ? `kith-${toHex(sha256(announcement.linkKey).subarray(0, 8))}` : `kith-${rotatingId(announcement.did, day)}`
}

/** What is announced on the interface with address `at`. `undefined` when nothing could be reached there. */
export function ownRecords(service: string, label: string, announcement: Announcement, home: boolean, day: number, at: string): OwnRecords | undefined {
  const urls = announcement.urls.filter((url) => url.length <= MAX_URL && reachable(url, at)).slice(0, MAX_URLS)
  const parts = urls.map(splitAddress)
  const port = Number((parts.find((part) => part?.scheme === 'quic') ?? parts[0])?.port ?? 0)
  if (port < 1 || port > 65_535) return undefined
  const instance = `${label}.${service}`
  const host = `${label}.local`
  const who = home
    ? [`did=${announcement.did}`, `key=${base58Encode(announcement.linkKey)}`, `name=${cutText(announcement.name)}`]
    : [`id=${rotatingId(announcement.did, day)}`]
  const text = ['version=1', ...who, ...urls.map((url, index) => `u${index}=${url}`)]
  const addresses = new Set([at, ...parts.flatMap((part) => (part !== undefined && parseIp(part.host) !== undefined ? [part.host] : []))])
  return {
    instance,
    host,
    types: { name: '_services._dns-sd._udp.local', type: 'PTR', ttl: SERVICE_TTL, data: service },
    ptr: { name: service, type: 'PTR', ttl: SERVICE_TTL, data: instance },
    srv: { name: instance, type: 'SRV', ttl: HOST_TTL, flush: true, data: { priority: 0, weight: 0, port, target: host } },
    txt: { name: instance, type: 'TXT', ttl: SERVICE_TTL, flush: true, data: text.map((entry) => Buffer.from(entry)) },
    addresses: [...addresses].map((ip) => ({ name: host, type: ip.includes(':') ? 'AAAA' : 'A', ttl: HOST_TTL, flush: true, data: ip })),
  }
}

/** Loopback URLs mean something on loopback alone. */
function reachable(url: string, at: string): boolean {
  const ip = parseIp(splitAddress(url)?.host ?? '')
  const from = parseIp(at)
  return ip === undefined || !isLoopback(ip) || (from !== undefined && isLoopback(from))
}

function cutText(text: string): string {
  let cut = clean(text)
  while (Buffer.byteLength(cut) > MAX_NAME) cut = [...cut].slice(0, -1).join('')
  return cut
}

/** Text of a stranger without anything that a terminal would act on. */
function clean(text: string): string {
  return [...text.slice(0, 4 * MAX_NAME).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '')].slice(0, MAX_NAME).join('').trim()
}

export interface Service {
  readonly port: number
  readonly target: string
}

export function parseService(data: unknown): Service | undefined {
  if (typeof data !== 'object' || data === null || !('port' in data) || !('target' in data)) return undefined
  const { port, target } = data
  return typeof port === 'number' && port > 0 && port <= 65_535 && typeof target === 'string' && target.length <= 255 ? { port, target } : undefined
}

/** `key=value` strings; the first of a key counts (RFC 6763, 6.4). */
export function parseText(data: unknown): ReadonlyMap<string, string> | undefined {
  if (!Array.isArray(data) || data.length > 64) return undefined
  const text = new Map<string, string>()
  for (const entry of data) {
    const decoded = Buffer.isBuffer(entry) ? parseUtf8(entry) : undefined
    const split = decoded?.indexOf('=') ?? -1
    if (decoded === undefined || split < 1) continue
    const key = decoded.slice(0, split).toLowerCase()
    if (!text.has(key)) text.set(key, decoded.slice(split + 1))
  }
  return text
}

/**
 * Somebody as its records describe it. Whatever does not parse is left out; a node without `u0` (another implementation) is reached by QUIC at its SRV
 * port and addresses.
 */
export function describe(
  text: ReadonlyMap<string, string>,
  service: Service,
  addresses: readonly string[],
  recognise: (id: string) => FoundPeer['did'],
): FoundPeer | undefined {
  const urls: string[] = []
  for (let index = 0; index < MAX_URLS; index++) {
    const url = text.get(`u${index}`)
    if (url !== undefined && url.length <= MAX_URL && /^[\x21-\x7e]+$/.test(url) && splitAddress(url) !== undefined) urls.push(url)
  }
  if (urls.length === 0) urls.push(...addresses.filter(usable).map((ip) => `quic://${ip.includes(':') ? `[${ip}]` : ip}:${service.port}`))
  if (urls.length === 0) return undefined
  const did = text.get('did')
  const id = text.get('id') ?? ''
  const known = did !== undefined && isDid(did) ? did : /^[0-9a-f]{16}$/.test(id) ? recognise(id) : undefined
  const linkKey = parseKey(text.get('key') ?? '')
  const name = clean(text.get('name') ?? '')
  return { urls, ...(known === undefined ? {} : { did: known }), ...(linkKey === undefined ? {} : { linkKey }), ...(name === '' ? {} : { name }) }
}

/** Link-local addresses mean nothing without the interface they were heard on. */
function usable(ip: string): boolean {
  const address = parseIp(ip)
  return address !== undefined && (!neverByRange(address) || isLoopback(address))
}

function parseKey(text: string): FoundPeer['linkKey'] {
  const bytes = base58Decode(text, KEY_BYTES)
  if (bytes?.length !== KEY_BYTES) return undefined
  try {
    return parsePublicKey(bytes)
  } catch {
    return undefined
  }
}

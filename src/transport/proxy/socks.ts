import { isIP } from 'node:net'
import { utf8 } from '../../core/bytes.ts'
import { KithError } from '../../core/errors.ts'
import type { ProxyBytes } from './bytes.ts'
import type { ProxyCredentials, ProxyUrl } from './url.ts'

/**
 * # A hop through a SOCKS5 proxy (RFC 1928, RFC 1929)
 *
 * ```text
 * us     05 | count 1 | methods: 02 user and password (when there are any), 00 none
 * proxy  05 | method                                                   ff: none of these
 * us     01 | length 1 | user | length 1 | password                    after method 02
 * proxy  01 | 00
 * us     05 | 01 connect | 00 | kind | address | port 2                kind 01 IPv4, 03 length 1 and name, 04 IPv6
 * proxy  05 | reply | 00 | kind | address | port 2                     reply 00: what follows is the connection
 * ```
 *
 * A name goes out as a name: the proxy resolves it, this machine never asks for it. An address goes out as an address.
 */
const VERSION = 5
const AUTH_VERSION = 1
const NONE = 0x00
const PASSWORD = 0x02
const NO_METHOD = 0xff
const CONNECT = 1
const IPV4 = 1
const NAME = 3
const IPV6 = 4
const MAX_NAME_BYTES = 255

type Meaning = readonly [code: 'ADDRESS_UNREACHABLE' | 'PROXY_REFUSED', reason: string]

/** RFC 1928, section 6; from 0xf0 on what Tor says of onion services (its proposal 304). */
const REPLIES: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [1, ['ADDRESS_UNREACHABLE', 'general-failure']],
  [2, ['PROXY_REFUSED', 'ruleset']],
  [3, ['ADDRESS_UNREACHABLE', 'network-unreachable']],
  [4, ['ADDRESS_UNREACHABLE', 'host-unreachable']],
  [5, ['ADDRESS_UNREACHABLE', 'connection-refused']],
  [6, ['ADDRESS_UNREACHABLE', 'ttl-expired']],
  [7, ['PROXY_REFUSED', 'command-not-supported']],
  [8, ['PROXY_REFUSED', 'address-type-not-supported']],
  [0xf0, ['ADDRESS_UNREACHABLE', 'onion-not-found']],
  [0xf1, ['ADDRESS_UNREACHABLE', 'onion-descriptor-invalid']],
  [0xf2, ['ADDRESS_UNREACHABLE', 'onion-introduction-failed']],
  [0xf3, ['ADDRESS_UNREACHABLE', 'onion-rendezvous-failed']],
  [0xf4, ['PROXY_REFUSED', 'onion-authorisation-missing']],
  [0xf5, ['PROXY_REFUSED', 'onion-authorisation-wrong']],
  [0xf6, ['PROXY_REFUSED', 'onion-address-invalid']],
  [0xf7, ['ADDRESS_UNREACHABLE', 'onion-introduction-timeout']],
])

/** Where a connection goes next: the target, or the next proxy of a chain. */
export interface ProxyTarget {
  readonly host: string
  readonly port: number
}

/**
 * Asks a SOCKS5 proxy for a connection. When it resolves, the next byte is the target's.
 * @throws KithError `PROXY_AUTH`, `PROXY_REFUSED`, `PROXY_INVALID`, `PROXY_UNREACHABLE`, `ADDRESS_UNREACHABLE` (`details.reason`).
 */
export async function socksHop(bytes: ProxyBytes, proxy: ProxyUrl, target: ProxyTarget): Promise<void> {
  const { credentials } = proxy
  const request = encodeConnect(target)
  bytes.write(credentials === undefined ? Uint8Array.of(VERSION, 1, NONE) : Uint8Array.of(VERSION, 2, PASSWORD, NONE))
  const [version, method] = (await bytes.read(2)) as unknown as readonly [number, number]
  if (version !== VERSION) throw invalid(proxy, 'version')
  if (method === NO_METHOD) throw refusedCredentials(proxy, credentials === undefined ? 'credentials-missing' : 'no-method')
  if (method === PASSWORD && credentials !== undefined) await authenticate(bytes, proxy, credentials)
  else if (method !== NONE) throw invalid(proxy, 'method')
  bytes.write(request)
  await readReply(bytes, proxy)
}

async function authenticate(bytes: ProxyBytes, proxy: ProxyUrl, { user, password }: ProxyCredentials): Promise<void> {
  const [name, secret] = [utf8(user), utf8(password)]
  bytes.write(Buffer.concat([Uint8Array.of(AUTH_VERSION, name.length), name, Uint8Array.of(secret.length), secret]))
  const [version, status] = await bytes.read(2)
  if (version !== AUTH_VERSION) throw invalid(proxy, 'authentication-version')
  if (status !== 0) throw refusedCredentials(proxy, 'credentials-wrong')
}

async function readReply(bytes: ProxyBytes, proxy: ProxyUrl): Promise<void> {
  // A refusal ends here: proxies differ in what they send behind one.
  const [version, reply] = (await bytes.read(2)) as unknown as readonly [number, number]
  if (version !== VERSION) throw invalid(proxy, 'version')
  if (reply !== 0) throw unsuccessful(proxy, reply)
  const [reserved, kind] = await bytes.read(2)
  if (reserved !== 0) throw invalid(proxy, 'reserved')
  if (kind === IPV4) await bytes.read(4 + 2)
  else if (kind === IPV6) await bytes.read(16 + 2)
  else if (kind === NAME) await bytes.read(((await bytes.read(1))[0] as number) + 2)
  else throw invalid(proxy, 'address-type')
}

function encodeConnect({ host, port }: ProxyTarget): Buffer {
  const tail = Uint8Array.of(port >> 8, port & 0xff)
  const family = isIP(host)
  if (family !== 0) return Buffer.concat([Uint8Array.of(VERSION, CONNECT, 0, family === 4 ? IPV4 : IPV6), addressBytes(host, family), tail])
  const name = utf8(host)
  if (name.length === 0 || name.length > MAX_NAME_BYTES) throw new KithError('ADDRESS_INVALID', 'A name has 1 to 255 bytes.')
  return Buffer.concat([Uint8Array.of(VERSION, CONNECT, 0, NAME, name.length), name, tail])
}

function addressBytes(host: string, family: number): Uint8Array {
  if (family === 4) return Uint8Array.from(host.split('.').map(Number))
  // The one reader of IPv6 spellings that everybody shares: eight groups, after :: and a dotted tail are gone.
  const groups = new URL(`http://[${host}]`).hostname.slice(1, -1)
  const [head, tail] = groups.split('::') as [string, string | undefined]
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const all = [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right].map((group) => Number.parseInt(group, 16))
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

function unsuccessful(proxy: ProxyUrl, reply: number): KithError {
  const [code, reason] = REPLIES.get(reply) ?? ['PROXY_REFUSED', `reply-${reply}`]
  const message =
    code === 'PROXY_REFUSED' ? `The proxy ${proxy} does not carry this connection (${reason}).` : `The proxy ${proxy} could not reach the address (${reason}).`
  return new KithError(code, message, { details: { proxy: proxy.toString(), reason } })
}

function refusedCredentials(proxy: ProxyUrl, reason: string): KithError {
  const message =
    reason === 'credentials-missing' ? `The proxy ${proxy} wants a user and a password.` : `The proxy ${proxy} does not accept the user and password.`
  return new KithError('PROXY_AUTH', message, { details: { proxy: proxy.toString(), reason }, next: 'kith config show' })
}

function invalid(proxy: ProxyUrl, reason: string): KithError {
  return new KithError('PROXY_INVALID', `What answers at ${proxy} does not speak SOCKS5 (${reason}).`, { details: { proxy: proxy.toString(), reason } })
}

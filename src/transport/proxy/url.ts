import { isIP } from 'node:net'
import { KithError } from '../../core/errors.ts'

/** Schemes of proxies and the ports they have when none is given: RFC 1928, section 3; RFC 9110, section 4.2.1. */
const DEFAULT_PORTS = { socks5: 1080, http: 80 } as const

export type ProxyScheme = keyof typeof DEFAULT_PORTS

export interface ProxyCredentials {
  readonly user: string
  readonly password: string
}

/** RFC 1929 counts both in one byte; HTTP proxies get the same bound. */
const MAX_CREDENTIAL_BYTES = 255
const MAX_TEXT = 2_048
const WRITTEN = 'A proxy is written socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT].'

/** A proxy to dial through. Whatever shows it as text shows it without its credentials. */
export class ProxyUrl {
  readonly scheme: ProxyScheme
  /** A name or an IP address without brackets. */
  readonly host: string
  readonly port: number
  readonly #credentials: ProxyCredentials | undefined

  constructor(scheme: ProxyScheme, host: string, port: number, credentials: ProxyCredentials | undefined) {
    this.scheme = scheme
    this.host = host
    this.port = port
    this.#credentials = credentials
  }

  /** Undefined when the proxy asks for none. */
  get credentials(): ProxyCredentials | undefined {
    return this.#credentials
  }

  /** `socks5://HOST:PORT`, never the credentials. */
  toString(): string {
    return `${this.scheme}://${formatHostPort(this)}`
  }

  toJSON(): string {
    return this.toString()
  }
}

/**
 * Reads `socks5://HOST:PORT` or `http://HOST:PORT`, with `USER:PASSWORD@` where the proxy asks for them (percent-encoded as in any URL). `socks5h` means the same
 * as `socks5`: names are always resolved by the proxy. Ports default to 1080 and 80; IPv6 addresses stand in brackets.
 * @throws KithError `ADDRESS_INVALID`, which never repeats the text: it may hold a password.
 */
export function parseProxy(text: string): ProxyUrl {
  const match = text.length > MAX_TEXT ? null : /^([a-z0-9+.-]{1,16}):\/\/(?:([^/?#]*)@)?(\[[^\]]*\]|[^:/?#@[\]]*)(?::([0-9]*))?\/?$/i.exec(text)
  if (match === null) throw invalid(WRITTEN)
  const scheme = match[1]?.toLowerCase().replace(/^socks5h$/, 'socks5')
  if (scheme !== 'socks5' && scheme !== 'http') throw invalid(`${WRITTEN} Other kinds of proxies are not known.`)
  const port = match[4] === undefined ? DEFAULT_PORTS[scheme] : Number(match[4])
  if (match[4] === '' || port < 1 || port > 65_535) throw invalid('The port of a proxy is a number from 1 to 65535.')
  return new ProxyUrl(scheme, hostOf(match[3] as string), port, match[2] === undefined ? undefined : credentialsOf(match[2]))
}

function hostOf(text: string): string {
  if (text.startsWith('[')) {
    const address = text.slice(1, -1)
    if (isIP(address) !== 6 || address.includes('%')) throw invalid('What stands in brackets in the address of a proxy is an IPv6 address.')
    return address
  }
  if (!/^[A-Za-z0-9._-]{1,253}$/.test(text)) throw invalid('The host of a proxy is a name or an address.')
  return text
}

function credentialsOf(text: string): ProxyCredentials {
  const colon = text.indexOf(':')
  const user = decoded(colon === -1 ? text : text.slice(0, colon))
  const password = colon === -1 ? '' : decoded(text.slice(colon + 1))
  // RFC 7617, section 2: the first colon ends the user.
  if (user === '' || user.includes(':')) throw invalid('The user of a proxy is not empty and has no colon in it.')
  return { user, password }
}

function decoded(text: string): string {
  let plain: string
  try {
    plain = decodeURIComponent(text)
  } catch {
    throw invalid('User and password of a proxy are percent-encoded as in any URL.')
  }
  const hasControl = [...plain].some((char) => char < ' ' || char === '\x7f')
  if (hasControl || Buffer.byteLength(plain) > MAX_CREDENTIAL_BYTES)
    throw invalid('User and password of a proxy have at most 255 bytes each, none of them a control character.')
  return plain
}

function invalid(message: string): KithError {
  return new KithError('ADDRESS_INVALID', message, { details: { reason: 'proxy' } })
}

/** `HOST:PORT` with IPv6 in brackets, as RFC 9112 (section 3.2.3) wants it. */
export function formatHostPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

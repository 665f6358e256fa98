import { utf8 } from '../../core/bytes.ts'
import { KithError } from '../../core/errors.ts'
import type { ProxyBytes } from './bytes.ts'
import type { ProxyTarget } from './socks.ts'
import { formatHostPort, type ProxyUrl } from './url.ts'

/**
 * # A hop through an HTTP proxy (RFC 9110, section 9.3.6)
 *
 * ```text
 * us     CONNECT HOST:PORT HTTP/1.1 | Host: HOST:PORT | Proxy-Authorization: Basic ... (when there are credentials)
 * proxy  HTTP/1.x STATUS REASON | header lines | empty line       2xx: what follows is the connection, whatever the headers say of a length
 * ```
 *
 * Only the three digits decide: a reason that mentions 200 opens nothing. Interim answers (1xx) are read over.
 */
const MAX_HEAD_BYTES = 8_192
const STATUS_LINE = /^HTTP\/1\.[01] ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/
const HEADER_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/
const LF = 0x0a
/** Statuses by which a proxy says that it is willing and the other end is not there. */
const UNREACHABLE: ReadonlySet<number> = new Set([502, 503, 504])

/**
 * Asks an HTTP proxy for a connection. When it resolves, the next byte is the target's.
 * @throws KithError `PROXY_AUTH`, `PROXY_REFUSED`, `PROXY_INVALID`, `PROXY_UNREACHABLE`, `ADDRESS_UNREACHABLE` (`details.status`).
 */
export async function httpConnectHop(bytes: ProxyBytes, proxy: ProxyUrl, target: ProxyTarget): Promise<void> {
  const authority = formatHostPort(target)
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`]
  const { credentials } = proxy
  if (credentials !== undefined) lines.push(`Proxy-Authorization: Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`)
  bytes.write(utf8(`${lines.join('\r\n')}\r\n\r\n`))
  const budget = { left: MAX_HEAD_BYTES }
  for (;;) {
    const status = await readHead(bytes, proxy, budget)
    if (status >= 200 && status < 300) return
    if (status === 101 || status >= 200) throw unsuccessful(proxy, status)
  }
}

/** One head, its interim ones before it counted in. */
async function readHead(bytes: ProxyBytes, proxy: ProxyUrl, budget: { left: number }): Promise<number> {
  const status = STATUS_LINE.exec(await readLine(bytes, proxy, budget))?.[1]
  if (status === undefined) throw invalid(proxy, 'status-line')
  for (;;) {
    const line = await readLine(bytes, proxy, budget)
    if (line === '') return Number(status)
    if (!HEADER_LINE.test(line)) throw invalid(proxy, 'header')
  }
}

/** Byte by byte: nothing behind the head is taken. */
async function readLine(bytes: ProxyBytes, proxy: ProxyUrl, budget: { left: number }): Promise<string> {
  const line: number[] = []
  for (;;) {
    if (budget.left-- === 0) throw invalid(proxy, 'head-too-long')
    const byte = (await bytes.read(1))[0] as number
    if (byte !== LF) {
      line.push(byte)
      continue
    }
    if (line.pop() !== 0x0d) throw invalid(proxy, 'line-end')
    return Buffer.from(line).toString('latin1')
  }
}

function unsuccessful(proxy: ProxyUrl, status: number): KithError {
  const details = { proxy: proxy.toString(), status, reason: `status-${status}` }
  // 401 is what tinyproxy says to wrong credentials.
  if (status === 407 || status === 401) {
    const message = `The proxy ${proxy} ${proxy.credentials === undefined ? 'wants a user and a password' : 'does not accept the user and password'}.`
    return new KithError('PROXY_AUTH', message, { details, next: 'kith config show' })
  }
  if (UNREACHABLE.has(status)) return new KithError('ADDRESS_UNREACHABLE', `The proxy ${proxy} could not reach the address (status ${status}).`, { details })
  return new KithError('PROXY_REFUSED', `The proxy ${proxy} does not carry this connection (status ${status}).`, { details })
}

function invalid(proxy: ProxyUrl, reason: string): KithError {
  return new KithError('PROXY_INVALID', `What answers at ${proxy} is no HTTP proxy (${reason}).`, { details: { proxy: proxy.toString(), reason } })
}

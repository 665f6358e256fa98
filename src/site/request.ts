import type { Head } from './http/head.ts'
import { hostName } from './http/host.ts'

/** A request whose head is whole and makes sense. */
export interface SiteRequest {
  readonly method: string
  readonly target: string
  readonly version: number
  readonly keepAlive: boolean
  /** Bytes of the body, or `'chunked'`. */
  readonly body: number | 'chunked'
  /** For redirects: scheme, host and port. */
  readonly origin: string
  readonly agent: string
  /** Waits for `100 Continue` before it sends its body. */
  readonly expects: boolean
  /** The first header of this name. */
  readonly header: (name: string) => string | undefined
  readonly lines: Head['lines']
}

export interface RequestPlace {
  readonly encrypted: boolean
  readonly localAddress: string
  readonly localPort: number
}

/** nginx counts with 63 bits. */
const MAX_LENGTH = (1n << 63n) - 1n

/** The request that a head is, or the status that it is refused with. */
export function readRequest(head: Head, place: RequestPlace): SiteRequest | 400 | 405 | 501 {
  const values = new Map<string, string>()
  for (const { name, value } of head.lines) {
    if (!values.has(name)) values.set(name, value)
  }
  const header = (name: string): string | undefined => values.get(name)
  const named = header('host')
  if (head.version > 1000 && named === undefined) return 400
  const length = header('content-length')
  const coding = header('transfer-encoding')
  if (length !== undefined && (!/^\d+$/.test(length) || BigInt(length) > MAX_LENGTH)) return 400
  if (coding !== undefined && head.version < 1001) return 400
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return 501
  if (coding !== undefined && length !== undefined) return 400
  if (head.method === 'TRACE' || head.method === 'CONNECT') return 405
  const agent = header('user-agent') ?? ''
  const keepAlive = wantsToStay(head) && !(head.method === 'POST' && isOldExplorer(agent))
  return {
    method: head.method,
    target: head.target,
    version: head.version,
    keepAlive: keepAlive && head.version >= 1000,
    body: coding === undefined ? Number(length ?? 0) : 'chunked',
    origin: originOf(head.host ?? named, place),
    agent,
    expects: head.version > 1000 && header('expect')?.toLowerCase() === '100-continue',
    header,
    lines: head.lines,
  }
}

/** The last line that says something about it counts. */
function wantsToStay({ lines, version }: Head): boolean {
  let stays = version > 1000
  for (const { name, value } of lines) {
    if (name !== 'connection') continue
    if (/close/i.test(value)) stays = false
    else if (/keep-alive/i.test(value)) stays = true
  }
  return stays
}

/** One that waits for the end of the connection behind a POST. */
function isOldExplorer(agent: string): boolean {
  const at = agent.indexOf('MSIE ')
  if (at === -1 || agent.length <= at + 7 || agent.includes('Opera')) return false
  const version = /^MSIE ([456])\./.exec(agent.slice(at))?.[1]
  return version === '6' ? !agent.includes('SV1', at + 8) : version !== undefined
}

function originOf(host: string | undefined, { encrypted, localAddress, localPort }: RequestPlace): string {
  const name = host === undefined ? localAddress.toLowerCase() : hostName(host)
  const port = localPort === (encrypted ? 443 : 80) ? '' : `:${localPort}`
  return `${encrypted ? 'https' : 'http'}://${name}${port}`
}

import type { Head } from './http/head.ts'

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
  /** The first header of this name. */
  readonly header: (name: string) => string | undefined
  readonly lines: Head['lines']
}

export interface RequestPlace {
  readonly encrypted: boolean
  readonly localAddress: string
  readonly localPort: number
}

/** Headers that nginx refuses when they come twice. */
const UNIQUE = new Set(['host', 'content-length', 'transfer-encoding'])

/** The request that a head is, or the status that it is refused with. */
export function readRequest(head: Head, place: RequestPlace): SiteRequest | 400 | 405 | 501 {
  const values = new Map<string, string>()
  for (const { name, value } of head.lines) {
    if (values.has(name)) {
      if (UNIQUE.has(name)) return 400
    } else values.set(name, value)
  }
  const header = (name: string): string | undefined => values.get(name)
  const named = header('host')
  if (named !== undefined && !isHost(named)) return 400
  if (head.host !== undefined && !isHost(head.host)) return 400
  if (head.version > 1000 && named === undefined) return 400
  const length = header('content-length')
  const coding = header('transfer-encoding')
  if (length !== undefined && !/^\d{1,18}$/.test(length)) return 400
  if (coding !== undefined && length !== undefined) return 400
  if (coding !== undefined && head.version < 1001) return 400
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return 501
  if (head.method === 'TRACE' || head.method === 'CONNECT') return 405
  const connection = header('connection')?.toLowerCase() ?? ''
  const keepAlive = connection.includes('close') ? false : connection.includes('keep-alive') ? true : head.version > 1000
  return {
    method: head.method,
    target: head.target,
    version: head.version,
    keepAlive: keepAlive && head.version >= 1000,
    body: coding === undefined ? Number(length ?? 0) : 'chunked',
    origin: originOf(head.host ?? named, place),
    agent: header('user-agent') ?? '',
    header,
    lines: head.lines,
  }
}

/** No control character, space or slash, and something in front of the port. */
function isHost(text: string): boolean {
  return /^[^\0-\x20\x7f/:][^\0-\x20\x7f/]*$/.test(text) && (!text.startsWith('[') || text.includes(']'))
}

function originOf(host: string | undefined, { encrypted, localAddress, localPort }: RequestPlace): string {
  const name = (host ?? localAddress).toLowerCase()
  const bare = name.startsWith('[') ? name.slice(0, name.indexOf(']') + 1) : (name.split(':')[0] as string).replace(/\.$/, '')
  const port = localPort === (encrypted ? 443 : 80) ? '' : `:${localPort}`
  return `${encrypted ? 'https' : 'http'}://${bare}${port}`
}

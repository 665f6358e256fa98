import { KithError } from '../../../core/errors.ts'

export interface PeerTarget {
  /** As a person wrote it: a name, a DID, or a prefix of one. */
  readonly peer: string
  /** `HOST:PORT` or `unix:/path` on the peer's side; an IPv6 address in brackets. */
  readonly target: string
}

const PEER = String.raw`((?:did:[a-z0-9]+:)?[^:[\]]+)`
/** A DID has colons of its own, so the last two parts are the target and what stands before them is the peer. */
const TARGET = new RegExp(String.raw`^${PEER}:((?:\[[^[\]]+\]|[^:[\]]+):\d{1,5})$`)
const SOCKET = new RegExp(`^${PEER}:(unix:/.+)$`)
const PORT = new RegExp(String.raw`^${PEER}:(\d{1,5})$`)

/**
 * Takes `PEER:HOST:PORT` or `PEER:unix:/path` apart. Whether the target is one is said by the node.
 * @throws KithError `USAGE` that shows how it is written.
 */
export function parsePeerTarget(text: string): PeerTarget {
  const match = SOCKET.exec(text) ?? TARGET.exec(text)
  if (match?.[1] !== undefined && match[2] !== undefined) return { peer: match[1], target: match[2] }
  throw new KithError('USAGE', `'${text.slice(0, 300)}' is not PEER:HOST:PORT${hint(text)}.`, { next: 'kith forward --help' })
}

/**
 * Takes `PEER:[HOST:]PORT` apart, as `--remote` has it; without a host the peer listens on its loopback.
 * @throws KithError `USAGE`.
 */
export function parsePeerPlace(text: string): { readonly peer: string; readonly place: string } {
  const match = SOCKET.exec(text) ?? TARGET.exec(text)
  if (match?.[1] !== undefined && match[2] !== undefined) return { peer: match[1], place: match[2] }
  const short = PORT.exec(text)
  if (short?.[1] !== undefined && short[2] !== undefined) return { peer: short[1], place: `127.0.0.1:${short[2]}` }
  throw new KithError('USAGE', `'${text.slice(0, 300)}' is not PEER:PORT or PEER:HOST:PORT.`, { next: 'kith forward --help' })
}

function hint(text: string): string {
  const short = /^([^:[\]]+):(\d{1,5})$/.exec(text)
  if (short !== null) return `; for a port of the peer itself write ${short[1]}:localhost:${short[2]}`
  return /:[^[\]]*:[^[\]]*:/.test(text) && !text.startsWith('did:')
    ? '; an IPv6 address stands in brackets, as in laptop:[::1]:8080'
    : ', as in laptop:localhost:8080'
}

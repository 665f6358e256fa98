import { KithError } from '../../../core/errors.ts'

export interface PeerTarget {
  /** As a person wrote it: a name, a DID, or a prefix of one. */
  readonly peer: string
  /** `HOST:PORT` on the peer's side; an IPv6 address in brackets. */
  readonly target: string
}

/** A DID has colons of its own, so the last two parts are the target and what stands before them is the peer. */
const PATTERN = /^((?:did:[a-z0-9]+:)?[^:[\]]+):((?:\[[^[\]]+\]|[^:[\]]+):\d{1,5})$/

/**
 * Takes `PEER:HOST:PORT` apart. Whether the target is one is said by the node.
 * @throws KithError `USAGE` that shows how it is written.
 */
export function parsePeerTarget(text: string): PeerTarget {
  const match = PATTERN.exec(text)
  if (match?.[1] !== undefined && match[2] !== undefined) return { peer: match[1], target: match[2] }
  throw new KithError('USAGE', `'${text.slice(0, 300)}' is not PEER:HOST:PORT${hint(text)}.`, { next: 'kith forward --help' })
}

function hint(text: string): string {
  const short = /^([^:[\]]+):(\d{1,5})$/.exec(text)
  if (short !== null) return `; for a port of the peer itself write ${short[1]}:localhost:${short[2]}`
  return /:[^[\]]*:[^[\]]*:/.test(text) && !text.startsWith('did:')
    ? '; an IPv6 address stands in brackets, as in laptop:[::1]:8080'
    : ', as in laptop:localhost:8080'
}

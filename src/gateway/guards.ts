import type { IncomingHttpHeaders } from 'node:http'
import { KithError } from '../core/errors.ts'
import { isLoopback, parseIp } from '../mesh/ip.ts'
import { malformed } from './json.ts'
import { MAX_BEARER_LENGTH, MAX_DEADLINE_MS } from './limits.ts'

/** Spellings of `Host` that were found right, so that the usual one costs one look-up. */
const MAX_KNOWN_HOSTS = 64

/**
 * A name that somebody else's DNS answers for may lead here, and a page of that name would then be "of the same origin" as this door. So only names that cannot be
 * somebody else's are answered: `localhost`, loopback addresses, and what the owner named. The port does not matter: a forward may have another.
 */
export class HostGuard {
  readonly #names: ReadonlySet<string>
  readonly #known: Set<string> = new Set()

  constructor(names: readonly string[]) {
    this.#names = new Set(['localhost', ...names.map((name) => name.toLowerCase())])
  }

  /** @throws KithError `GATEWAY_REFUSED`. */
  check(headers: IncomingHttpHeaders): void {
    const { host, origin } = headers
    if (host === undefined || !this.#allows(host)) throw new KithError('GATEWAY_REFUSED', 'The gateway does not answer under this name.')
    // A browser says where a page comes from; there are no pages here, so none of them has business with this door.
    if (origin !== undefined) throw new KithError('GATEWAY_REFUSED', 'The gateway answers no web page.')
  }

  #allows(host: string): boolean {
    if (this.#known.has(host)) return true
    const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9.-]{1,253}))(?::[0-9]{1,5})?$/.exec(host)
    const name = (match?.[1] ?? match?.[2])?.toLowerCase()
    if (name === undefined) return false
    const address = parseIp(name)
    const allowed = address === undefined ? this.#names.has(name) : isLoopback(address) || this.#names.has(name)
    if (allowed && this.#known.size < MAX_KNOWN_HOSTS) this.#known.add(host)
    return allowed
  }
}

/** What stands behind `Bearer`, or nothing. Never taken from anywhere else: an address with a token in it ends in logs. */
export function bearerOf({ authorization }: IncomingHttpHeaders): string | undefined {
  if (authorization === undefined || authorization.length > MAX_BEARER_LENGTH) return undefined
  const match = /^bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization)
  return match?.[1]
}

/** Ms that the caller gives, from `Kith-Deadline-Ms`. @throws KithError `REQUEST_MALFORMED`. */
export function deadlineOf(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['kith-deadline-ms']
  if (text === undefined) return undefined
  const value = typeof text === 'string' && /^[1-9][0-9]{0,6}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > MAX_DEADLINE_MS) throw malformed(`Kith-Deadline-Ms is a whole number from 1 to ${MAX_DEADLINE_MS}.`)
  return value
}

/** Trace and parent of W3C Trace Context; anything that is not of its form is as if it were not there, as that document asks. */
export function traceOf(headers: IncomingHttpHeaders): { readonly traceId: string; readonly parentId: string } | undefined {
  const text = headers.traceparent
  if (typeof text !== 'string' || text.length < 55 || text.length > 128) return undefined
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/.exec(text)
  if (match === null || match[1] === 'ff' || (match[1] === '00' && match[4] !== undefined)) return undefined
  const [, , traceId = '', parentId = ''] = match
  return /^0+$/.test(traceId) || /^0+$/.test(parentId) ? undefined : { traceId, parentId }
}

/** Where a subscription is taken up again. @throws KithError `REQUEST_MALFORMED`. */
export function lastEventIdOf(headers: IncomingHttpHeaders): string | undefined {
  const text = headers['last-event-id']
  if (text === undefined || text === '') return undefined
  if (typeof text !== 'string' || text.length > 256) throw malformed('Last-Event-ID has at most 256 characters.')
  return text
}

/** Whether the client asked for events by name. */
export function wantsEvents({ accept }: IncomingHttpHeaders): boolean {
  return accept !== undefined && /(^|[,\s])text\/event-stream\s*($|[,;])/i.test(accept)
}

/** @throws KithError `REQUEST_MALFORMED`: a form that a page sends without asking (`text/plain`, a form) is never taken for JSON. */
export function checkJsonBody(headers: IncomingHttpHeaders): void {
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity') throw malformed('A body is sent uncompressed.')
  const type = headers['content-type']
  if (type === 'application/json') return
  if (type === undefined || !/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) throw malformed('A body is application/json.')
}

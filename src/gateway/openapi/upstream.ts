import { lookup } from 'node:dns'
import { type IncomingMessage, Agent as PlainAgent, request as plainRequest, type RequestOptions } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { KithError } from '../../core/errors.ts'
import { neverByRange, parseIp } from '../../mesh/ip.ts'
import { isSafeUrl } from '../../vault/credentials/limits.ts'

const MAX_ANSWER_BYTES = 8_388_608
const MAX_SOCKETS = 16

export interface UpstreamRequest {
  readonly method: string
  /** Path and query, beginning with `/`, already escaped. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
  readonly signal: AbortSignal
}

export interface UpstreamAnswer {
  readonly status: number
  readonly type: string
  readonly text: string
}

export type Resolve = (
  host: string,
  done: (error: NodeJS.ErrnoException | null, addresses: readonly { readonly address: string; readonly family: number }[]) => void,
) => void

/**
 * One service, at the one address that the owner named. No redirect is followed, nothing that the file or an answer says leads anywhere else, and a name that stands
 * for this machine or this cable (a rebinding, a cloud's credential address) is not connected to: the addresses are checked and a checked one is dialled.
 */
export class Upstream {
  readonly base: URL
  readonly #agent: PlainAgent | SecureAgent

  /** @throws TypeError for an address that is neither encrypted nor on this machine, or has more than origin and path. */
  constructor(url: string, resolve: Resolve = systemResolve) {
    this.base = new URL(url)
    if (!isBaseUrl(url)) throw new TypeError('the address of a service is https://HOST[/PATH], or http for this machine')
    const options = { keepAlive: true, maxSockets: MAX_SOCKETS, timeout: 60_000, lookup: checkedLookup(resolve, this.base.hostname === 'localhost') }
    this.#agent = this.base.protocol === 'https:' ? new SecureAgent(options) : new PlainAgent(options)
  }

  /** Everything that stands in the request's head but `host` and what Node adds about the connection. */
  headersOf({ headers, body }: Pick<UpstreamRequest, 'headers' | 'body'>): Readonly<Record<string, string>> {
    return { accept: 'application/json', ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
  }

  /** Path and query of the request line. */
  targetOf(path: string): string {
    return `${this.base.pathname.replace(/\/$/, '')}${path}`
  }

  /** Headers are sent as they are (`headersOf`). @throws KithError `UPSTREAM_UNREACHABLE`, `UPSTREAM_FAILED`, or the signal's reason. */
  async ask({ method, path, headers, body, signal }: UpstreamRequest): Promise<UpstreamAnswer> {
    const options: RequestOptions = {
      method,
      agent: this.#agent,
      signal,
      path: this.targetOf(path),
      headers: { ...headers, ...(body === undefined ? {} : { 'content-length': body.length }) },
    }
    try {
      return await this.#exchange(options, body)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw error instanceof KithError ? error : new KithError('UPSTREAM_UNREACHABLE', undefined, { cause: error })
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  #exchange(options: RequestOptions, body: Buffer | undefined): Promise<UpstreamAnswer> {
    return new Promise((resolve, reject) => {
      const sent = this.base.protocol === 'https:' ? secureRequest(this.base, options) : plainRequest(this.base, options)
      sent.once('response', (answer) => void read(answer).then(resolve, reject))
      sent.once('error', reject)
      sent.end(body)
    })
  }
}

export function isBaseUrl(text: string): boolean {
  const url = text.length <= 512 && URL.canParse(text) ? new URL(text) : undefined
  return url !== undefined && isSafeUrl(url) && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
}

async function read(answer: IncomingMessage): Promise<UpstreamAnswer> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > MAX_ANSWER_BYTES) throw new KithError('UPSTREAM_FAILED', `The service answers with more than ${MAX_ANSWER_BYTES} bytes.`)
      chunks.push(chunk)
    }
  } finally {
    if (!answer.complete) answer.destroy()
  }
  return { status: answer.statusCode ?? 0, type: answer.headers['content-type'] ?? '', text: Buffer.concat(chunks).toString('utf8') }
}

const systemResolve: Resolve = (host, done) => lookup(host, { all: true, verbatim: true }, (error, addresses) => done(error, addresses ?? []))

/** `own`: the owner named this machine itself. A name that stands for several addresses is refused when one of them is not allowed. */
function checkedLookup(resolve: Resolve, own: boolean): LookupFunction {
  return (host, options, callback) => {
    resolve(host, (error, addresses) => {
      if (error !== null) return callback(error, '', 0)
      const refused = addresses.some(({ address }) => {
        const ip = parseIp(address)
        return ip === undefined || (neverByRange(ip) && !(own && /^(127\.|::1$)/.test(address)))
      })
      const [first] = addresses
      if (refused || first === undefined) {
        const refusal: NodeJS.ErrnoException = new Error('the name stands for an address of this machine or none')
        return callback(refusal, '', 0)
      }
      if (options.all === true) return callback(null, [...addresses])
      callback(null, first.address, first.family)
    })
  }
}

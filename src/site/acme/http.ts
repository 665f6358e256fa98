import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { connectThrough, type ProxyRoute } from '../../transport/proxy.ts'

/** One answer of an authority. Header names are in lower case. */
export interface AcmeAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export interface AcmeRequest {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly url: string
  readonly body?: string
  readonly signal: AbortSignal
}

export type AcmeHttp = (request: AcmeRequest) => Promise<AcmeAnswer>

/** A chain of certificates is a few KiB; nothing else is longer. */
const MAX_BODY_BYTES = 262_144
const TIMEOUT_MS = 30_000
const MAX_URL = 2_048

export interface AcmeHttpOptions {
  readonly clock: Clock
  readonly proxies: ProxyRoute
  /** PEM of the authority's own root, for one that is not publicly known. */
  readonly ca?: string | undefined
  readonly userAgent: string
}

/** HTTPS to an authority: no redirects, bounded answers, a deadline for each. */
export function createAcmeHttp({ clock, proxies, ca, userAgent }: AcmeHttpOptions): AcmeHttp {
  return async ({ method, url, body, signal }) => {
    const { hostname, port, pathname, search } = checkUrl(url)
    const host = hostname.replace(/^\[|\]$/g, '')
    const late = new AbortController()
    const timer = clock.after(TIMEOUT_MS, () => late.abort(failed('the authority did not answer in time')))
    const stop = AbortSignal.any([signal, late.signal])
    let socket: Duplex | undefined
    try {
      const target = { host, port: Number(port || 443) }
      const plain = await connectThrough(proxies.for(host), { ...target, signal: stop, clock })
      const tls = connectTls({ socket: plain, host, ...(ca === undefined ? {} : { ca }), ALPNProtocols: ['http/1.1'], ...serverName(host) })
      socket = tls
      // The request hears of it too; this keeps an error between the two from ending the process.
      tls.on('error', () => {})
      const headers = {
        'User-Agent': userAgent,
        ...(body === undefined ? {} : { 'Content-Type': 'application/jose+json', 'Content-Length': Buffer.byteLength(body) }),
        Connection: 'close',
      }
      return await new Promise<AcmeAnswer>((resolve, reject) => {
        const req = request({
          method,
          hostname: host,
          port: target.port,
          path: pathname + search,
          headers,
          // Without an agent: its connections are not the ones that were made through the proxies.
          signal: stop,
          createConnection: () => tls,
        })
        req.on('error', reject)
        let answered = false
        req.on('response', (message) => {
          answered = true
          readAnswer(message).then(resolve, reject)
        })
        // Whatever is neither an answer nor an error, such as 101: it would be waited for for ever.
        req.on('close', () => {
          if (!answered) reject(failed('the authority ended the connection without an answer'))
        })
        req.end(body)
      })
    } catch (cause) {
      if (signal.aborted) throw signal.reason
      if (late.signal.aborted) throw late.signal.reason
      if (cause instanceof KithError) throw cause
      const { code } = cause as NodeJS.ErrnoException
      throw failed(`the authority cannot be reached (${code ?? 'no reason given'})`, cause)
    } finally {
      timer.cancel()
      socket?.destroy()
    }
  }
}

/** RFC 6066, section 3: no addresses in a server name. */
function serverName(host: string): { servername?: string } {
  return /^[0-9.]+$|:/.test(host) ? {} : { servername: host }
}

/** @throws KithError `CERTIFICATE_FAILED` for what an authority must not name (RFC 8555, section 6.1). */
function checkUrl(text: string): URL {
  const url = text.length <= MAX_URL && URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') throw failed('an address of the authority is not a plain https URL')
  return url
}

async function readAnswer(message: IncomingMessage): Promise<AcmeAnswer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of message as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_BODY_BYTES) throw failed('the authority answers with more than it should')
    chunks.push(chunk)
  }
  return { status: message.statusCode ?? 0, headers: message.headers, body: Buffer.concat(chunks) }
}

function failed(reason: string, cause?: unknown): KithError {
  return new KithError('CERTIFICATE_FAILED', `No certificate: ${reason}.`, { details: { reason }, cause, next: 'kith doctor' })
}

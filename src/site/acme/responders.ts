import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { utf8 } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { TlsCertificate } from '../../transport/front/types.ts'
import { challengeName, type Identifier } from './identifiers.ts'
import { keyPem, makeKey, makeSelfSigned } from './x509.ts'

/** What an authority will ask for, and the answer that proves who is asked (RFC 8555, section 8.1). */
export interface Offer {
  readonly identifier: Identifier
  readonly token: string
  readonly authorization: string
}

/** Answers one challenge from `offer` until what it returned is called. */
export interface Responder {
  readonly type: 'tls-alpn-01' | 'http-01'
  offer(offer: Offer): Promise<() => Promise<void> | void>
}

export interface TlsResponder extends Responder {
  /** The certificate to answer a client with that named `acme-tls/1` and this server name; undefined when nobody should ask. */
  certificateFor(serverName: string | undefined): TlsCertificate | undefined
}

const DAY_MS = 86_400_000

/** TLS-ALPN-01 (RFC 8737): whoever has the TLS port answers with a certificate made for the one question. */
export function tlsResponder({ clock, random }: { readonly clock: Clock; readonly random: Random }): TlsResponder {
  const open = new Map<string, TlsCertificate>()
  return {
    type: 'tls-alpn-01',
    async offer({ identifier, authorization }) {
      const key = makeKey()
      const now = clock.now()
      const dates = { notBefore: now - DAY_MS, notAfter: now + DAY_MS }
      const cert = makeSelfSigned({ identifiers: [identifier], key, ...dates, random, acmeDigest: sha256(utf8(authorization)) })
      const name = challengeName(identifier)
      open.set(name, { key: keyPem(key), cert })
      return () => void open.delete(name)
    },
    certificateFor: (serverName) => (serverName === undefined ? undefined : open.get(serverName.toLowerCase())),
  }
}

export interface HttpResponderOptions {
  /** Where the authority’s requests for port 80 arrive. */
  readonly host: string
  readonly port: number
}

const PREFIX = '/.well-known/acme-challenge/'
const REQUEST_MS = 10_000
const MAX_CONNECTIONS = 64

/** HTTP-01 (RFC 8555, section 8.3): a server that is there only while a challenge is open, and knows nothing else. `port` is where it listens while it does. */
export function httpResponder({ host, port }: HttpResponderOptions): Responder & { readonly port: number | undefined } {
  const open = new Map<string, string>()
  let server: Promise<Server> | undefined
  let bound: number | undefined
  return {
    type: 'http-01',
    get port() {
      return bound
    },
    async offer({ token, authorization }) {
      server ??= listen({ host, port }, open)
      const running = await server.catch((error: unknown) => {
        server = undefined
        throw error
      })
      bound = (running.address() as { port: number } | null)?.port
      open.set(PREFIX + token, authorization)
      return async () => {
        open.delete(PREFIX + token)
        if (open.size > 0) return
        server = undefined
        bound = undefined
        running.closeAllConnections()
        await new Promise((resolve) => running.close(resolve))
      }
    },
  }
}

async function listen({ host, port }: HttpResponderOptions, open: ReadonlyMap<string, string>): Promise<Server> {
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, maxHeaderSize: 8_192 }, (request, response) => {
    const answer = request.method === 'GET' ? open.get(request.url ?? '') : undefined
    response.setHeader('Connection', 'close')
    if (answer === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'Content-Type': 'application/octet-stream' }).end(answer)
  })
  // The oldest gives way: an authority asks once and quickly, and nobody else has a question that is worth waiting for.
  const connections = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    const [oldest] = connections
    if (oldest !== undefined && connections.size >= MAX_CONNECTIONS) {
      connections.delete(oldest)
      oldest.destroy()
    }
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    // Stays for good: accepting can fail later, and an error that nobody listens to would end the process.
    server.on('error', (cause: NodeJS.ErrnoException) => {
      const message = `Nothing can listen at ${host}:${port} for the authority’s questions (${cause.code ?? 'unknown'}).`
      reject(new KithError('CERTIFICATE_FAILED', message, { details: { reason: cause.code ?? 'unknown' }, cause, next: 'kith config show acme.http_listen' }))
    })
    server.listen({ host, port }, resolve)
  })
  server.unref()
  return server
}

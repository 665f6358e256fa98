import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { asKithError, KithError } from '../../core/errors.ts'
import { systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import type { NodeContext } from '../context.ts'
import { errorBody, httpStatus } from './error-body.ts'
import type { AnyRoute, CallContext, Method } from './route.ts'
import { SEALING_KEY_PATH, Sealing } from './sealing.ts'
import type { ControlServerOptions } from './server.ts'
import { authorized } from './token.ts'
import { MAX_HEADS, WORKER_PATH, WORKER_UPGRADE } from './upgrade.ts'

/** An entry of the largest size in base64, and room around it. */
const MAX_BODY_BYTES = 1_572_864
/** What guarded memory takes in one piece, sealed, with the key it is sealed to. */
const MAX_SECRET_BYTES = 1_048_576 + 80
const MAX_HEADER_BYTES = 16_384
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 30_000
const NOT_UNDERSTOOD: string = JSON.stringify(errorBody(new KithError('USAGE', 'The request is not understood.')))

/** Answers HTTP/1.1 on connections that it is given. */
export interface ControlHttp {
  /** A connection just accepted and not yet read from. */
  serve(connection: Socket): void
  /** Ends every connection. */
  close(): Promise<void>
}

export async function openControlHttp(options: ControlServerOptions): Promise<ControlHttp> {
  const app = Fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    // Without a Host header Node would answer by itself, in another shape; here nothing depends on it.
    http: { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: 5_000, requireHostHeader: false },
    routerOptions: { maxParamLength: 100 },
    frameworkErrors: (_error, _request, reply) => {
      refuse(reply, new KithError('USAGE', 'The request is not understood.'))
    },
    clientErrorHandler: (_error, connection) => endConnection(connection),
  })
  app.server.on('checkExpectation', (_request, response: ServerResponse) => {
    response.writeHead(400, { 'content-type': 'application/json', connection: 'close' }).end(NOT_UNDERSTOOD)
  })
  app.server.on('upgrade', (request, connection, early) => {
    upgrade(request, connection as Socket, early, options)
  })
  prepare(app, options)
  const sealing = new Sealing(options.random ?? systemRandom)
  app.post(SEALING_KEY_PATH, async (_request, reply) => {
    void reply.header('cache-control', 'no-store')
    return { key: sealing.offer() }
  })
  for (const [key, route] of Object.entries(options.routes)) {
    const [method, url] = key.split(' ') as [Method, string]
    app.route({ method, url, handler: (request, reply) => answer(route, request, reply, options.context, sealing) })
  }
  await app.ready()
  // The server never listens itself; this event starts what watches over the time that requests take.
  app.server.emit('listening')
  return {
    serve(connection) {
      app.server.emit('connection', connection)
      connection.resume()
    },
    async close() {
      app.server.closeAllConnections()
      await app.close()
      sealing.close()
    },
  }
}

/** A process that offers operations goes on in the protocol of workers, with the same token as every request. */
function upgrade(request: IncomingMessage, connection: Socket, early: Buffer, options: ControlServerOptions): void {
  const refused = (error: KithError): void => {
    const body = JSON.stringify(errorBody(error))
    const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`
    connection.end(`HTTP/1.1 ${httpStatus(error.code)} Refused\r\n${head}\r\n\r\n${body}`)
  }
  connection.on('error', () => connection.destroy())
  if (!authorized(request.headers.authorization, options.token)) {
    refused(new KithError('CONTROL_UNAUTHORIZED', 'The control token is missing or wrong.'))
    return
  }
  const url = new URL(request.url ?? '/', 'http://control')
  if (url.pathname !== WORKER_PATH || request.headers.upgrade !== WORKER_UPGRADE) {
    refused(new KithError('NOT_FOUND', 'The control interface has nothing to change to here.'))
    return
  }
  try {
    const heads = url.searchParams.getAll('head')
    if (heads.length > MAX_HEADS) throw new KithError('USAGE', `A worker is registered at ${MAX_HEADS} heads at most.`)
    const { did } = options.context.mesh
    options.context.calls.attach(connection, early, heads, () => {
      connection.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${WORKER_UPGRADE}\r\nx-kith-did: ${did}\r\n\r\n`)
    })
  } catch (error) {
    refused(asKithError(error, 'INTERNAL'))
  }
}

function endConnection(connection: Socket): void {
  if (!connection.writable) return
  const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(NOT_UNDERSTOOD)}\r\nconnection: close`
  connection.end(`HTTP/1.1 400 Bad Request\r\n${head}\r\n\r\n${NOT_UNDERSTOOD}`)
}

function prepare(app: FastifyInstance, options: ControlServerOptions): void {
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer', bodyLimit: MAX_SECRET_BYTES }, (_request, body, done) => done(null, body))
  app.addHook('onRequest', async (request, reply) => {
    if (!authorized(request.headers.authorization, options.token)) {
      refuse(reply, new KithError('CONTROL_UNAUTHORIZED', 'The control token is missing or wrong.'))
      return reply
    }
  })
  app.setNotFoundHandler((request, reply) => {
    refuse(reply, new KithError('NOT_FOUND', `The control interface has no ${request.method} here.`))
  })
  app.setErrorHandler((error, _request, reply) => {
    const known = fromFramework(error)
    if (known.code === 'INTERNAL') options.logger.error('control request failed', { message: known.cause instanceof Error ? known.cause.message : 'unknown' })
    refuse(reply, known)
  })
}

/** Errors of handlers are ours already; those of the framework are about the request. */
function fromFramework(error: unknown): KithError {
  if (error instanceof KithError) return error
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new KithError('MESSAGE_TOO_LARGE', 'The request is larger than the control interface takes.')
  if (typeof statusCode === 'number' && statusCode < 500) return new KithError('USAGE', 'The request is not understood.')
  return asKithError(error, 'INTERNAL')
}

function refuse(reply: FastifyReply, error: KithError): void {
  void reply.code(httpStatus(error.code)).header('cache-control', 'no-store').send(errorBody(error))
}

async function answer(route: AnyRoute, request: FastifyRequest, reply: FastifyReply, context: NodeContext, sealing: Sealing): Promise<unknown> {
  const abort = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort(new KithError('ABORTED', 'The client went away.'))
  })
  const call: CallContext = { signal: abort.signal }
  const input = route.kind !== 'secret' && request.method !== 'GET' ? (request.body ?? {}) : request.query
  if (route.kind === 'lines') return streamLines(route.run(context, input, call), reply, abort)
  void reply.header('cache-control', 'no-store')
  if (route.kind === 'secret') return await withPassphrase(request.body, sealing, (secret) => route.run(context, input, secret, call))
  return await route.run(context, input, call)
}

/** The passphrase goes from the sealed body into guarded memory, and is wiped when the handler has ended. */
async function withPassphrase<T>(body: unknown, sealing: Sealing, run: (secret: Secret | undefined) => T | Promise<T>): Promise<T> {
  if (body !== undefined && body !== null && !Buffer.isBuffer(body)) throw new KithError('USAGE', 'A passphrase is sent as application/octet-stream.')
  const sealed = Buffer.isBuffer(body) && body.length > 0 ? body : undefined
  const secret = sealed === undefined ? undefined : sealing.open(sealed)
  if (sealed !== undefined && secret === undefined) throw new KithError('USAGE', 'This passphrase was not sealed to a key of this daemon that waits for it.')
  try {
    return await run(secret)
  } finally {
    secret?.wipe()
  }
}

/** Writes values as lines, no faster than the client reads. An error in the middle is the last line. */
async function streamLines(values: AsyncIterable<unknown>, reply: FastifyReply, abort: AbortController): Promise<FastifyReply> {
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  raw.flushHeaders()
  try {
    for await (const value of values) {
      if (abort.signal.aborted) break
      if (!raw.write(`${JSON.stringify(value)}\n`)) await once(raw, 'drain', { signal: abort.signal })
    }
  } catch (error) {
    if (!abort.signal.aborted) raw.write(`${JSON.stringify(errorBody(asKithError(error, 'INTERNAL')))}\n`)
  } finally {
    raw.end()
  }
  return reply
}

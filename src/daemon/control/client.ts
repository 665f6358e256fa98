import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import type { ControlApi } from './api.ts'
import { parseErrorBody } from './error-body.ts'
import { type ControlPlace, checkControlPlace, controlPlace, endpointOf } from './place.ts'
import { readToken } from './token.ts'
import { WORKER_PATH, WORKER_UPGRADE } from './upgrade.ts'

/** The largest answer that is not a stream. */
const MAX_ANSWER_BYTES = 33_554_432
const MAX_LINE_CHARS = 8_388_608

type Key = keyof ControlApi
type KeyOf<Kind extends string> = { [K in Key]: ControlApi[K] extends { readonly kind: Kind } ? K : never }[Key]

export interface CallOptions {
  readonly signal?: AbortSignal
}

/** The command line's only way to the daemon. */
export interface ControlClient {
  /** @throws KithError as the daemon reported it; `DAEMON_NOT_RUNNING`, `CONTROL_FAILED`, `HOME_UNSAFE`, or the signal's reason. */
  call<K extends KeyOf<'json'>>(route: K, input: ControlApi[K]['input'], options?: CallOptions): Promise<ControlApi[K]['output']>
  /** Sends a passphrase, sealed; the caller keeps and wipes it. */
  callWithSecret<K extends KeyOf<'secret'>>(
    route: K,
    input: ControlApi[K]['input'],
    secret: Secret | undefined,
    options?: CallOptions,
  ): Promise<ControlApi[K]['output']>
  /** Values as they come, until the daemon ends or the signal aborts. */
  lines<K extends KeyOf<'lines'>>(route: K, input: ControlApi[K]['input'], options?: CallOptions): AsyncIterable<ControlApi[K]['output']>
  /** A connection over which this process offers operations, here and at these peers. @throws as `call`. */
  worker(heads: readonly string[], options?: CallOptions): Promise<Upgraded>
}

/** A connection to the daemon that has left HTTP. */
export interface Upgraded {
  readonly socket: Socket
  /** What came behind the answer. */
  readonly early: Buffer
  /** Of the node. */
  readonly did: string
}

export interface ControlClientOptions {
  /** Absolute path without links. */
  readonly home: string
}

export function createControlClient(options: ControlClientOptions): ControlClient {
  const place = controlPlace(options.home)
  return {
    async call(route, input, { signal } = {}) {
      const answer = await send(place, route, { json: input }, signal)
      return readAnswer(answer) as never
    },
    async callWithSecret(route, input, secret, { signal } = {}) {
      const bytes = secret === undefined ? Buffer.alloc(0) : await sealedFor(place, secret, signal)
      const answer = await send(place, route, { query: input, bytes }, signal)
      return readAnswer(answer) as never
    },
    async *lines(route, input, { signal } = {}) {
      const answer = await send(place, route, { json: input }, signal)
      if (answer.statusCode !== 200) await readAnswer(answer)
      yield* readLines(answer, signal) as AsyncIterable<never>
    },
    worker: (heads, { signal } = {}) => upgrade(place, heads, signal),
  }
}

/** Loaded when there is a secret to send: most commands have none, and should start fast. */
async function sealedFor(place: ControlPlace, secret: Secret, signal: AbortSignal | undefined): Promise<Buffer> {
  const { SEALING_KEY_PATH, sealedBody } = await import('./sealing.ts')
  const answer = (await readAnswer(await send(place, `POST ${SEALING_KEY_PATH}`, { json: {} }, signal))) as { key?: unknown }
  const key = typeof answer.key === 'string' ? Buffer.from(answer.key, 'hex') : Buffer.alloc(0)
  if (key.length !== 32) throw new KithError('CONTROL_FAILED', 'The daemon gave no key to seal the passphrase to.', { next: 'kith down' })
  return sealedBody(key, secret)
}

async function upgrade(place: ControlPlace, heads: readonly string[], signal: AbortSignal | undefined): Promise<Upgraded> {
  signal?.throwIfAborted()
  await checkControlPlace(place)
  const token = await readToken(place.token)
  const query = new URLSearchParams(heads.map((head): [string, string] => ['head', head])).toString()
  return await new Promise((resolve, reject) => {
    const request = httpRequest({
      socketPath: endpointOf(place, token),
      path: query === '' ? WORKER_PATH : `${WORKER_PATH}?${query}`,
      agent: false,
      headers: { authorization: `Bearer ${token}`, connection: 'upgrade', upgrade: WORKER_UPGRADE },
      ...(signal === undefined ? {} : { signal }),
    })
    request.once('upgrade', (answer, socket, early) => {
      // The connection outlives the request, and with it what aborts one.
      resolve({ socket, early, did: String(answer.headers['x-kith-did']) })
    })
    request.once('response', (answer) => readAnswer(answer).then(() => reject(new KithError('CONTROL_FAILED')), reject))
    request.once('error', (error) => reject(signal?.aborted === true ? signal.reason : connectionError(error)))
    request.end()
  })
}

interface Payload {
  readonly json?: unknown
  readonly query?: unknown
  readonly bytes?: Buffer
}

async function send(place: ControlPlace, route: string, payload: Payload, signal: AbortSignal | undefined): Promise<IncomingMessage> {
  signal?.throwIfAborted()
  await checkControlPlace(place)
  const token = await readToken(place.token)
  const [method, path] = route.split(' ') as [string, string]
  const asQuery = method === 'GET' ? (payload.query ?? payload.json) : payload.query
  const query = queryOf(asQuery)
  const body = payload.bytes ?? (method === 'GET' || payload.json === undefined ? undefined : Buffer.from(JSON.stringify(payload.json)))
  return await new Promise((resolve, reject) => {
    const request = httpRequest({
      socketPath: endpointOf(place, token),
      method,
      path: query === '' ? path : `${path}?${query}`,
      agent: false,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined
          ? {}
          : { 'content-type': payload.bytes === undefined ? 'application/json' : 'application/octet-stream', 'content-length': body.length }),
      },
      ...(signal === undefined ? {} : { signal }),
    })
    request.once('response', resolve)
    request.once('error', (error) => reject(signal?.aborted === true ? signal.reason : connectionError(error)))
    request.end(body)
  })
}

function queryOf(input: unknown): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries((input ?? {}) as Record<string, unknown>)) if (value !== undefined) query.set(name, String(value))
  return query.toString()
}

function connectionError(error: Error): KithError {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return new KithError('DAEMON_NOT_RUNNING', undefined, { cause: error })
  return new KithError('CONTROL_FAILED', 'The connection to the daemon was lost.', { cause: error, next: 'kith status' })
}

async function readAnswer(answer: IncomingMessage): Promise<unknown> {
  const status = answer.statusCode ?? 0
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > MAX_ANSWER_BYTES) throw new KithError('CONTROL_FAILED', 'The daemon answered with more than can be read.')
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof KithError ? error : connectionError(error as Error)
  }
  let value: unknown
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    value = undefined
  }
  if (status !== 200 || value === undefined) throw parseErrorBody(value, status)
  return value
}

async function* readLines(answer: IncomingMessage, signal: AbortSignal | undefined): AsyncGenerator<unknown> {
  answer.setEncoding('utf8')
  let rest = ''
  try {
    for await (const chunk of answer as AsyncIterable<string>) {
      rest += chunk
      const whole = rest.split('\n')
      rest = whole.pop() ?? ''
      for (const line of whole) yield parseLine(line)
      if (rest.length > MAX_LINE_CHARS) throw new KithError('CONTROL_FAILED', 'The daemon sent a line that is too long.')
    }
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason
    // The daemon going away ends the stream; that is how following a stopped node ends.
    if (error instanceof KithError) throw error
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
  }
}

function parseLine(line: string): unknown {
  const value: unknown = JSON.parse(line)
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 1 && 'error' in value) throw parseErrorBody(value, 200)
  return value
}

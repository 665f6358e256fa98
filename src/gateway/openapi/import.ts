import { type AnyOperation, type CallContext, defineOperation } from '../../call/define.ts'
import type { OperationAccess } from '../../call/types.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Credentials } from '../../vault/credentials/credentials.ts'
import { authorize } from '../../vault/credentials/sign.ts'
import { Running } from '../running.ts'
import { type ImportedOperation, type ImportedParameter, type ImportPlan, planImport } from './import-plan.ts'
import { type Resolve, Upstream, type UpstreamRequest } from './upstream.ts'

export interface OpenApiImportOptions {
  /** First part of the operations' names. */
  readonly service: string
  /** The parsed file. */
  readonly document: unknown
  /** Where the service is; what the file says about that counts for nothing. */
  readonly url: string
  /** Who may call what is imported: the file has no say in it. Absent: nobody but the owner. */
  readonly access?: OperationAccess
  /** The credential that goes with each request. */
  readonly credential?: { readonly service: string; readonly from: () => Pick<Credentials, 'lease'> }
  readonly deadlineMs?: number
  readonly resolve?: Resolve
  /** For credentials that sign with the time. */
  readonly clock: Pick<Clock, 'now'>
}

export interface OpenApiImport {
  readonly operations: readonly AnyOperation[]
  readonly skipped: ImportPlan['skipped']
  /** Ends at once what is on its way. */
  close(): void
  /** Closes when the calls that run have ended. */
  retire(): Promise<void>
}

/** What an imported operation may fail with besides what every call can. */
const ERRORS = {
  UPSTREAM_FAILED: true,
  UPSTREAM_UNREACHABLE: true,
  VAULT_LOCKED: true,
  CREDENTIAL_UNKNOWN: true,
  CREDENTIAL_EXPIRED: true,
  CREDENTIAL_ORIGIN: true,
  REQUEST_MALFORMED: true,
} as const
const DEFAULT_DEADLINE_MS = 30_000
/** What a service says of a failure is passed on up to here. */
const MAX_FAILURE_CHARACTERS = 4_096
const MAX_PATH = 8_192
/** Of what signs a request, this alone is a secret that is sent. */
const SESSION_TOKEN = 'x-amz-security-token'
/** Shorter ones are in any text by chance. */
const MIN_SECRET = 8

/**
 * Operations of somebody else's HTTP service, made of its OpenAPI description. What comes in is validated before a request is made of it, what comes back before it is
 * handed on; the credential is added last and appears in nothing that leaves this function.
 * @throws KithError `OPENAPI_INVALID`. @throws TypeError for a bad address.
 */
export function importOpenApi(options: OpenApiImportOptions): OpenApiImport {
  const plan = planImport(options.document, options.service)
  const upstream = new Upstream(options.url, options.resolve)
  const skipped = [...plan.skipped]
  const operations: AnyOperation[] = []
  const running = new Running()
  for (const imported of plan.operations) {
    try {
      operations.push(defined(imported, upstream, options, running))
    } catch (error) {
      if (!isKithError(error, 'CALL_SCHEMA')) throw error
      skipped.push({ operation: `${imported.method} ${imported.path}`, reason: error.message })
    }
  }
  return {
    operations,
    skipped,
    close: () => upstream.close(),
    async retire() {
      await running.ended()
      upstream.close()
    },
  }
}

function defined(imported: ImportedOperation, upstream: Upstream, options: OpenApiImportOptions, running: Running): AnyOperation {
  const { name, method, summary, input, output } = imported
  const reads = method === 'GET' || method === 'HEAD'
  return defineOperation({
    name,
    kind: reads ? 'query' : 'mutation',
    input,
    output,
    errors: ERRORS,
    ...(options.access === undefined ? {} : { access: options.access }),
    ...(summary === undefined ? {} : { summary }),
    idempotent: reads || method === 'PUT' || method === 'DELETE',
    deadlineMs: options.deadlineMs ?? DEFAULT_DEADLINE_MS,
    handler: (value: unknown, context: CallContext) => running.run(() => carryOut(imported, upstream, options, value as Values, context)),
  }) as AnyOperation
}

type Values = Readonly<Record<string, unknown>>

async function carryOut(
  imported: ImportedOperation,
  upstream: Upstream,
  options: OpenApiImportOptions,
  values: Values,
  context: CallContext,
): Promise<unknown> {
  const path = pathOf(imported, values)
  const plain = headersOf(imported.parameters, values)
  const body = imported.body === undefined || values[imported.body] === undefined ? undefined : JSON.stringify(values[imported.body])
  const request = { method: imported.method, path, headers: plain, body: body === undefined ? undefined : Buffer.from(body) }
  const { headers, secret } = await credentialed(request, upstream, options, context)
  const answer = await upstream.ask({ ...request, headers, signal: context.signal })
  // Some services tell what they were sent; the caller is not to learn it that way.
  if (secret !== undefined && secret.length >= MIN_SECRET && answer.text.includes(secret))
    throw new KithError('UPSTREAM_FAILED', 'The service answers with the credential that it was sent.')
  if (answer.status < 200 || answer.status >= 300) throw failure(answer.status, answer.text)
  if (imported.method === 'HEAD' || answer.status === 204 || answer.text === '') return null
  if (!/^application\/([a-z0-9.-]+\+)?json\s*(;|$)/i.test(answer.type)) return answer.text
  const value = parsed(answer.text)
  if (value === undefined) throw new KithError('UPSTREAM_FAILED', 'The service answers with what is no JSON.')
  return value
}

interface Credentialed {
  readonly headers: Readonly<Record<string, string>>
  /** What must not come back. */
  readonly secret: string | undefined
}

async function credentialed(
  request: Omit<UpstreamRequest, 'signal'>,
  upstream: Upstream,
  { credential, clock }: OpenApiImportOptions,
  { caller, signal }: CallContext,
): Promise<Credentialed> {
  const sent = upstream.headersOf(request)
  if (credential === undefined) return { headers: sent, secret: undefined }
  const lease = await credential.from().lease(credential.service, { signal, ...(caller.did === undefined ? {} : { did: caller.did }) })
  try {
    const { method, path, body } = request
    const whole = { url: upstream.base, headers: sent, method, target: upstream.targetOf(path), body, nowMs: clock.now() }
    return lease.use((opened) => {
      const headers = authorize(whole, opened, lease.info) as Record<string, string>
      const [name = ''] = opened.type === 's3' ? [SESSION_TOKEN] : Object.keys(headers).filter((name) => sent[name] !== headers[name])
      return { headers, secret: headers[name]?.replace(/^(Bearer|Basic) /, '') }
    })
  } finally {
    lease.release()
  }
}

function pathOf({ path, parameters }: ImportedOperation, values: Values): string {
  const filled = path.replaceAll(/\{([^{}]*)\}/g, (_place, name: string) => {
    const parameter = parameters.find((known) => known.in === 'path' && known.name === name)
    const text = parameter === undefined ? '' : simple(values[parameter.key])
    // An empty part, or one that means "up", would be another path.
    if (text === '' || text === '.' || text === '..') throw new KithError('REQUEST_MALFORMED', 'A part of the path is empty or means another place.')
    return encodeURIComponent(text)
  })
  const query = parameters.filter((parameter) => parameter.in === 'query').flatMap((parameter) => pairsOf(parameter, values[parameter.key]))
  const whole = query.length === 0 ? filled : `${filled}?${query.join('&')}`
  if (whole.length > MAX_PATH || !/^\/[\x21-\x7e]*$/.test(whole)) throw new KithError('REQUEST_MALFORMED', 'The parameters are too long for an address.')
  return whole
}

function pairsOf({ name, explode }: ImportedParameter, value: unknown): readonly string[] {
  if (value === undefined) return []
  const key = encodeURIComponent(name)
  if (Array.isArray(value) && explode) return value.map((item) => `${key}=${encodeURIComponent(simple(item))}`)
  return [`${key}=${encodeURIComponent(simple(value))}`]
}

function headersOf(parameters: readonly ImportedParameter[], values: Values): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {}
  for (const parameter of parameters) {
    if (parameter.in !== 'header' || values[parameter.key] === undefined) continue
    const text = simple(values[parameter.key])
    if (!/^[\x20-\x7e]{0,1024}$/.test(text)) throw new KithError('REQUEST_MALFORMED', 'A header holds visible ASCII only.')
    headers[parameter.name.toLowerCase()] = text
  }
  return headers
}

/** A value as one text; lists with commas, what has no spelling of its own as JSON. */
function simple(value: unknown): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return value.map(simple).join(',')
  return JSON.stringify(value) ?? ''
}

function failure(status: number, text: string): KithError {
  const moved = status >= 300 && status < 400
  const said = moved || text.length > MAX_FAILURE_CHARACTERS ? undefined : parsed(text)
  const message = moved ? 'The service is somewhere else now; it is not followed there.' : `The service answers ${status}.`
  const later = status === 429 || status === 502 || status === 503 || status === 504
  return new KithError(later ? 'UPSTREAM_UNREACHABLE' : 'UPSTREAM_FAILED', message, {
    details: { status, ...(said === undefined ? {} : { answer: said as string }) },
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

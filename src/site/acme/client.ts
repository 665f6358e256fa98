import type { z } from 'zod'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { AccountKey } from './account-key.ts'
import type { AcmeAnswer, AcmeHttp } from './http.ts'
import type { Identifier } from './identifiers.ts'
import { type Authorization, authorizationSchema, type Directory, directorySchema, type Order, orderSchema, problemSchema } from './messages.ts'

export interface AcmeClientOptions {
  readonly http: AcmeHttp
  readonly directory: string
  readonly key: AccountKey
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** An authority may refuse many nonces in a row and still mean it well (RFC 8555, section 6.5). */
const NONCE_TRIES = 10
const MAX_DETAIL = 300
const MAX_RETRY_AFTER_MS = 7 * 86_400_000
const ERROR_PREFIX = 'urn:ietf:params:acme:error:'

/** What moves a cursor, hides text or turns it round. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu

/**
 * The requests of RFC 8555, each checked: nothing an authority says is used before it has its form, and it says nothing of other machines than its own: all
 * addresses it names are at the host of its directory, so that it has this machine ask nothing that it cannot ask itself.
 */
export class AcmeClient {
  readonly #options: AcmeClientOptions
  #directory: Directory | undefined
  #nonce: string | undefined
  #kid: string | undefined

  constructor(options: AcmeClientOptions) {
    this.#options = options
  }

  async directory(): Promise<Directory> {
    if (this.#directory === undefined) {
      const answer = await this.#send('GET', this.#options.directory)
      if (answer.status !== 200) throw problemOf(answer, this.#options.clock)
      this.#directory = parsed(directorySchema, answer)
    }
    return this.#directory
  }

  /** Makes the account, or finds the one that this key has. */
  async account(contact: readonly string[]): Promise<void> {
    const { newAccount } = await this.directory()
    const answer = await this.#post(newAccount, { termsOfServiceAgreed: true, ...(contact.length === 0 ? {} : { contact }) }, { withKey: true })
    this.#kid = located(answer)
  }

  async order(identifiers: readonly Identifier[], profile: string | undefined): Promise<{ readonly url: string; readonly order: Order }> {
    const { newOrder } = await this.directory()
    const answer = await this.#post(newOrder, { identifiers, ...(profile === undefined ? {} : { profile }) })
    return { url: located(answer), order: parsed(orderSchema, answer) }
  }

  async readOrder(url: string): Promise<{ readonly order: Order; readonly retryAfterMs: number | undefined }> {
    const answer = await this.#post(url, undefined)
    return { order: parsed(orderSchema, answer), retryAfterMs: retryAfterMs(answer, this.#options.clock) }
  }

  async authorization(url: string): Promise<{ readonly authorization: Authorization; readonly retryAfterMs: number | undefined }> {
    const answer = await this.#post(url, undefined)
    return { authorization: parsed(authorizationSchema, answer), retryAfterMs: retryAfterMs(answer, this.#options.clock) }
  }

  /** Says that a challenge is answered for. */
  async respond(url: string): Promise<void> {
    await this.#post(url, {})
  }

  async finalize(url: string, request: Uint8Array): Promise<void> {
    await this.#post(url, { csr: Buffer.from(request).toString('base64url') })
  }

  /** The chain, PEM, leaf first. */
  async certificate(url: string): Promise<string> {
    return (await this.#post(url, undefined)).body.toString('latin1')
  }

  async #post(url: string, payload: unknown, { withKey = false } = {}): Promise<AcmeAnswer> {
    for (let tries = 1; ; tries++) {
      const nonce = await this.#takeNonce()
      const kid = withKey ? {} : { kid: this.#kid as string }
      const answer = await this.#send('POST', url, this.#options.key.sign({ url, nonce, ...kid }, payload))
      if (answer.status >= 200 && answer.status < 300) return answer
      const problem = problemOf(answer, this.#options.clock)
      if (problem.details.type !== 'badNonce' || tries === NONCE_TRIES) throw problem
    }
  }

  async #takeNonce(): Promise<string> {
    const kept = this.#nonce
    this.#nonce = undefined
    if (kept !== undefined) return kept
    await this.#send('HEAD', (await this.directory()).newNonce)
    const fresh = this.#nonce as string | undefined
    if (fresh === undefined) throw failed('the authority gives no nonce')
    this.#nonce = undefined
    return fresh
  }

  async #send(method: 'GET' | 'HEAD' | 'POST', url: string, body?: string): Promise<AcmeAnswer> {
    const { http, signal, directory } = this.#options
    if (!URL.canParse(url) || new URL(url).hostname !== new URL(directory).hostname) throw failed('the authority names an address on another host than its own')
    const answer = await http({ method, url, signal, ...(body === undefined ? {} : { body }) })
    const nonce = answer.headers['replay-nonce']
    if (typeof nonce === 'string' && /^[A-Za-z0-9_-]{1,512}$/.test(nonce)) this.#nonce = nonce
    return answer
  }
}

function parsed<T>(schema: z.ZodType<T>, { body }: AcmeAnswer): T {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    throw failed('the authority does not answer in JSON')
  }
  const result = schema.safeParse(value)
  if (!result.success) throw failed('the authority’s answer has not the form of RFC 8555')
  return result.data
}

function located({ headers }: AcmeAnswer): string {
  if (typeof headers.location !== 'string') throw failed('the authority’s answer names no address')
  return headers.location
}

/** The delay that an answer asks for: seconds or a date (RFC 9110, section 10.2.3). */
function retryAfterMs({ headers }: AcmeAnswer, clock: Clock): number | undefined {
  const text = headers['retry-after']
  if (typeof text !== 'string') return undefined
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - clock.now()
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined
}

function problemOf(answer: AcmeAnswer, clock: Clock): KithError {
  let value: unknown
  try {
    value = JSON.parse(answer.body.toString('utf8'))
  } catch {
    value = {}
  }
  return problemError(value, answer.status, retryAfterMs(answer, clock))
}

/** What an authority says is wrong (RFC 8555, section 6.7), as text that a terminal may show. */
export function problemError(value: unknown, status = 0, retryMs?: number): KithError {
  const { type = '', detail = '' } = problemSchema.safeParse(value).data ?? {}
  const kind = type.startsWith(ERROR_PREFIX) && /^[A-Za-z]{1,64}$/.test(type.slice(ERROR_PREFIX.length)) ? type.slice(ERROR_PREFIX.length) : 'unknown'
  const said = [...detail.slice(0, 2 * MAX_DETAIL).replace(UNSAFE, '')].slice(0, MAX_DETAIL).join('')
  return new KithError('CERTIFICATE_FAILED', `The authority refuses: ${said === '' ? `${kind} (${status})` : said}`, {
    remote: true,
    details: { type: kind, status, ...(retryMs === undefined ? {} : { retryAfterMs: retryMs }) },
    next: 'kith doctor',
  })
}

export function failed(reason: string): KithError {
  return new KithError('CERTIFICATE_FAILED', `No certificate: ${reason}.`, { details: { reason }, next: 'kith doctor' })
}

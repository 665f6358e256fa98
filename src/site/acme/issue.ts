import { type Clock, sleep } from '../../core/clock.ts'
import { isKithError } from '../../core/errors.ts'
import { type CertificateFile, readCertificate } from '../certificate-file.ts'
import type { AccountKey } from './account-key.ts'
import { AcmeClient, failed, problemError } from './client.ts'
import type { AcmeHttp } from './http.ts'
import type { Identifier } from './identifiers.ts'
import type { Order } from './messages.ts'
import type { Responder } from './responders.ts'
import { keyPem, makeKey, makeRequest } from './x509.ts'

export interface IssueOptions {
  readonly http: AcmeHttp
  readonly directory: string
  readonly key: AccountKey
  readonly contact: readonly string[]
  readonly identifiers: readonly Identifier[]
  /** Kind of certificate by the authority's name for it. Default: the short-lived one for addresses, where the authority offers it. */
  readonly profile?: string | undefined
  readonly responder: Responder
  readonly clock: Clock
  readonly signal: AbortSignal
}

const TOTAL_MS = 300_000
/** No authority has to be asked more often than this, whatever it says. */
const POLL_MS = 1_000
const MAX_POLL_MS = 15_000
/** A certificate that begins later than any clock is wrong would take the place of one that is good. */
const MAX_AHEAD_MS = 30 * 86_400_000
/** What Let's Encrypt calls the kind that it gives for addresses. */
const SHORT_LIVED = 'shortlived'

/**
 * Gets one certificate (RFC 8555, section 7): account, order, a challenge for each name, request, chain. The key is made here and leaves only as a signature.
 * @throws KithError `CERTIFICATE_FAILED` with what the authority said; the signal's reason.
 */
export async function issueCertificate(options: IssueOptions): Promise<CertificateFile> {
  const { clock, identifiers } = options
  const late = new AbortController()
  const timer = clock.after(TOTAL_MS, () => late.abort(failed('the authority took too long')))
  const signal = AbortSignal.any([options.signal, late.signal])
  try {
    const client = new AcmeClient({ http: options.http, directory: options.directory, key: options.key, clock, signal })
    const profile = chooseProfile(identifiers, options.profile, Object.keys((await client.directory()).meta?.profiles ?? {}))
    await client.account(options.contact)
    const { url, order } = await client.order(identifiers, profile)
    for (const authorization of order.authorizations) await authorize(client, authorization, options, signal)
    await ready(client, url, ['ready', 'valid'], clock, signal)
    const key = makeKey()
    await client.finalize(order.finalize, makeRequest(identifiers, key))
    const { certificate } = await ready(client, url, ['valid'], clock, signal)
    if (certificate === undefined) throw failed('the authority names no certificate')
    const issued = readCertificate({ key: keyPem(key), cert: await client.certificate(certificate), identifiers, now: clock.now() })
    if (issued.notBefore > clock.now() + MAX_AHEAD_MS) throw failed('the authority’s certificate is not good for a long time to come')
    return issued
  } catch (error) {
    // A chain that does not fit is the authority's fault here, and worth another try.
    if (isKithError(error, 'CERTIFICATE_INVALID')) throw failed(`the authority’s certificate cannot be used: ${error.message.replace(/\.$/, '')}`)
    throw error
  } finally {
    timer.cancel()
  }
}

function chooseProfile(identifiers: readonly Identifier[], asked: string | undefined, offered: readonly string[]): string | undefined {
  if (asked !== undefined && !offered.includes(asked)) throw failed(`the authority does not offer the profile ${asked}`)
  const short = identifiers.some(({ type }) => type === 'ip') && offered.includes(SHORT_LIVED)
  return asked ?? (short ? SHORT_LIVED : undefined)
}

async function authorize(client: AcmeClient, url: string, { responder, key, identifiers, clock }: IssueOptions, signal: AbortSignal): Promise<void> {
  const { authorization } = await client.authorization(url)
  if (authorization.status === 'valid') return
  const { identifier } = authorization
  if (!identifiers.some(({ type, value }) => type === identifier.type && value === identifier.value))
    throw failed('the authority asks about a name that was not ordered')
  const challenge = authorization.challenges.find(({ type }) => type === responder.type)
  if (challenge?.token === undefined) throw failed(`the authority offers no ${responder.type} for ${identifier.value}`)
  const end = await responder.offer({ identifier, token: challenge.token, authorization: key.authorization(challenge.token) })
  try {
    await client.respond(challenge.url)
    for (let pause = POLL_MS; ; pause = Math.min(pause * 1.5, MAX_POLL_MS)) {
      const { authorization: now, retryAfterMs } = await client.authorization(url)
      if (now.status === 'valid') return
      if (now.status !== 'pending') throw problemError(now.challenges.find(({ type }) => type === responder.type)?.error)
      await sleep(clock, Math.min(Math.max(retryAfterMs ?? pause, POLL_MS), MAX_POLL_MS), signal)
    }
  } finally {
    await end()
  }
}

async function ready(client: AcmeClient, url: string, wanted: readonly Order['status'][], clock: Clock, signal: AbortSignal): Promise<Order> {
  for (let pause = POLL_MS; ; pause = Math.min(pause * 1.5, MAX_POLL_MS)) {
    const { order, retryAfterMs } = await client.readOrder(url)
    if (wanted.includes(order.status)) return order
    if (order.status === 'invalid') throw problemError(order.error)
    await sleep(clock, Math.min(Math.max(retryAfterMs ?? pause, POLL_MS), MAX_POLL_MS), signal)
  }
}

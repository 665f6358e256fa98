import assert from 'node:assert/strict'
import { createPublicKey, sign, X509Certificate } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type ManualClock, manualClock } from '../../src/core/manual-clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { AccountKey } from '../../src/site/acme/account-key.ts'
import { bitString, der, oid, pem, TAG } from '../../src/site/acme/der.ts'
import type { AcmeHttp, AcmeRequest } from '../../src/site/acme/http.ts'
import { type Identifier, parseIdentifier } from '../../src/site/acme/identifiers.ts'
import type { Responder } from '../../src/site/acme/responders.ts'
import { makeKey, makeSelfSigned } from '../../src/site/acme/x509.ts'
import { createCertificateStore } from '../../src/site/certificate-store.ts'
import { CertificateKeeper, type KeeperOptions } from '../../src/site/certificates.ts'

export const DAY_MS = 86_400_000
export const START = 1_800_000_000_000
export const ids = (...names: string[]): readonly Identifier[] => names.map(parseIdentifier)

export interface Authority {
  readonly http: AcmeHttp
  readonly asked: readonly string[]
  /** The next answers, by the last part of the address asked for. */
  readonly say: Map<string, { status?: number; headers?: Record<string, string>; body?: unknown }>
  lifeMs: number
  /** The last request for a certificate, DER. */
  csr(): Buffer
}

/** An authority that says yes to everything, by the book. */
export function authority(clock: ManualClock): Authority {
  const asked: string[] = []
  const say: Authority['say'] = new Map()
  let nonces = 0
  let names: readonly { type: string; value: string }[] = []
  let csrKey: Buffer | undefined
  const at = (path: string): string => `https://ca.example/${path}`
  const self: Authority = {
    asked,
    say,
    lifeMs: 90 * DAY_MS,
    csr: () => csrKey as Buffer,
    async http({ method, url, body, signal }: AcmeRequest) {
      signal.throwIfAborted()
      const path = url.slice(url.lastIndexOf('/') + 1)
      asked.push(path)
      const headers: Record<string, string> = { 'replay-nonce': `n${++nonces}` }
      const answer = (status: number, value: unknown, more: Record<string, string> = {}) => ({
        status,
        headers: { ...headers, ...more },
        body: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
      })
      const forced = say.get(path)
      if (forced !== undefined) {
        say.delete(path)
        return answer(forced.status ?? 200, forced.body ?? {}, forced.headers)
      }
      const payload = body === undefined ? undefined : (JSON.parse(body) as { payload: string }).payload
      const sent = payload === undefined || payload === '' ? {} : (JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, never>)
      const order = (status: string) => ({ status, authorizations: [at('authz')], finalize: at('finalize'), certificate: at('cert') })
      switch (path) {
        case 'directory':
          return answer(200, { newNonce: at('nonce'), newAccount: at('account'), newOrder: at('order'), meta: { profiles: { shortlived: 'six days' } } })
        case 'nonce':
          assert.equal(method, 'HEAD')
          return answer(200, '')
        case 'account':
          return answer(201, { status: 'valid' }, { location: at('account/1') })
        case 'order':
          names = sent.identifiers as never
          asked.push(`profile=${(sent.profile as unknown as string) ?? ''}`)
          return answer(201, order('pending'), { location: at('o1') })
        case 'authz':
          return answer(200, {
            identifier: names[0],
            status: csrKey === undefined && !asked.includes('challenge') ? 'pending' : 'valid',
            challenges: [{ type: 'http-01', url: at('challenge'), token: 'tok' }],
          })
        case 'finalize': {
          csrKey = Buffer.from(sent.csr as never, 'base64url')
          return answer(200, order('processing'))
        }
        case 'o1':
          return answer(200, order(csrKey === undefined ? 'ready' : 'valid'))
        case 'cert':
          return answer(
            200,
            certificateFor(
              csrKey as Buffer,
              names.map(({ value }) => value),
              clock.now(),
              self.lifeMs,
            ),
          )
        default:
          return answer(200, {})
      }
    },
  }
  return self
}

/** What an authority would issue for a request: its key, the names, signed by somebody else. */
export function certificateFor(csr: Buffer, names: readonly string[], now: number, lifeMs: number): string {
  const at = csr.indexOf(Buffer.from('3059301306072a8648ce3d0201', 'hex'))
  const issuer = makeKey()
  const template = Buffer.from(
    new X509Certificate(makeSelfSigned({ identifiers: ids(...names), key: issuer, notBefore: now, notAfter: now + lifeMs, random: systemRandom })).raw,
  )
  const own = createPublicKey(issuer).export({ type: 'spki', format: 'der' })
  const head = (at: number): number => (template[at + 1] === 0x82 ? 4 : template[at + 1] === 0x81 ? 3 : 2)
  const length = (at: number): number => (head(at) === 2 ? (template[at + 1] as number) : template.readUIntBE(at + 2, head(at) - 2))
  const start = head(0)
  const tbs = template.subarray(start + head(start), start + head(start) + length(start))
  const body = der(TAG.sequence, tbs.subarray(0, tbs.indexOf(own)), csr.subarray(at, at + own.length), tbs.subarray(tbs.indexOf(own) + own.length))
  const ecdsa = der(TAG.sequence, oid('1.2.840.10045.4.3.2'))
  return pem('CERTIFICATE', der(TAG.sequence, body, ecdsa, bitString(sign('sha256', body, issuer))))
}

export interface Bench {
  readonly clock: ManualClock
  readonly ca: Authority
  readonly home: string
  readonly outcomes: string[]
  keeper(change?: Partial<KeeperOptions>): Promise<CertificateKeeper>
}

export async function bench(t: TestContext): Promise<Bench> {
  const home = await mkdtemp(join(tmpdir(), 'kith-certificates-'))
  const keepers: CertificateKeeper[] = []
  t.after(async () => {
    for (const keeper of keepers) await keeper.close()
    await rm(home, { recursive: true, force: true })
  })
  const clock = manualClock(START)
  const ca = authority(clock)
  const account = new AccountKey(makeKey())
  const outcomes: string[] = []
  const responder: Responder = { type: 'http-01', offer: async () => () => {} }
  return {
    clock,
    ca,
    home,
    outcomes,
    async keeper(change = {}) {
      const keeper = new CertificateKeeper({
        identifiers: ids('a.example.org'),
        directory: 'https://ca.example/directory',
        contact: ['mailto:owner@example.org'],
        responder,
        http: ca.http,
        store: createCertificateStore(home),
        accountKey: async () => account,
        clock,
        random: { ...systemRandom, unit: () => 0.5 },
        logger: silentLogger,
        onOutcome: (outcome) => outcomes.push(outcome),
        ...change,
      })
      keepers.push(keeper)
      await keeper.load()
      return keeper
    },
  }
}

/** Runs a look to its end; what it waits for on the clock passes by. */
export async function looked(clock: ManualClock, keeper: CertificateKeeper, options?: { readonly force: boolean }): Promise<void> {
  let over = false
  const look = keeper.look(options).finally(() => {
    over = true
  })
  while (!over) {
    await new Promise(setImmediate)
    if (!over && clock.next !== undefined && clock.next <= 20_000) await clock.run(clock.next)
  }
  await look
}

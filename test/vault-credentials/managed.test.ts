import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { guardedSecrets } from '../../src/core/guarded-memory.ts'
import { type Credentials, createCredentials } from '../../src/vault/credentials/credentials.ts'
import type { Refresh, RefreshedToken } from '../../src/vault/credentials/managed.ts'
import { vaultCredentials } from '../../src/vault/credentials/vault-store.ts'
import { type Bench, bench, oidc, reveal, secret } from './make.ts'

const HOUR = 3_600_000

/** An issuer in memory that ends a refresh token when it gives a new one, and takes a repeated one for a theft. */
class Issuer {
  asked = 0
  valid = 'refresh-1'
  /** What it answers next instead of tokens. */
  fail: KithError | undefined
  lifeMs: number | undefined = HOUR
  #held: (() => void)[] | undefined

  hold(): () => void {
    const waiting: (() => void)[] = []
    this.#held = waiting
    return () => {
      this.#held = undefined
      for (const go of waiting) go()
    }
  }

  readonly refresh: Refresh = async (token, { signal }): Promise<RefreshedToken> => {
    this.asked++
    const given = token.refreshToken === undefined ? '' : reveal(token.refreshToken)
    const held = this.#held
    if (held !== undefined) {
      await new Promise<void>((resolve, reject) => {
        held.push(resolve)
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
    }
    if (this.fail !== undefined) throw this.fail
    if (given !== this.valid) throw new KithError('CREDENTIAL_REFUSED', 'the refresh token was used before')
    const number = this.asked + 1
    this.valid = `refresh-${number}`
    return { accessToken: secret(`access-${number}`), refreshToken: secret(this.valid), expiresInMs: this.lifeMs }
  }
}

interface Stage extends Bench {
  readonly issuer: Issuer
  readonly credentials: Credentials
  /** Asks, and gives the access token that comes. */
  access(): Promise<string>
  count(result: string): number
}

async function stage(lifeMs: number | undefined = HOUR): Promise<Stage> {
  const base = await bench()
  const issuer = new Issuer()
  const credentials = createCredentials({ ...base.common, refresh: issuer.refresh })
  await credentials.add({ service: 'a' }, oidc(), lifeMs === undefined ? {} : { expiresMs: base.clock.now() + lifeMs })
  return {
    ...base,
    issuer,
    credentials,
    async access() {
      using lease = await credentials.lease('a')
      return lease.use((value) => (value.type === 'oidc' && value.accessToken !== undefined ? reveal(value.accessToken) : ''))
    },
    count: (result) => Number(new RegExp(`^kith_credential_refreshes_total\\{result="${result}"\\} (\\d+)$`, 'm').exec(base.metrics.render())?.[1] ?? 0),
  }
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}
const later = (code: 'CREDENTIAL_REFRESH_FAILED' | 'CREDENTIAL_REFUSED'): KithError => new KithError(code, 'the issuer says no')

test('token with most of its life left is handed out without asking the issuer', async () => {
  const s = await stage()
  assert.equal(await s.access(), 'access-1')
  await s.clock.run(HOUR / 2)
  assert.equal(await s.access(), 'access-1')
  assert.equal(s.issuer.asked, 0)
  s.credentials.close()
})

test('token that was in use is renewed ahead of its end although nobody asks', async () => {
  const s = await stage()
  await s.access()
  await s.clock.run(HOUR - 300_000)
  await settle()
  assert.equal(s.issuer.asked, 1)
  assert.equal(await s.access(), 'access-2')
  assert.equal(s.count('ok'), 1)
  const [info] = await s.credentials.list()
  assert.equal(info?.revision, 2)
  s.credentials.close()
})

test('token near its end is handed out while it is renewed behind, by one request for all', async () => {
  const s = await stage()
  s.clock.advance(HOUR - 60_000)
  const go = s.issuer.hold()
  assert.deepEqual(await Promise.all([s.access(), s.access(), s.access()]), ['access-1', 'access-1', 'access-1'])
  go()
  await settle()
  assert.equal(s.issuer.asked, 1)
  assert.equal(await s.access(), 'access-2')
  s.credentials.close()
})

test('token that has run out, asked for by many, is waited for, and the issuer is asked once', async () => {
  const s = await stage()
  s.clock.advance(HOUR)
  const go = s.issuer.hold()
  const all = Promise.all(Array.from({ length: 50 }, () => s.access()))
  await settle()
  go()
  assert.deepEqual(new Set(await all), new Set(['access-2']))
  assert.equal(s.issuer.asked, 1)
  s.credentials.close()
})

test('credential without an access token gets its first one when it is asked for', async () => {
  const s = await stage()
  await s.credentials.add({ service: 'a' }, oidc(''), { mode: 'replace' })
  assert.equal(await s.access(), 'access-2')
  s.credentials.close()
})

test('waiting for a renewal ends with its own signal, and the renewal goes on for others', async () => {
  const s = await stage()
  s.clock.advance(HOUR)
  const go = s.issuer.hold()
  const mine = new AbortController()
  const waiting = s.credentials.lease('a', { signal: mine.signal })
  const others = s.access()
  await settle()
  mine.abort(new KithError('ABORTED'))
  await assert.rejects(waiting, { code: 'ABORTED' })
  go()
  assert.equal(await others, 'access-2')
  s.credentials.close()
})

test('issuer that fails is asked again after pauses that double; meanwhile the old token serves, and after its end everybody is told at once', async () => {
  const s = await stage()
  s.issuer.fail = later('CREDENTIAL_REFRESH_FAILED')
  s.clock.advance(HOUR - 60_000)
  assert.equal(await s.access(), 'access-1')
  await settle()
  const asked: number[] = []
  for (let second = 0; second < 58; second++) {
    await s.clock.run(1_000)
    await settle()
    asked.push(s.issuer.asked)
  }
  assert.ok(s.issuer.asked >= 4 && s.issuer.asked <= 8, `${s.issuer.asked} requests in a minute`)
  await assert.rejects(s.access(), (error: KithError) => error.code === 'CREDENTIAL_REFRESH_FAILED' && error.retryable)
  const before = s.issuer.asked
  for (let i = 0; i < 20; i++) await assert.rejects(s.access(), { code: 'CREDENTIAL_REFRESH_FAILED' })
  assert.ok(s.issuer.asked <= before + 1)
  s.issuer.fail = undefined
  await s.clock.run(300_000)
  await settle()
  assert.match(await s.access(), /^access-/)
  assert.ok(s.count('failed') >= 4)
  s.credentials.close()
})

test('issuer that refuses for good is not asked again until a person puts another credential in its place', async () => {
  const s = await stage()
  s.issuer.fail = later('CREDENTIAL_REFUSED')
  s.clock.advance(HOUR)
  for (let i = 0; i < 5; i++) await assert.rejects(s.access(), { code: 'CREDENTIAL_REFUSED', next: 'kith credential add a --replace' })
  assert.equal(s.issuer.asked, 1)
  assert.equal(s.count('refused'), 1)
  s.issuer.fail = undefined
  await s.credentials.add({ service: 'a' }, oidc('', s.issuer.valid), { mode: 'replace' })
  assert.match(await s.access(), /^access-/)
  s.credentials.close()
})

test('credential that a person replaces while it is renewed is not overwritten, and one that is removed does not come back', async () => {
  const s = await stage()
  s.clock.advance(HOUR - 60_000)
  let go = s.issuer.hold()
  await s.access()
  await settle()
  await s.credentials.add({ service: 'a' }, oidc('by-hand'), { mode: 'replace', expiresMs: s.clock.now() + HOUR })
  go()
  await settle()
  assert.equal(await s.access(), 'by-hand')
  assert.equal(s.count('overtaken'), 1)
  s.issuer.valid = 'refresh-1'
  s.clock.advance(HOUR - 60_000)
  go = s.issuer.hold()
  await s.access()
  await settle()
  await s.credentials.remove({ service: 'a' })
  go()
  await settle()
  await assert.rejects(s.access(), { code: 'CREDENTIAL_UNKNOWN' })
  s.credentials.close()
})

test('vault that locks ends a renewal that runs, and nothing of it is left', async () => {
  const s = await stage()
  s.clock.advance(HOUR)
  s.issuer.hold()
  const waiting = s.access()
  await settle()
  s.vault.lock()
  await assert.rejects(waiting, { code: 'VAULT_LOCKED' })
  await settle()
  assert.equal(s.clock.pending, 0)
  assert.equal(s.count('failed'), 0)
  s.credentials.close()
})

test('new tokens that cannot be written are handed out from memory and written at the next occasion; the issuer is not asked with the old one', async () => {
  const base = await bench()
  const issuer = new Issuer()
  let full = false
  const store = new Proxy(base.store, {
    get(target, name) {
      if (name === 'put' && full)
        return async () => {
          throw new KithError('STORE_FAILED', 'the disk is full')
        }
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const credentials = createCredentials({ ...base.common, store, refresh: issuer.refresh })
  await credentials.add({ service: 'a' }, oidc(), { expiresMs: base.clock.now() + HOUR })
  const access = async (): Promise<string> => {
    using lease = await credentials.lease('a')
    return lease.use((value) => (value.type === 'oidc' && value.accessToken !== undefined ? reveal(value.accessToken) : ''))
  }
  base.clock.advance(HOUR)
  full = true
  assert.equal(await access(), 'access-2')
  await base.clock.run(60_000)
  await settle()
  assert.equal(await access(), 'access-2')
  assert.equal(issuer.asked, 1)
  full = false
  assert.equal(await access(), 'access-2')
  credentials.close()
  const kept = await vaultCredentials(base.common).get({ service: 'a' })
  assert.equal(kept?.credential.type === 'oidc' && kept.credential.refreshToken !== undefined && reveal(kept.credential.refreshToken), 'refresh-2')
})

test('two weeks of hourly renewals leaves no secret and no timer behind', async () => {
  const s = await stage()
  await s.access()
  await settle()
  const before = guardedSecrets()
  for (let hour = 0; hour < 24 * 14; hour++) {
    await s.clock.run(HOUR)
    await settle()
    await s.access()
  }
  assert.ok(s.issuer.asked >= 24 * 14)
  assert.ok(guardedSecrets() <= before + 4, `${guardedSecrets()} after ${before}`)
  s.credentials.close()
})

test('issuer that names no end is asked again after an hour', async () => {
  const s = await stage(undefined)
  s.issuer.lifeMs = undefined
  await s.access()
  await s.clock.run(HOUR)
  await settle()
  assert.equal(s.issuer.asked, 1)
  assert.equal(await s.access(), 'access-2')
  s.credentials.close()
})

test('many nodes with the same token ask at different times', async () => {
  const times = new Set<number>()
  for (let node = 0; node < 8; node++) {
    const base = await bench()
    let at = 0
    const random = { ...base.common.random, unit: () => node / 8 }
    const issuer = new Issuer()
    const credentials = createCredentials({
      ...base.common,
      random,
      refresh: async (token, options) => {
        at = base.clock.monotonic()
        return await issuer.refresh(token, options)
      },
    })
    await credentials.add({ service: 'a' }, oidc(), { expiresMs: base.clock.now() + HOUR })
    ;(await credentials.lease('a')).release()
    await base.clock.run(HOUR)
    await settle()
    times.add(Math.round(at / 1_000))
    credentials.close()
  }
  assert.equal(times.size, 8)
})

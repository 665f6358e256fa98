import { utf8 } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { createMetrics, type MetricsRegistry } from '../../src/core/observe/metrics.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import type { Credential, OidcToken } from '../../src/vault/credentials/types.ts'
import { vaultSealing } from '../../src/vault/credentials/vault-sealing.ts'
import { createVault, type Vault } from '../../src/vault/vault.ts'

export const PHRASE: string = `${'abandon '.repeat(11)}about`
export const ANN = 'did:icn:z6MkAnn'

export function secret(text: string): Secret {
  return Secret.take(utf8(text))
}

export function reveal(value: Secret): string {
  return value.use((bytes) => bytes.toString('latin1'))
}

export interface Bench {
  readonly store: Store
  readonly clock: ManualClock
  readonly vault: Vault
  readonly metrics: MetricsRegistry
  readonly common: {
    readonly store: Store
    readonly sealing: ReturnType<typeof vaultSealing>
    readonly clock: ManualClock
    readonly random: ReturnType<typeof seededRandom>
    readonly metrics: MetricsRegistry
  }
}

/** A real vault, unlocked, over a store in memory. */
export async function bench(): Promise<Bench> {
  const clock = manualClock()
  const random = seededRandom('credentials')
  const vault = createVault({ clock, random, idleLockMs: 0 })
  await vault.unlock({ phrase: PHRASE })
  const store = createMemoryStore()
  const metrics = createMetrics()
  return { store, clock, vault, metrics, common: { store, sealing: vaultSealing(vault), clock, random, metrics } }
}

export const bearer = (token = 'token-one'): Credential => ({ type: 'bearer', token: secret(token) })

/** One of each kind. */
export function everyKind(): readonly Credential[] {
  return [
    { type: 'api-key', header: 'x-api-key', token: secret('k-123') },
    { type: 'basic', username: 'ann', password: secret('päss:word') },
    bearer(),
    { type: 's3', accessKey: 'AKIDEXAMPLE', secretKey: secret('wJalr/XUt+n'), sessionToken: secret('s3ss10n') },
    { type: 's3', accessKey: 'AKIDEXAMPLE', secretKey: secret('wJalr/XUt+n'), sessionToken: undefined },
    oidc(),
    { type: 'oidc', accessToken: secret('a'), refreshToken: undefined, client: undefined },
    {
      type: 'custom',
      scheme: 'Hawk',
      params: [
        { name: 'id', value: secret('dh37') },
        { name: 'mac', value: secret('6R"4\\x') },
      ],
    },
    {
      ...{ type: 's3', accessKey: 'AKIDEXAMPLE', secretKey: secret('wJalr/XUt+n'), sessionToken: undefined },
      scope: { region: 'eu-central-1', service: 'execute-api' },
    },
  ]
}

export function oidc(access: string | undefined = 'access-1', refresh: string | undefined = 'refresh-1'): OidcToken {
  return {
    type: 'oidc',
    accessToken: access === '' ? undefined : secret(access),
    refreshToken: refresh === '' ? undefined : secret(refresh),
    client: { tokenEndpoint: 'https://issuer.example/token', clientId: 'kith', clientSecret: secret('client-secret') },
  }
}

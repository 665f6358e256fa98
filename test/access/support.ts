import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAuthorizedKeys } from '../../src/access/authorized-keys.ts'
import { createIdentityProvider, type OpenIdentityProvider } from '../../src/access/identity-provider.ts'
import { ReplayCache } from '../../src/access/replay-cache.ts'
import { type AccessTable, accessTable, type IdentitySource, type TableParts, tableSource } from '../../src/access/sources.ts'
import { CERTIFICATE_TYPE } from '../../src/access/ssh-certificate.ts'
import { formatPublicKey, keyBlob } from '../../src/access/ssh-wire.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Signer } from '../../src/core/signer.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import type { Did } from '../../src/identity/did.ts'

/** 2026-06-01T00:00Z, within the life of the certificates of the vectors. */
export const NOW = 1_780_272_000_000
export const NOW_S: number = NOW / 1_000

export const VECTORS: {
  readonly ca: string
  readonly user: string
  readonly rsa: string
  readonly userFingerprint: string
  readonly certificates: Readonly<Record<string, string>>
  readonly revocations: Readonly<Record<string, string>>
} = JSON.parse(readFileSync(join(import.meta.dirname, '../vectors/ssh.json'), 'utf8'))

export function vectorCertificate(name: string): Uint8Array {
  return Buffer.from(VECTORS.certificates[name] ?? '', 'base64')
}

export function keyFrom(seed: number): Signer {
  return createSigner('service', Secret.take(new Uint8Array(32).fill(seed)))
}

export function lineOf(signer: Signer, options = ''): string {
  return `${options === '' ? '' : `${options} `}${formatPublicKey(signer.publicKey, 'a comment')}`
}

export interface CertificateFields {
  readonly key: Uint8Array
  readonly serial?: bigint
  readonly type?: number
  readonly keyId?: string
  readonly principals?: readonly string[]
  readonly validAfter?: bigint
  readonly validBefore?: bigint
  readonly criticalOptions?: readonly (readonly [string, string])[]
  readonly extensions?: readonly string[]
  readonly reserved?: Uint8Array
}

/** Written from the format's description, apart from the code that reads it. */
export function makeCertificate(authority: Signer, fields: CertificateFields): Uint8Array {
  const body = Buffer.concat([
    str(CERTIFICATE_TYPE),
    str(Buffer.alloc(32, 7)),
    str(fields.key),
    u64(fields.serial ?? 1n),
    u32(fields.type ?? 1),
    str(fields.keyId ?? 'test'),
    str(Buffer.concat((fields.principals ?? ['deploy']).map((name) => str(name)))),
    u64(fields.validAfter ?? BigInt(NOW_S - 60)),
    u64(fields.validBefore ?? BigInt(NOW_S + 3_600)),
    str(Buffer.concat((fields.criticalOptions ?? []).flatMap(([name, value]) => [str(name), str(str(value))]))),
    str(Buffer.concat((fields.extensions ?? ['permit-port-forwarding']).flatMap((name) => [str(name), str('')]))),
    str(fields.reserved ?? ''),
    str(keyBlob(authority.publicKey)),
  ])
  return Buffer.concat([body, str(Buffer.concat([str('ssh-ed25519'), str(authority.sign(body))]))])
}

export function str(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([u32(bytes.length), bytes])
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

export interface World {
  readonly clock: ManualClock
  readonly store: Store
  readonly provider: OpenIdentityProvider
  /** Another table takes the place of the present one. */
  put(parts: TableParts): void
}

export interface WorldOptions extends TableParts {
  /** Text of an `authorized_keys` file. */
  readonly authorized?: string
  readonly store?: Store
  readonly sources?: readonly IdentitySource[]
  readonly classesOf?: (did: Did) => readonly string[]
}

export async function world(options: WorldOptions = {}): Promise<World> {
  const clock = manualClock(NOW)
  const store = options.store ?? createMemoryStore()
  let table: AccessTable = accessTable(partsOf(options))
  const provider = createIdentityProvider({
    sources: [tableSource('test', () => table), ...(options.sources ?? [])],
    ...(options.classesOf === undefined ? {} : { classesOf: options.classesOf }),
    replay: await ReplayCache.open(clock, store),
    clock,
    logger: silentLogger,
  })
  return {
    clock,
    store,
    provider,
    put: (parts) => {
      table = accessTable(partsOf(parts))
    },
  }
}

function partsOf(options: WorldOptions): TableParts {
  return options.authorized === undefined ? options : { ...options, lines: parseAuthorizedKeys(options.authorized, 'keys').lines }
}

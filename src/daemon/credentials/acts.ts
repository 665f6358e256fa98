import { KithError } from '../../core/errors.ts'
import type { Audit } from '../../core/observe/audit.ts'
import type { Secret } from '../../core/secret.ts'
import { parseDid } from '../../identity/did.ts'
import { type CredentialFields, composeCredential } from '../../vault/credentials/compose.ts'
import type { Credentials } from '../../vault/credentials/credentials.ts'
import { parseOrigin } from '../../vault/credentials/limits.ts'
import { type CredentialInfo, type CredentialKey, wipeCredential } from '../../vault/credentials/types.ts'

/** A credential as it is shown: never its secret. Times are RFC 3339. */
export interface CredentialView {
  readonly service: string
  readonly did: string | null
  readonly type: CredentialInfo['type']
  readonly source: CredentialInfo['source']
  readonly origins: readonly string[]
  readonly revision: number
  readonly created_at: string | null
  readonly changed_at: string | null
  readonly expires_at: string | null
  readonly renews: boolean
}

export interface NewCredential {
  readonly service: string
  readonly did?: string | undefined
  readonly fields: CredentialFields
  readonly origins: readonly string[]
  /** RFC 3339. */
  readonly expiresAt?: string | undefined
  readonly replace: boolean
}

/** What the owner does to credentials, by route or on the files: done, and noted in the audit log without anything secret. */
export interface Desk {
  readonly credentials: Credentials
  readonly audit: Audit
}

/** The secret stays the caller's. @throws KithError `CREDENTIAL_INVALID`, `VAULT_LOCKED`, `DID_INVALID`. */
export async function addCredential({ credentials, audit }: Desk, wanted: NewCredential, secret: Secret): Promise<CredentialView> {
  const key = keyOf(wanted)
  const origins = wanted.origins.map(originOf)
  const expiresMs = wanted.expiresAt === undefined ? undefined : timeOf(wanted.expiresAt)
  const credential = composeCredential(wanted.fields, secret)
  try {
    const info = await credentials.add(key, credential, { origins, expiresMs, mode: wanted.replace ? 'replace' : 'add' })
    const action = info.revision > 1 ? 'credential.rotate' : 'credential.add'
    await audit.append({ actor: 'owner', action, subject: subjectOf(key), reason: '', details: { type: info.type, revision: info.revision } })
    return viewOf(info)
  } finally {
    wipeCredential(credential)
  }
}

/** @throws KithError `CREDENTIAL_UNKNOWN`. */
export async function removeCredential({ credentials, audit }: Desk, given: { readonly service: string; readonly did?: string | undefined }): Promise<void> {
  const key = keyOf(given)
  await credentials.remove(key)
  await audit.append({ actor: 'owner', action: 'credential.remove', subject: subjectOf(key), reason: '' })
}

export async function listCredentials(credentials: Credentials): Promise<readonly CredentialView[]> {
  return (await credentials.list()).map(viewOf)
}

export function subjectOf({ service, did }: CredentialKey): string {
  return did === undefined ? service : `${service} ${did}`
}

function keyOf({ service, did }: { readonly service: string; readonly did?: string | undefined }): CredentialKey {
  return did === undefined ? { service } : { service, did: parseDid(did) }
}

function viewOf({ service, did, type, source, origins, revision, renews, ...times }: CredentialInfo): CredentialView {
  const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString())
  return {
    ...{ service, did: did ?? null, type, source, origins, revision, renews },
    ...{ created_at: time(times.createdMs), changed_at: time(times.changedMs), expires_at: time(times.expiresMs) },
  }
}

function originOf(text: string): string {
  const origin = parseOrigin(text)
  if (origin !== undefined) return origin
  throw new KithError('CREDENTIAL_INVALID', 'An origin is written https://HOST[:PORT], or http for this machine.', { next: 'kith credential add --help' })
}

/** The last moment that `Date` shows is the year 275760: RFC 3339 ends at 9999. */
function timeOf(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isFinite(ms) && ms > 0) return ms
  throw new KithError('USAGE', '--expires takes a time such as 2027-01-31T12:00:00Z.', { next: 'kith credential add --help' })
}

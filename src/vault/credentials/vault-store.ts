import { concat, equal, utf8 } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Store } from '../../core/store/types.ts'
import { type CredentialContent, decodeContent, encodeContent, unreadable } from './codec.ts'
import { checkKey, invalid, MAX_CREDENTIALS } from './limits.ts'
import { type CredentialRow, decodeRow, encodeRow } from './record.ts'
import {
  type Credential,
  type CredentialInfo,
  type CredentialKey,
  type CredentialProvider,
  type OpenCredential,
  type Sealing,
  wipeCredential,
} from './types.ts'

const NAMESPACE = 'vault/credentials'
const SEPARATOR: Uint8Array = Uint8Array.of(0)

export interface PutOptions {
  readonly origins?: readonly string[]
  /** Ms since the epoch. */
  readonly expiresMs?: number | undefined
  /** `add`: there must be none yet. `replace`: there may. Default `add`. */
  readonly mode?: 'add' | 'replace'
}

/** Credentials in the node's store, each sealed by the vault. Opened at need, in memory only for whoever asked. */
export interface VaultCredentials extends CredentialProvider {
  /**
   * Seals and keeps it, durable when it resolves; the credential stays the caller's.
   * @throws KithError `VAULT_LOCKED`, `CREDENTIAL_INVALID`, `STORE_FAILED`.
   */
  put(key: CredentialKey, credential: Credential, options?: PutOptions): Promise<CredentialInfo>
  /**
   * Puts a renewed one in the place of the revision it was made from. `undefined`, and nothing is written, when that is no longer there: a person was faster.
   * @throws as `put`.
   */
  renew(key: CredentialKey, revision: number, credential: Credential, expiresMs: number | undefined): Promise<CredentialInfo | undefined>
  /** Whether there was one. Needs no unlocked vault. */
  remove(key: CredentialKey): Promise<boolean>
}

export interface VaultCredentialsOptions {
  readonly store: Store
  readonly sealing: Sealing
  readonly clock: Clock
}

export function vaultCredentials({ store, sealing, clock }: VaultCredentialsOptions): VaultCredentials {
  /** One change at a time: each looks at what is there before it writes. */
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(run: () => Promise<T>): Promise<T> => {
    const done = last.then(run)
    last = done.catch(() => undefined)
    return done
  }
  const row = async (key: CredentialKey): Promise<CredentialRow | undefined> => {
    const value = await store.get(NAMESPACE, placeOf(key))
    if (value === undefined) return undefined
    const found = decodeRow(value)
    if (!equal(placeOf(found.key), placeOf(key))) throw unreadable(new TypeError('it lies in the place of another'))
    return found
  }
  const write = async (made: SealedRow, before: CredentialRow | undefined): Promise<CredentialInfo> => {
    const now = Math.max(0, Math.floor(clock.now()))
    const next = { ...made, revision: (before?.revision ?? 0) + 1, createdMs: before?.createdMs ?? now, changedMs: now }
    await store.put(NAMESPACE, placeOf(next.key), encodeRow(next))
    return infoOf(next)
  }
  return {
    name: 'vault',
    async get(key) {
      checkKey(key)
      const found = await row(key)
      return found === undefined ? undefined : openRow(found, sealing)
    },
    async list() {
      const found: CredentialInfo[] = []
      for await (const { value } of store.scan(NAMESPACE, { limit: MAX_CREDENTIALS })) found.push(infoOf(decodeRow(value)))
      return found
    },
    async put(key, credential, { origins = [], expiresMs, mode = 'add' } = {}) {
      const made = sealRow(sealing, { key, origins, credential }, expiresMs)
      return await inTurn(async () => {
        const there = (await store.get(NAMESPACE, placeOf(key))) !== undefined
        if (there && mode === 'add') throw invalid('there is one for this service already', 'kith credential add SERVICE --replace')
        if (!there && (await count(store)) >= MAX_CREDENTIALS) throw invalid(`there are ${MAX_CREDENTIALS} already`, 'kith credential list')
        // One that cannot be read any more is what a new one is put in place of.
        return await write(made, there ? await row(key).catch(() => undefined) : undefined)
      })
    },
    async renew(key, revision, credential, expiresMs) {
      return await inTurn(async () => {
        const known = await row(key)
        if (known?.revision !== revision) return undefined
        return await write(sealRow(sealing, { key, origins: known.origins, credential }, expiresMs), known)
      })
    },
    async remove(key) {
      checkKey(key)
      return await inTurn(async () => {
        const there = (await store.get(NAMESPACE, placeOf(key))) !== undefined
        if (there) await store.delete(NAMESPACE, placeOf(key))
        return there
      })
    },
  }
}

type SealedRow = Omit<CredentialRow, 'revision' | 'createdMs' | 'changedMs'>

function sealRow(sealing: Sealing, content: CredentialContent, expiresMs: number | undefined): SealedRow {
  const { key, origins, credential } = content
  if (expiresMs !== undefined && !Number.isSafeInteger(expiresMs)) throw new TypeError('expiresMs is a whole number of ms')
  const plain = encodeContent(content)
  try {
    const renews = credential.type === 'oidc' && credential.refreshToken !== undefined
    return { key, origins, type: credential.type, renews, expiresMs, sealed: sealing.seal(plain) }
  } finally {
    plain.wipe()
  }
}

/** service || 0 || did: neither has a zero byte. */
function placeOf({ service, did = '' }: CredentialKey): Uint8Array {
  return concat(utf8(service), SEPARATOR, utf8(did))
}

async function count(store: Store): Promise<number> {
  let total = 0
  for await (const _ of store.scan(NAMESPACE)) total++
  return total
}

/** What the row says is compared with what was sealed. */
function openRow(row: CredentialRow, sealing: Sealing): OpenCredential {
  if (sealing.locked) throw new KithError('VAULT_LOCKED', 'The vault is locked, and the credential is in it.', { next: 'kith vault unlock' })
  const content = sealing.open(row.sealed)
  try {
    const { key, origins, credential } = decodeContent(content)
    const same = equal(placeOf(key), placeOf(row.key)) && credential.type === row.type && origins.join(' ') === row.origins.join(' ')
    if (same) return { credential, info: infoOf(row) }
    wipeCredential(credential)
    throw unreadable(new TypeError('what is sealed is not what the row says'))
  } finally {
    content.wipe()
  }
}

function infoOf({ key, sealed, ...rest }: CredentialRow): CredentialInfo {
  return { ...key, ...rest, source: 'vault' }
}

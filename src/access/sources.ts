import { type PublicKey, toHex } from '../core/bytes.ts'
import { sha256 } from '../core/crypto/hash.ts'
import type { Did } from '../identity/did.ts'
import type { AddressPatterns } from './address-pattern.ts'
import { sameHash } from './api-key.ts'
import type { AuthorizedLine } from './authorized-keys.ts'
import type { SshCertificate } from './ssh-certificate.ts'
import type { Revocations } from './ssh-revocations.ts'
import { fingerprint, keyBlob } from './ssh-wire.ts'
import { tokenKeyId } from './token.ts'

/** What the owner gave a principal. Flat scopes; resources by name, each with its actions. */
export interface Grant {
  readonly scopes: readonly string[]
  readonly resources?: Readonly<Record<string, readonly string[]>>
  /** Whose it is, where the owner says so. */
  readonly did?: Did
}

/** A key that may log in, and sign tokens. */
export interface AuthorizedKey {
  readonly key: PublicKey
  readonly from?: AddressPatterns
  /** Ms since 1970. */
  readonly expiresMs?: number
  readonly portForwarding: boolean
  /** For the owner: where it stands. */
  readonly place: string
  readonly comment?: string
}

/** A key that signs certificates, and never logs in itself. */
export interface Authority extends AuthorizedKey {
  /** Names of which a certificate must have one; without them it must have the user name of the login. */
  readonly principals?: readonly string[]
}

export interface ApiKeyRecord {
  /** Unique; its principal is `key:NAME`. */
  readonly name: string
  /** SHA-256 of the whole text, in hex. */
  readonly hash: string
  readonly expiresMs?: number
  readonly grant: Grant
}

type Awaitable<T> = T | Promise<T>

/**
 * Where an identity provider asks: configuration, the node's store, or anything else that knows keys, such as a list on a chain. Everything is asked by what was proved;
 * a source never sees a secret. All sources are asked: the first that knows a key says its limits, grants add up, and one that revokes is enough. What a source once gave
 * never changes: another answer is another object.
 */
export interface IdentitySource {
  readonly name: string
  /** @param fingerprint `SHA256:...` */
  key?(fingerprint: string): Awaitable<AuthorizedKey | undefined>
  /** @param keyId SHA-256 of the key or of its SSH blob, in hex. */
  tokenKey?(keyId: string): Awaitable<AuthorizedKey | undefined>
  authority?(fingerprint: string): Awaitable<Authority | undefined>
  /** @param hash SHA-256 of the whole text, in hex. */
  apiKey?(hash: string): Awaitable<ApiKeyRecord | undefined>
  /** @param principal a DID, a class, `ssh:SHA256:...`, `key:NAME` or `ssh-user:NAME`. */
  grant?(principal: string): Awaitable<Grant | undefined>
  revokesKey?(key: PublicKey): Awaitable<boolean>
  revokesCertificate?(certificate: SshCertificate): Awaitable<boolean>
}

/** All that one source says, as one value that never changes: a reload puts another in its place. */
export interface AccessTable {
  /** By fingerprint. */
  readonly keys: ReadonlyMap<string, AuthorizedKey>
  readonly authorities: ReadonlyMap<string, Authority>
  /** By hash. */
  readonly apiKeys: ReadonlyMap<string, ApiKeyRecord>
  /** By principal. */
  readonly grants: ReadonlyMap<string, Grant>
  readonly revocations: readonly Revocations[]
  /** By both ids that tokens may have, from `keys`. */
  readonly tokenKeys: ReadonlyMap<string, AuthorizedKey>
}

export interface TableParts {
  readonly lines?: readonly AuthorizedLine[]
  readonly apiKeys?: readonly ApiKeyRecord[]
  readonly grants?: ReadonlyMap<string, Grant>
  readonly revocations?: readonly Revocations[]
}

/** @throws TypeError when two API keys have one name or one text. */
export function accessTable({ lines = [], apiKeys = [], grants = new Map(), revocations = [] }: TableParts): AccessTable {
  const keys = new Map<string, AuthorizedKey>()
  const authorities = new Map<string, Authority>()
  for (const line of lines) {
    if (line.options.certAuthority) authorities.set(line.fingerprint, authorityOf(line))
    else keys.set(line.fingerprint, keyOf(line))
  }
  // A key that signs certificates logs in by none of the lines.
  for (const known of authorities.keys()) keys.delete(known)
  const byHash = new Map(apiKeys.map((record) => [record.hash, record]))
  if (byHash.size !== apiKeys.length || new Set(apiKeys.map(({ name }) => name)).size !== apiKeys.length)
    throw new TypeError('two API keys have the same name or are the same')
  const tokenKeys = new Map([...keys.values()].flatMap((key) => tokenIds(key.key).map((id) => [id, key] as const)))
  return Object.freeze({ keys, authorities, apiKeys: byHash, grants, revocations, tokenKeys })
}

/** Both digests by which a token may name a key: of the key itself, and of its SSH blob. */
function tokenIds(key: PublicKey): readonly string[] {
  return [toHex(tokenKeyId(key)), toHex(sha256(keyBlob(key)))]
}

function keyOf({ key, options, place, comment }: AuthorizedLine): AuthorizedKey {
  return {
    key,
    portForwarding: options.portForwarding,
    place,
    comment,
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.expiresMs === undefined ? {} : { expiresMs: options.expiresMs }),
  }
}

function authorityOf(line: AuthorizedLine): Authority {
  return { ...keyOf(line), ...(line.options.principals === undefined ? {} : { principals: line.options.principals }) }
}

/** A source that answers from a table, always the newest one. */
export function tableSource(name: string, table: () => AccessTable): IdentitySource {
  return {
    name,
    key: (id) => table().keys.get(id),
    tokenKey: (id) => table().tokenKeys.get(id),
    authority: (id) => table().authorities.get(id),
    apiKey: (hash) => {
      const found = table().apiKeys.get(hash)
      return found !== undefined && sameHash(found.hash, hash) ? found : undefined
    },
    grant: (principal) => table().grants.get(principal),
    revokesKey: (key) => table().revocations.some((list) => list.key(key)),
    revokesCertificate: (certificate) => table().revocations.some((list) => list.certificate(certificate)),
  }
}

/** Whether what a source gave for a fingerprint is that key: a source of others may answer anything. */
export function isKeyOf(found: AuthorizedKey, id: string): boolean {
  return fingerprint(found.key) === id
}

import { type AuthorizedLine, parseAuthorizedKeys } from '../../access/authorized-keys.ts'
import { isKeyName } from '../../access/principal.ts'
import { type AccessTable, type ApiKeyRecord, accessTable, type Grant } from '../../access/sources.ts'
import { parseRevocations } from '../../access/ssh-revocations.ts'
import { concat, fromHex, type PublicKey, toHex, utf8 } from '../../core/bytes.ts'
import { bytesN, type Codec, decode, encode, list, malformed, mapped, option, struct, text, uint53 } from '../../core/codec.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import type { Store } from '../../core/store/types.ts'
import type { Did } from '../../identity/did.ts'
import { parseDid } from '../../identity/did.ts'

/**
 * What the owner's commands said about who may come in, one value in the node's store:
 *
 * ```text
 * u8 version = 1 || list<api key> || list<grant> || list<text line of authorized_keys> || list<text line of a revocation list> || option<key32 of this node's tokens>
 * api key = text name || hash32 || u64 created_ms || option<u64 expires_ms> || list<text scope> || resources
 * grant   = text principal || list<text scope> || resources || option<text did>         resources = list<text name || list<text action>>
 * ```
 */
export interface AccessBook {
  readonly apiKeys: readonly StoredApiKey[]
  readonly grants: readonly StoredGrant[]
  readonly lines: readonly string[]
  readonly revoked: readonly string[]
  /** Of the key that signs this node's own tokens, once it has signed one. */
  readonly tokenKey: PublicKey | undefined
}

export interface StoredApiKey extends ApiKeyRecord {
  readonly createdMs: number
}

export interface StoredGrant {
  readonly principal: string
  readonly grant: Grant
}

export const MAX_API_KEYS = 1_000
export const MAX_GRANTS = 1_000
export const MAX_LINES = 1_000
export const MAX_REVOKED = 10_000
const NAMESPACE = 'access/book'
const KEY: Uint8Array = utf8('book')
const VERSION = 1
export const EMPTY_BOOK: AccessBook = { apiKeys: [], grants: [], lines: [], revoked: [], tokenKey: undefined }

const scopesCodec = list(text(64), 64)
const resourcesCodec: Codec<Grant['resources']> = mapped(
  list(struct({ name: text(128), actions: list(text(128), 32) }), 64),
  (entries) => (entries.length === 0 ? undefined : Object.fromEntries(entries.map(({ name, actions }) => [name, actions]))),
  (resources) => Object.entries(resources ?? {}).map(([name, actions]) => ({ name, actions: [...actions] })),
)

interface Row {
  readonly scopes: readonly string[]
  readonly resources: Grant['resources']
}
const apiKeyCodec = struct<Row & { name: string; hash: Uint8Array; createdMs: number; expiresMs: number | undefined }>({
  name: text(64),
  hash: bytesN(32),
  createdMs: uint53,
  expiresMs: option(uint53),
  scopes: scopesCodec,
  resources: resourcesCodec,
})
const grantCodec = struct<Row & { principal: string; did: string | undefined }>({
  principal: text(80),
  scopes: scopesCodec,
  resources: resourcesCodec,
  did: option(text(100)),
})
const bookCodec = struct({
  apiKeys: list(apiKeyCodec, MAX_API_KEYS),
  grants: list(grantCodec, MAX_GRANTS),
  lines: list(text(4_096), MAX_LINES),
  revoked: list(text(1_024), MAX_REVOKED),
  tokenKey: option(bytesN(32)),
})

export function encodeBook({ apiKeys, grants, lines, revoked, tokenKey }: AccessBook): Uint8Array {
  return concat(
    Uint8Array.of(VERSION),
    encode(bookCodec, {
      apiKeys: apiKeys.map(({ name, hash, createdMs, expiresMs, grant }) => ({ name, hash: fromHex(hash), createdMs, expiresMs, ...rowOf(grant) })),
      grants: grants.map(({ principal, grant }) => ({ principal, did: grant.did, ...rowOf(grant) })),
      lines: [...lines],
      revoked: [...revoked],
      tokenKey,
    }),
  )
}

/** @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`, `DID_INVALID`. */
export function decodeBook(bytes: Uint8Array): AccessBook {
  if (bytes[0] !== VERSION) throw malformed('access book of an unknown version')
  const { apiKeys, grants, lines, revoked, tokenKey } = decode(bookCodec, bytes.subarray(1))
  return {
    apiKeys: apiKeys.map(({ name, hash, createdMs, expiresMs, ...row }) => ({
      name: isKeyName(name) ? name : refuse(),
      hash: toHex(hash),
      createdMs,
      grant: grantOf(row),
      ...(expiresMs === undefined ? {} : { expiresMs }),
    })),
    grants: grants.map(({ principal, did, ...row }) => ({ principal, grant: grantOf(row, did === undefined ? undefined : parseDid(did)) })),
    lines,
    revoked,
    tokenKey: tokenKey === undefined ? undefined : parsePublicKey(tokenKey),
  }
}

function refuse(): never {
  throw malformed('name of a key')
}

function rowOf({ scopes, resources }: Grant): Row {
  return { scopes: [...scopes], resources }
}

function grantOf({ scopes, resources }: Row, did?: Did): Grant {
  return { scopes, ...(resources === undefined ? {} : { resources }), ...(did === undefined ? {} : { did }) }
}

/** The lines of a book as they count. @throws KithError `ACCESS_INVALID`. */
export function linesOf({ lines }: AccessBook): readonly AuthorizedLine[] {
  return parseAuthorizedKeys(lines.join('\n'), 'kith access ssh').lines
}

/** @throws KithError `ACCESS_INVALID`, TypeError. */
export function tableOf(book: AccessBook): AccessTable {
  return accessTable({
    lines: linesOf(book),
    apiKeys: book.apiKeys,
    grants: new Map(book.grants.map(({ principal, grant }) => [principal, grant])),
    revocations: book.revoked.length === 0 ? [] : [parseRevocations(utf8(book.revoked.join('\n')), 'kith access ssh')],
  })
}

/** The book in the store; it changes one edit at a time and counts once it is durable. */
export class StoredBook {
  readonly #store: Store
  #book: AccessBook
  #table: AccessTable
  #saving: Promise<unknown> = Promise.resolve()

  private constructor(store: Store, book: AccessBook) {
    this.#store = store
    this.#book = book
    this.#table = tableOf(book)
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`, `ACCESS_INVALID`. */
  static async open(store: Store): Promise<StoredBook> {
    const bytes = await store.get(NAMESPACE, KEY)
    return new StoredBook(store, bytes === undefined ? EMPTY_BOOK : decodeBook(bytes))
  }

  get book(): AccessBook {
    return this.#book
  }

  get table(): AccessTable {
    return this.#table
  }

  /** @throws KithError `BUDGET_EXCEEDED`, `ACCESS_INVALID`, `STORE_FAILED`, and what `edit` throws. */
  change(edit: (book: AccessBook) => AccessBook): Promise<void> {
    const changed = this.#saving.then(async () => {
      const book = edit(this.#book)
      checkSizes(book)
      const table = tableOf(book)
      await this.#store.put(NAMESPACE, KEY, encodeBook(book), { durable: true })
      this.#book = book
      this.#table = table
    })
    this.#saving = changed.catch(() => undefined)
    return changed
  }
}

function checkSizes({ apiKeys, grants, lines, revoked }: AccessBook): void {
  const rows: readonly [number, number, string][] = [
    [apiKeys.length, MAX_API_KEYS, 'API keys'],
    [grants.length, MAX_GRANTS, 'grants'],
    [lines.length, MAX_LINES, 'SSH keys'],
    [revoked.length, MAX_REVOKED, 'revocations'],
  ]
  for (const [length, limit, what] of rows)
    if (length > limit) throw new KithError('BUDGET_EXCEEDED', `the node holds ${limit} ${what} already`, { next: 'kith access list' })
}

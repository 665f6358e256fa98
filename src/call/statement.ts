import type { Caller } from '../access/types.ts'
import { type Codec, decode, encode, list, malformed, mapped, option, struct, text } from '../core/codec.ts'
import { parseDid } from '../identity/did.ts'

/**
 * # Who a head calls for
 *
 * A head says of each call that it makes for somebody else who that is. The statement is the head's word and nothing more: the side that serves believes it only of
 * heads that it registered with, and asks its rules about both.
 *
 * ```text
 * statement = text id (200) || text via (16) || option<text did> || list<text scope (128)> (64) || list<resource> (64) || list<text principal> (16)
 * resource  = text name (128) || list<text action> (16)
 * ```
 *
 * Never `local`: the owner of the head is not the owner of the worker, so for its owner a head calls as itself, without a statement.
 */
type Via = Exclude<Caller['via'], 'local'>

interface Resource {
  readonly name: string
  readonly actions: readonly string[]
}

interface Statement {
  readonly id: string
  readonly via: Via
  readonly did: string | undefined
  readonly scopes: readonly string[]
  readonly resources: readonly Resource[]
  readonly principals: readonly string[]
}

const VIA: readonly string[] = ['link', 'ssh-key', 'ssh-certificate', 'token', 'api-key'] satisfies readonly Via[]
const ID = /^[\x21-\x7e]{1,200}$/

const via: Codec<Via> = mapped(
  text(16),
  (value) => {
    if (!VIA.includes(value)) throw malformed('not a way to come in')
    return value as Via
  },
  (value) => value,
)

const id: Codec<string> = mapped(
  text(200),
  (value) => {
    if (!ID.test(value) || value === 'local') throw malformed('not the name of a caller')
    return value
  },
  (value) => value,
)

const statement: Codec<Statement> = struct<Statement>({
  id,
  via,
  did: option(text(128)),
  scopes: list(text(128), 64),
  resources: list(struct<Resource>({ name: text(128), actions: list(text(64), 16) }), 64),
  principals: list(text(64), 16),
})

/** Most bytes a statement takes in an opening frame. */
export const MAX_STATEMENT_BYTES = 8_192

/** @throws TypeError for the owner, and for a caller with more than fits. */
export function encodeStatement(caller: Caller): Uint8Array {
  if (caller.via === 'local') throw new TypeError('for its owner a head calls as itself')
  const bytes = encode(statement, {
    id: caller.id,
    via: caller.via,
    did: caller.did,
    scopes: [...caller.scopes].sort(),
    resources: [...caller.resources].map(([name, actions]) => ({ name, actions })),
    principals: caller.principals ?? [],
  })
  if (bytes.length > MAX_STATEMENT_BYTES) throw new TypeError('the caller has more scopes and resources than a statement carries')
  return bytes
}

/**
 * The caller that `head` vouches for. Whether this head is believed at all is decided by who asks for it.
 * @throws KithError `WIRE_MALFORMED`, `DID_INVALID`.
 */
export function decodeStatement(bytes: Uint8Array, head: Caller): Caller {
  if (bytes.length > MAX_STATEMENT_BYTES) throw malformed('longer than allowed', { limit: MAX_STATEMENT_BYTES })
  const { id, via, did, scopes, resources, principals } = decode(statement, bytes)
  return {
    id,
    via,
    ...(did === undefined ? {} : { did: parseDid(did) }),
    scopes: new Set(scopes),
    resources: new Map(resources.map(({ name, actions }) => [name, actions])),
    ...(principals.length === 0 ? {} : { principals }),
    through: head,
    ...(head.revoked === undefined ? {} : { revoked: head.revoked }),
  }
}

/** Statements that are remembered as they were read: a head sends the same few again and again, and reading an identity costs more than a small call. */
const MAX_REMEMBERED = 1_024

/** `decodeStatement` that remembers. Who vouches is never remembered. */
export function createStatementReader(): (bytes: Uint8Array, head: Caller) => Caller {
  const known = new Map<string, Caller>()
  return (bytes, head) => {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
    let caller = known.get(key)
    if (caller === undefined) {
      const { through: _through, revoked: _revoked, ...read } = decodeStatement(bytes, head)
      caller = read
      if (known.size >= MAX_REMEMBERED) known.clear()
      known.set(key, caller)
    }
    return { ...caller, through: head, ...(head.revoked === undefined ? {} : { revoked: head.revoked }) }
  }
}

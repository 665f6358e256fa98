import type { Caller } from '../access/types.ts'
import { type Codec, decode, encode, list, malformed, mapped, option, struct, text } from '../core/codec.ts'
import { parseDid } from '../identity/did.ts'

/**
 * # Who a head calls for
 *
 * A head says of each call that it makes for somebody else who that is. The statement is the head's word and nothing more: the side that serves believes it only of
 * heads that it registered with, and asks its rules about both. A call that came from a head and is handed on names that head behind its caller, and so on: nobody on
 * the way lends it anything.
 *
 * ```text
 * statement = list<stated> (1..4)                     the caller, then the heads that it came through, the nearest to the caller first
 * stated    = text id (200) || text via (16) || option<text did> || list<text scope (128)> (64) || list<resource> (64) || list<text principal> (16)
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

interface Stated {
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

const stated: Codec<Stated> = struct<Stated>({
  id,
  via,
  did: option(text(128)),
  scopes: list(text(128), 64),
  resources: list(struct<Resource>({ name: text(128), actions: list(text(64), 16) }), 64),
  principals: list(text(64), 16),
})

/** The caller and the heads behind it. */
const MAX_STATED = 4
const statement: Codec<readonly Stated[]> = list(stated, MAX_STATED)

/** Most bytes a statement takes in an opening frame. */
export const MAX_STATEMENT_BYTES = 8_192

/** @throws TypeError for the owner, and for a caller with more than fits. */
export function encodeStatement(caller: Caller): Uint8Array {
  if (caller.via === 'local') throw new TypeError('for its owner a head calls as itself')
  const chain: Stated[] = []
  for (let one: Caller | undefined = caller; one !== undefined; one = one.through) {
    // A process of this node's own is no head.
    if (one.via !== 'local') chain.push(statedOf(one, one.via))
  }
  if (chain.length > MAX_STATED) throw new TypeError('the call came through more heads than a statement names')
  const bytes = encode(statement, chain)
  if (bytes.length > MAX_STATEMENT_BYTES) throw new TypeError('the caller has more scopes and resources than a statement carries')
  return bytes
}

function statedOf({ id, did, scopes, resources, principals = [] }: Caller, via: Via): Stated {
  return { id, via, did, scopes: [...scopes].sort(), resources: [...resources].map(([name, actions]) => ({ name, actions })), principals }
}

/** As it came, with identities read. */
type Read = Omit<Caller, 'through' | 'revoked'>

/**
 * The caller that `head` vouches for. Whether this head is believed at all is decided by who asks for it. Resources are those that the head has too: handlers read them
 * of the caller alone. Scopes stay as stated, since a rule may refuse by one.
 * @throws KithError `WIRE_MALFORMED`, `DID_INVALID`.
 */
export function decodeStatement(bytes: Uint8Array, head: Caller): Caller {
  return behind(readStatement(bytes), head)
}

/** Statements that are remembered as they were read: a head sends the same few again and again, and reading an identity costs more than a small call. */
const MAX_REMEMBERED = 1_024

/** `decodeStatement` that remembers. Who vouches is never remembered. */
export function createStatementReader(): (bytes: Uint8Array, head: Caller) => Caller {
  const known = new Map<string, readonly Read[]>()
  return (bytes, head) => {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
    let chain = known.get(key)
    if (chain === undefined) {
      chain = readStatement(bytes)
      if (known.size >= MAX_REMEMBERED) known.clear()
      known.set(key, chain)
    }
    return behind(chain, head)
  }
}

function readStatement(bytes: Uint8Array): readonly Read[] {
  if (bytes.length > MAX_STATEMENT_BYTES) throw malformed('longer than allowed', { limit: MAX_STATEMENT_BYTES })
  const chain = decode(statement, bytes)
  if (chain.length === 0) throw malformed('nobody is named')
  return chain.map(({ id, via, did, scopes, resources, principals }) => ({
    id,
    via,
    ...(did === undefined ? {} : { did: parseDid(did) }),
    scopes: new Set(scopes),
    resources: new Map(resources.map(({ name, actions }) => [name, actions])),
    ...(principals.length === 0 ? {} : { principals }),
  }))
}

function behind(chain: readonly Read[], head: Caller): Caller {
  let through = head
  for (let at = chain.length - 1; at >= 0; at--) {
    const read = chain[at] as Read
    through = { ...read, resources: alsoOf(through, read.resources), through, ...(head.revoked === undefined ? {} : { revoked: head.revoked }) }
  }
  return through
}

/** What of stated resources the head has as well; this node itself has all. */
function alsoOf({ via, resources: own }: Caller, stated: Caller['resources']): Caller['resources'] {
  if (via === 'local' || stated.size === 0) return stated
  const both = new Map<string, readonly string[]>()
  for (const [name, actions] of stated) {
    const held = own.get(name)
    if (held !== undefined)
      both.set(
        name,
        actions.filter((action) => held.includes(action)),
      )
  }
  return both
}

import { type Codec, constant, decode, encode, list, malformed, mapped, struct, text, u8, u16, uint53 } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { type Did, parseDid } from '../identity/did.ts'
import type { Suite } from '../mesh/messages/types.ts'
import { type TopicRules, topicRules } from './topic.ts'
import type { TopicAccess } from './types.ts'

/**
 * A topic's definition in the store, under its name.
 *
 * ```text
 * u8 1 || u8 access (0 open, 1 list, 2 score) || u16 min || list<text did> || u8 suite || u8 causal || u64 retain_ms || u64 max_entries || u64 max_bytes
 * ```
 */
interface Stored {
  readonly _version?: undefined
  readonly access: number
  readonly min: number
  readonly members: readonly Did[]
  readonly suite: Suite
  readonly causal: boolean
  readonly retainMs: number
  readonly maxEntries: number
  readonly maxBytes: number
}

function choice<T>(values: readonly T[]): Codec<T> {
  return mapped(
    u8,
    (value) => {
      const chosen = values[value]
      if (chosen === undefined) throw malformed('choice')
      return chosen
    },
    (value) => values.indexOf(value),
  )
}

const did: Codec<Did> = mapped(text(64), parseDid, (value) => value)
const codec: Codec<Stored> = struct<Stored>({
  _version: constant(1),
  access: u8,
  min: u16,
  members: list(did, 1_000),
  suite: choice<Suite>(['ed25519', 'hybrid']),
  causal: choice([false, true]),
  retainMs: uint53,
  maxEntries: uint53,
  maxBytes: uint53,
})

export function encodeTopic({ access, suite, causal, retainMs, maxEntries, maxBytes }: TopicRules): Uint8Array {
  return encode(codec, {
    access: access.kind === 'open' ? 0 : access.kind === 'list' ? 1 : 2,
    min: access.kind === 'score' ? access.min : 0,
    members: access.kind === 'list' ? access.members : [],
    suite,
    causal,
    retainMs,
    maxEntries,
    maxBytes,
  })
}

/**
 * Reads a definition. One that is not readable, or of a kind of access this version does not know, admits nobody: a topic never becomes more open by being restored.
 */
export function restoreTopic(name: string, stored: Uint8Array): { readonly rules: TopicRules; readonly broken: boolean } {
  try {
    const { access, min, members, _version, ...rest } = decode(codec, stored)
    return { rules: topicRules({ name, access: accessOf(access, min, members), ...rest }), broken: false }
  } catch (error) {
    if (!(error instanceof KithError || error instanceof TypeError)) throw error
    return { rules: topicRules({ name, access: { kind: 'list', members: [] } }), broken: true }
  }
}

function accessOf(kind: number, min: number, members: readonly Did[]): TopicAccess {
  if (kind === 0) return { kind: 'open' }
  if (kind === 1) return { kind: 'list', members }
  if (kind === 2) return { kind: 'score', min }
  throw malformed('access')
}

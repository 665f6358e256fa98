import { z } from 'zod'
import { isKithError } from '../../core/errors.ts'
import { parseLocal, parseTarget } from '../../tunnel/index.ts'

/**
 * ```toml
 * [[forward]]
 * name = "db"
 * peer = "office"                        # name or DID
 * target = "db.internal:5432"            # as the peer sees it; or unix:/path
 * local = "127.0.0.1:5432"               # here; or unix:/path
 *
 * [[forward]]
 * name = "demo"
 * kind = "remote"                        # the peer listens and carries back
 * peer = "office"
 * remote = "127.0.0.1:8080"
 * to = "127.0.0.1:3000"
 *
 * [[forward]]
 * name = "browse"
 * kind = "socks"
 * peer = "office"
 * local = "127.0.0.1:1080"
 * ```
 */
export type NamedForward =
  | {
      readonly name: string
      readonly kind: 'local'
      readonly peer: string
      readonly target: string
      readonly local?: string | undefined
      readonly bind_public: boolean
    }
  | { readonly name: string; readonly kind: 'remote'; readonly peer: string; readonly remote: string; readonly to: string }
  | { readonly name: string; readonly kind: 'socks'; readonly peer: string; readonly local?: string | undefined }

const MAX_NAMED = 64
/** Not one of those that forwards without a name are given. */
const NAME = /^(?![frs]\d+$)[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/

const readable =
  (parse: (text: string) => unknown) =>
  (text: string): boolean => {
    try {
      parse(text)
      return true
    } catch (error) {
      if (isKithError(error, 'FORWARD_TARGET')) return false
      throw error
    }
  }

export const forwardName: z.ZodType<string> = z
  .string('expected a name such as "db"')
  .regex(NAME, 'expected a name of lower-case letters, digits and dashes, at most 32, that is not like f1, r1 or s1')
const peer = z.string('expected the name or DID of a peer').min(1).max(200)
const target = z.string('expected HOST:PORT or unix:/path').max(300).refine(readable(parseTarget), 'expected HOST:PORT or unix:/path')
const place = z.string('expected HOST:PORT or unix:/path').max(300).refine(readable(parseLocal), 'expected HOST:PORT or unix:/path')

const row: z.ZodType<NamedForward> = z.preprocess(
  (value) => (typeof value === 'object' && value !== null && !('kind' in value) ? { ...value, kind: 'local' } : value),
  z.discriminatedUnion(
    'kind',
    [
      z.strictObject({ name: forwardName, kind: z.literal('local'), peer, target, local: place.optional(), bind_public: z.boolean().default(false) }),
      z.strictObject({ name: forwardName, kind: z.literal('remote'), peer, remote: place, to: target }),
      z.strictObject({ name: forwardName, kind: z.literal('socks'), peer, local: place.optional() }),
    ],
    'expected the kind local, remote or socks',
  ),
)

/** The setting `forward`. */
export const forwardsSchema: z.ZodType<readonly NamedForward[]> = z
  .array(row, 'expected tables such as [[forward]] in config.toml')
  .max(MAX_NAMED, `expected at most ${MAX_NAMED} forwards`)
  .refine((rows) => new Set(rows.map(({ name }) => name)).size === rows.length, 'two forwards have the same name')
  .readonly()

/** The row as it is appended to the file. */
export function formatNamedForward(forward: NamedForward): string {
  const fields = Object.entries(forward).filter(
    ([key, value]) => value !== undefined && !(key === 'kind' && value === 'local') && !(key === 'bind_public' && value === false),
  )
  return ['[[forward]]', ...fields.map(([key, value]) => `${key} = ${JSON.stringify(value)}`), ''].join('\n')
}

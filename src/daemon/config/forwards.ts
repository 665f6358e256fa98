import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { isKithError } from '../../core/errors.ts'
import { parseSshUrl } from '../../ssh/client/url.ts'
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
 *
 * [[forward]]
 * name = "wiki"
 * kind = "ssh"                           # through an ordinary SSH server
 * peer = "ssh://alice@bastion.example:22"
 * target = "wiki.internal:80"            # as that server sees it; or unix:/path
 * host_key = "SHA256:..."                # or known_hosts = "/path"; default ~/.ssh/known_hosts
 * key_file = "/keys/alice/id"       # default: the key of this node (kith ssh key)
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
  | {
      readonly name: string
      readonly kind: 'ssh'
      /** `ssh://USER@HOST[:PORT]`. */
      readonly peer: string
      readonly target: string
      readonly local?: string | undefined
      readonly bind_public: boolean
      readonly known_hosts?: string | undefined
      readonly host_key?: string | undefined
      readonly key_file?: string | undefined
    }

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
      if (isKithError(error, 'FORWARD_TARGET') || isKithError(error, 'ADDRESS_INVALID')) return false
      throw error
    }
  }

export const forwardName: z.ZodType<string> = z
  .string('expected a name such as "db"')
  .regex(NAME, 'expected a name of lower-case letters, digits and dashes, at most 32, that is not like f1, r1 or s1')
const peer = z.string('expected the name or DID of a peer').min(1).max(200)
const target = z.string('expected HOST:PORT or unix:/path').max(300).refine(readable(parseTarget), 'expected HOST:PORT or unix:/path')
const place = z.string('expected HOST:PORT or unix:/path').max(300).refine(readable(parseLocal), 'expected HOST:PORT or unix:/path')
const server = z.string('expected ssh://USER@HOST[:PORT]').max(300).refine(readable(parseSshUrl), 'expected ssh://USER@HOST[:PORT]')
const file = z.string('expected an absolute path').max(4_096).refine(isAbsolute, 'expected an absolute path')
const fingerprint = z.string('expected SHA256:...').regex(/^SHA256:[A-Za-z0-9+/]{43}$/, 'expected SHA256: and 43 letters, as ssh-keygen -lf prints it')

const row: z.ZodType<NamedForward> = z.preprocess(
  (value) => (typeof value === 'object' && value !== null && !('kind' in value) ? { ...value, kind: 'local' } : value),
  z.discriminatedUnion(
    'kind',
    [
      z.strictObject({ name: forwardName, kind: z.literal('local'), peer, target, local: place.optional(), bind_public: z.boolean().default(false) }),
      z.strictObject({ name: forwardName, kind: z.literal('remote'), peer, remote: place, to: target }),
      z.strictObject({ name: forwardName, kind: z.literal('socks'), peer, local: place.optional() }),
      z.strictObject({
        ...{ name: forwardName, kind: z.literal('ssh'), peer: server, target, local: place.optional(), bind_public: z.boolean().default(false) },
        ...{ known_hosts: file.optional(), host_key: fingerprint.optional(), key_file: file.optional() },
      }),
    ],
    'expected the kind local, remote, socks or ssh',
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

import { z } from 'zod'
import { isAttribute, isForeignPrincipal } from '../../access/principal.ts'
import { isDid } from '../../identity/did.ts'
import { wholePath } from '../config/values.ts'

/**
 * ```toml
 * [[ssh.sftp]]
 * name = "photos"                       # seen as /photos
 * path = "/srv/photos"
 * read = ["scope:family"]
 * write = ["ssh:SHA256:..."]            # may read, too
 * ```
 *
 * Principals are a DID, `ssh:SHA256:...`, `scope:NAME`, `ssh-user:NAME`, or `*` for everybody who can log in.
 */
export interface SftpFolder {
  readonly name: string
  readonly path: string
  readonly read: readonly string[]
  readonly write: readonly string[]
}

const MAX_FOLDERS = 32
const MAX_PRINCIPALS = 256

const principal = z
  .string('expected a principal')
  .refine(
    (text) => text === '*' || isDid(text) || isForeignPrincipal(text) || isAttribute(text),
    'expected a DID, ssh:SHA256:..., scope:NAME, ssh-user:NAME or "*"',
  )

const folder = z.strictObject({
  name: z.string('expected a name').regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected a name of letters, digits, dots, dashes and underscores'),
  path: wholePath('folder'),
  read: z.array(principal, 'expected a list of principals').max(MAX_PRINCIPALS).default([]),
  write: z.array(principal, 'expected a list of principals').max(MAX_PRINCIPALS).default([]),
})

export const sftpSchema: z.ZodType<readonly SftpFolder[]> = z
  .array(folder, 'expected tables such as [[ssh.sftp]] with name and path')
  .max(MAX_FOLDERS)
  .refine((folders) => new Set(folders.map(({ name }) => name)).size === folders.length, 'each folder needs a name of its own')

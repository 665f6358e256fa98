import { resolve } from 'node:path'
import { KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { MAX_SECRET_FILE_BYTES, readSecretFile } from '../daemon/credentials/secret-file.ts'
import type { CommandContext } from './context.ts'

/**
 * A secret that somebody names: a file, or `-` for standard input; on a terminal that is a question without echo. The caller wipes it.
 * @throws KithError `CREDENTIAL_INVALID`, `HOME_UNSAFE`.
 */
export async function readSecretInput(context: CommandContext, file: string, question: string): Promise<Secret> {
  if (file !== '-') return readSecretFile(resolve(context.cwd, file))
  const { Secret: Guarded } = await import('../core/secret.ts')
  const given = context.terminal.interactive
    ? await context.terminal.askSecret(question, context.signal)
    : await context.terminal.readInput(MAX_SECRET_FILE_BYTES, context.signal).then((bytes) => (bytes.length === 0 ? undefined : Guarded.take(bytes)))
  if (given !== undefined) return given
  throw new KithError('CREDENTIAL_INVALID', 'No secret was given.', { next: 'kith credential add --help' })
}

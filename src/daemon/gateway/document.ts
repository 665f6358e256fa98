import { readFile, stat } from 'node:fs/promises'
import { toHex } from '../../core/bytes.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { KithError } from '../../core/errors.ts'
import { MAX_FILE_BYTES } from '../../gateway/openapi/import-plan.ts'

/** A file of JSON, and by what it is known again. @throws KithError `OPENAPI_INVALID`. */
export async function readDocument(file: string): Promise<{ readonly digest: string; readonly document: unknown }> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new KithError('OPENAPI_INVALID', 'The file cannot be read.', { details: { file }, cause })
  })
  if (!found.isFile() || found.size > MAX_FILE_BYTES)
    throw new KithError('OPENAPI_INVALID', `This is no file of at most ${MAX_FILE_BYTES} bytes.`, { details: { file } })
  try {
    const bytes = await readFile(file)
    return { digest: toHex(sha256(bytes)), document: JSON.parse(bytes.toString('utf8')) }
  } catch (cause) {
    throw new KithError('OPENAPI_INVALID', 'The file is no JSON. YAML is not read: convert it once.', { details: { file }, cause })
  }
}

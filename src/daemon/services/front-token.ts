import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import { writeAtomic } from '../../identity/atomic-file.ts'
import { TOKEN_BYTES } from '../../transport/wss/address.ts'

const FILE = 'wss.token'

/**
 * What opens the keyed paths of this node's site: in a file of the home that only its owner reads, made when a site or a `wss://` address first needs one. Removing the file and starting
 * again changes all addresses that were handed out. @throws KithError `STORE_FAILED` when the file holds something else.
 */
export async function frontToken(home: string, random: Random, needed: boolean): Promise<Uint8Array | undefined> {
  const path = join(home, FILE)
  const text = await readFile(path, 'latin1').catch((error: unknown) => {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) {
    if (!needed) return undefined
    const token = random.bytes(TOKEN_BYTES)
    await writeAtomic(path, Buffer.from(`${Buffer.from(token).toString('base64url')}\n`))
    return token
  }
  const token = Buffer.from(text.trim(), 'base64url')
  if (!/^[A-Za-z0-9_-]{32}\n?$/.test(text)) throw new KithError('STORE_FAILED', `${FILE} in the home is damaged.`, { next: `rm ${path}` })
  return token
}

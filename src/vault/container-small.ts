import type { Identity } from 'age-encryption'
import { concat } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { ContainerRecipients } from './container-header.ts'
import { openStream, SealingStream } from './container-stream.ts'

/** A key file inside a backup: an age file of its own, between guarded memory and bytes. */
const MAX_SEALED_BYTES: number = 1 << 20

/** Seals a few bytes to the recipients of a container: a key file inside one. 1 byte to 1 MiB, from guarded memory. */
export async function sealSmall(plaintext: Secret, recipients: ContainerRecipients): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  const stream = await SealingStream.create(recipients, async (bytes) => void parts.push(Uint8Array.from(bytes)))
  try {
    // `write` copies before it waits for anything, so the secret is readable just as long as that takes; more than fits at once is not small.
    let writing: Promise<void> = Promise.resolve()
    plaintext.use((bytes) => {
      writing = stream.write(bytes)
    })
    await writing
    await stream.close()
  } catch (error) {
    stream.destroy()
    throw error
  }
  return concat(...parts)
}

/** Opens what `sealSmall` made. @throws KithError as `openStream`; `BACKUP_INVALID` for more than 1 MiB. */
export async function openSmall(sealed: Uint8Array, identities: readonly Identity[]): Promise<Secret> {
  const parts: Secret[] = []
  let length = 0
  try {
    for await (const piece of openStream({ source: once(sealed), identities })) {
      length += piece.length
      if (length > MAX_SEALED_BYTES) throw invalid('too long')
      parts.push(Secret.take(piece))
    }
    if (length === 0) throw invalid('empty')
    const secret = Secret.alloc(length)
    let at = 0
    for (const part of parts) {
      part.use((bytes) => secret.fill((target) => target.set(bytes, at)))
      at += part.length
    }
    return secret
  } finally {
    for (const part of parts) part.wipe()
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function invalid(reason: string): KithError {
  return new KithError('BACKUP_INVALID', `a key file in the backup is ${reason}`, { details: { reason }, next: 'use a file that kith backup wrote' })
}

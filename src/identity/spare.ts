import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Random } from '../core/random.ts'
import { DEFAULT_WORK_FACTOR } from './age-scrypt.ts'
import { removeTemporaries, syncDirectory, writeAtomic } from './atomic-file.ts'
import { finishKeyChange } from './key-change.ts'
import { readPrivateFile } from './private-file.ts'

/**
 * # The second keystore
 *
 * A person can be made to give a passphrase. A second one may open another identity, with machine, peers and messages of its own, while the first stays shut:
 *
 * ```text
 * HOME/identity.age   device.age   kith.db ...        opened by the passphrase
 * HOME/.spare/identity.age   device.age   note.age   mark  opened by the second passphrase, or by none: random bytes in the form of an age file
 * ```
 *
 * Every home with an identity has the directory. Where no second passphrase was set, its files are random in every place where a real one has what cannot be told
 * from random (salt, wrapped key, MAC, nonce, payload), and have the length that those of a fresh identity would have. So that there is a directory says
 * nothing. What does say something is in `docs/limits.md`.
 *
 * A passphrase is tried on the home's own files first. Which of the two opened is settled for as long as the home is open, so that nothing of the one is ever
 * written over the other.
 */
const NAME = '.spare'
/** The files of a fresh identity: payload without phrase, and without the machine's name, which stands in the device's file twice. */
const IDENTITY_BYTES = 5_833
const DEVICE_BYTES = 15_861
/** How many words of the English BIP39 list have 3, 4, ... 8 letters. */
const WORD_LENGTHS: readonly number[] = [103, 442, 555, 508, 352, 88]
const WORDS = 24
export const MARK_BYTES = 32
/** `note.age`: 1,024 bytes sealed. */
export const NOTE_BYTES = 1_205

export function spareDirectory(root: string): string {
  return join(root, NAME)
}

/** Makes the directory in a home that has an identity and no such directory yet, and ends what was cut. Only the holder of the home's lock may call it. */
export async function ensureSpare(paths: { readonly root: string; readonly identity: string }, random: Random): Promise<void> {
  const directory = spareDirectory(paths.root)
  const [fresh, old] = [`${directory}.fresh`, `${directory}.old`]
  if (!existsSync(directory) && existsSync(old)) await rename(old, directory)
  for (const leftover of [fresh, old]) if (existsSync(leftover)) await rm(leftover, { recursive: true })
  if (existsSync(directory)) {
    await removeTemporaries(directory)
    await finishKeyChange(directory)
  } else if (existsSync(paths.identity)) {
    // It holds nothing: a disk without room for it keeps nobody out, and the next opening makes it.
    await replaceSpare(paths.root, (at) => fabricate(at, nameLength(paths.root), random)).catch(() => undefined)
  }
}

/** Puts a directory that `fill` makes in the place of the one that is there, whole or not at all. */
export async function replaceSpare(root: string, fill: (directory: string) => Promise<unknown>): Promise<void> {
  const directory = spareDirectory(root)
  const [fresh, old] = [`${directory}.fresh`, `${directory}.old`]
  await rm(fresh, { recursive: true, force: true })
  await mkdir(fresh, { mode: 0o700 })
  await fill(fresh)
  await syncDirectory(fresh)
  if (existsSync(directory)) await rename(directory, old)
  await rename(fresh, directory)
  await syncDirectory(root)
  await rm(old, { recursive: true, force: true })
}

/** What a second keystore would look like to somebody without its passphrase. @param nameBytes length of the machine's name. */
export async function fabricate(directory: string, nameBytes: Promise<number> | number, random: Random): Promise<void> {
  const phrase = phraseLength(random)
  await fabricateFile(join(directory, 'identity.age'), IDENTITY_BYTES + (phrase < 128 ? 1 : 2) + phrase, random)
  await fabricateFile(join(directory, 'device.age'), DEVICE_BYTES + 2 * (await nameBytes), random)
  await writeAtomic(join(directory, 'note.age'), randomAge(NOTE_BYTES, 1, random))
  await writeAtomic(join(directory, 'boot'), Buffer.from('0\n'))
  await writeAtomic(join(directory, 'mark'), random.bytes(MARK_BYTES))
}

async function fabricateFile(path: string, length: number, random: Random): Promise<void> {
  const file = randomAge(length, DEFAULT_WORK_FACTOR, random)
  await writeAtomic(path, file)
  await writeAtomic(`${path}.sum`, Buffer.from(`${createHash('sha256').update(file).digest('hex')}  ${basename(path)}\n`))
}

function randomAge(length: number, workFactor: number, random: Random): Uint8Array {
  const text = (bytes: number): string => Buffer.from(random.bytes(bytes)).toString('base64').replaceAll('=', '')
  const header = Buffer.from(`age-encryption.org/v1\n-> scrypt ${text(16)} ${workFactor}\n${text(32)}\n--- ${text(32)}\n`)
  return Buffer.concat([header, random.bytes(length - header.length)])
}

/** Of a random phrase of 24 words with the spaces between them. */
function phraseLength(random: Random): number {
  let length = WORDS - 1
  for (const byte of new Uint16Array(Uint8Array.from(random.bytes(2 * WORDS)).buffer)) {
    let left = byte % 2048
    let letters = 3
    for (const count of WORD_LENGTHS) {
      if (left < count) break
      left -= count
      letters++
    }
    length += letters
  }
  return length
}

/** The machine's name as the note beside the keys says it; the second keystore gets the same. */
async function nameLength(root: string): Promise<number> {
  try {
    const note = JSON.parse(Buffer.from((await readPrivateFile(join(root, 'identity.json'), 65_536)) ?? []).toString('utf8')) as { name?: unknown }
    if (typeof note.name === 'string') return Buffer.byteLength(note.name)
  } catch {}
  return 4
}

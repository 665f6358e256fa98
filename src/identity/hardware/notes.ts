import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex } from '../../core/bytes.ts'
import { writeAtomic } from '../atomic-file.ts'
import { isTokenKey } from '../keys.ts'
import type { IdentityContent } from '../keystore-codec.ts'
import { readPrivateFile } from '../private-file.ts'
import { parseTokenUri } from './uri.ts'

/** A key of this identity that is in a token. Nothing of it is secret. */
export interface TokenNote {
  /** Index of the chain entry the key belongs to, or will belong to. */
  readonly generation: number
  /** 64 hexadecimal digits. */
  readonly public_key: string
  /** RFC 7512, without a PIN. */
  readonly uri: string
}

const FILE = 'tokens.json'
const MAX_FILE_BYTES = 8_192

/** What is known, without passphrase and PIN, of the keys that are in tokens: the present one and the next. It decides nothing; the key file does. */
export async function loadTokenNotes(home: string): Promise<readonly TokenNote[]> {
  const bytes = await readPrivateFile(join(home, FILE), MAX_FILE_BYTES)
  return bytes === undefined ? [] : parseNotes(Buffer.from(bytes).toString('utf8'))
}

/** What of a text is notes; anything else is left out. */
export function parseNotes(text: string): readonly TokenNote[] {
  try {
    const value = JSON.parse(text) as unknown
    return Array.isArray(value) ? value.filter(isNote).slice(0, 2) : []
  } catch {
    return []
  }
}

/** Written with the identity's file. */
export async function saveTokenNotes(home: string, { generation, seeds, next }: Pick<IdentityContent, 'generation' | 'seeds' | 'next'>): Promise<void> {
  const notes = [seeds, next].flatMap(({ ed25519 }, i) =>
    isTokenKey(ed25519) ? [{ generation: generation + i, public_key: toHex(ed25519.publicKey), uri: ed25519.uri }] : [],
  )
  const path = join(home, FILE)
  if (notes.length === 0) await rm(path, { force: true })
  else await writeAtomic(path, Buffer.from(`${JSON.stringify(notes, null, 2)}\n`))
}

function isNote(value: unknown): value is TokenNote {
  if (typeof value !== 'object' || value === null) return false
  const { generation, public_key, uri } = value as { readonly [K in keyof TokenNote]?: unknown }
  return Number.isInteger(generation) && typeof public_key === 'string' && /^[0-9a-f]{64}$/.test(public_key) && typeof uri === 'string' && isUri(uri)
}

function isUri(text: string): boolean {
  try {
    parseTokenUri(text)
    return true
  } catch {
    return false
  }
}

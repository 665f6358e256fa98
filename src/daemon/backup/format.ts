import { z } from 'zod'
import { KithError } from '../../core/errors.ts'
import type { Facts } from '../../vault/container.ts'

/** How the key files in a backup are sealed: by the passphrase of the home, as they stood there; anew to the keys of the backup; or there are none. */
export type SealedKeys = 'passphrase' | 'container' | 'none'

const hex = (length: number): z.ZodType<string> => z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`))
const whole = z.int().min(0)
/** Years of four digits, ms: a later time has no date, and nothing could be newer than it. */
export const MAX_TIME_MS = 253_402_300_799_999
const time = whole.max(MAX_TIME_MS)
/** Runs are numbered from seconds upwards, and the next one needs a number, too. */
const MAX_BOOT: number = 10 ** 14

/** The header of a backup (`kith-backup.json`), besides its format. */
export interface BackupHeader {
  /** Null for a home without identity. */
  readonly did: string | null
  /** What its owner calls the machine. */
  readonly name: string | null
  /** The machine's link key; a restore never has it again. */
  readonly link_key: string | null
  /** Version of the program. */
  readonly kith: string
  readonly created_at: string
  readonly created_ms: number
  /** Backups of one home and of what was restored from it are one series; each has a higher counter than those before, and none below its time in ms. */
  readonly series: string
  readonly counter: number
  /** Number of the run, for the one after a restore to be above it. */
  readonly boot: number
  readonly keys: SealedKeys
  /** The backup key of the phrase, age1…; null when the home has no phrase. */
  readonly recipient: string | null
  readonly contents: readonly { readonly name: string; readonly size: number }[]
}

const headerSchema: z.ZodType<BackupHeader> = z.object({
  did: z.string().max(128).nullable(),
  name: z.string().max(64).nullable(),
  link_key: hex(64).nullable(),
  kith: z.string().max(64),
  created_at: z.iso.datetime(),
  created_ms: time,
  series: hex(32),
  counter: time,
  boot: whole.max(MAX_BOOT),
  keys: z.enum(['passphrase', 'container', 'none']),
  recipient: z.string().max(128).nullable(),
  contents: z.array(z.object({ name: z.string().max(1_024), size: whole })).max(100_000),
})

/** @throws KithError `BACKUP_INVALID`. */
export function parseHeader(facts: Facts): BackupHeader {
  return parsed(headerSchema, facts, 'header')
}

/** The maker's word for a backup: its signature by the machine's link key, with the papers that lead from the identity to that key. */
export interface Seal {
  readonly binding: string
  readonly chain: string
  readonly signature: string
}

const bytes = z
  .string()
  .max(12_000_000)
  .regex(/^(?:[0-9a-f]{2})*$/)
const sealSchema: z.ZodType<Seal> = z.object({ binding: bytes, chain: bytes, signature: hex(128) })

/** `undefined` for the empty seal of a home without identity. @throws KithError `BACKUP_INVALID`. */
export function parseSeal(facts: Facts): Seal | undefined {
  return Object.keys(facts).length === 0 ? undefined : parsed(sealSchema, facts, 'seal')
}

function parsed<T>(schema: z.ZodType<T>, facts: Facts, what: string): T {
  const result = schema.safeParse(facts)
  if (result.success) return result.data
  const path = (result.error.issues[0]?.path ?? []).join('.')
  throw new KithError('BACKUP_INVALID', `the ${what} of the backup is not understood: ${path}`, {
    details: { reason: what, path },
    next: 'use a file that kith backup wrote',
  })
}

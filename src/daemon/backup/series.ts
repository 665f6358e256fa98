import { dirname, join } from 'node:path'
import { toHex } from '../../core/bytes.ts'
import { hmacSha256 } from '../../core/crypto/hash.ts'
import { makeFolder } from '../../core/make-folder.ts'
import type { Random } from '../../core/random.ts'
import { writeAtomic } from '../../identity/atomic-file.ts'
import { readPrivateFile } from '../../identity/home.ts'
import { statePassphrasePath } from '../../identity/passphrase.ts'
import type { Device } from '../../identity/types.ts'
import { MAX_TIME_MS } from './format.ts'

/**
 * # Which backup is the newest
 *
 * ```text
 * HOME/backup.json                   {"version":1,"series":hex32,"counter":n,"recipient":"age1…"|null,"mac":hex64}
 * STATE/backups/SERIES               the highest counter of a series that was made or restored by this user of this machine
 * ```
 *
 * A counter is above the last one, and never below the time in ms: it rises even where the last one was lost, and where two copies of a home go on separately.
 * Both places are written before a backup is. The recipient is noted so that a node whose identity is locked can make backups; the MAC, by a key of the machine,
 * keeps others from putting theirs there.
 */
const FILE = 'backup.json'
const MAX_BYTES = 4_096
const LABEL = 'icn/backup-recipient/v1'

export interface Series {
  readonly series: string
  readonly counter: number
  /** age1… */
  readonly recipient: string | null
}

interface Stored extends Series {
  readonly version: 1
  readonly mac: string
}

/** What a home knows of its backups. `recipient` is null when it was noted by somebody else. */
export async function readSeries(root: string, device: Device | undefined, random: Random): Promise<Series> {
  const bytes = await readPrivateFile(join(root, FILE), MAX_BYTES)
  const stored = bytes === undefined ? undefined : parse(Buffer.from(bytes).toString('utf8'))
  if (stored === undefined) return { series: toHex(random.bytes(16)), counter: 0, recipient: null }
  const { series, counter, recipient, mac } = stored
  return { series, counter, recipient: device !== undefined && mac === macOf(device, series, recipient) ? recipient : null }
}

export async function writeSeries(root: string, series: Series, device: Device | undefined): Promise<void> {
  const stored: Stored = { version: 1, ...series, mac: device === undefined ? '' : macOf(device, series.series, series.recipient) }
  await writeAtomic(join(root, FILE), Buffer.from(`${JSON.stringify(stored)}\n`))
}

/** The highest counter of a series known to this user of this machine; 0 when it was never seen. */
export async function knownCounter(series: string, environment: NodeJS.ProcessEnv): Promise<number> {
  const bytes = await readPrivateFile(counterPath(series, environment), 64)
  const text = bytes === undefined ? '' : Buffer.from(bytes).toString('latin1')
  return /^(0|[1-9][0-9]{0,15})\n$/.test(text) && Number(text) < MAX_TIME_MS ? Number(text) : 0
}

/** Never lowers it. */
export async function noteCounter(series: string, counter: number, environment: NodeJS.ProcessEnv): Promise<void> {
  if (counter <= (await knownCounter(series, environment))) return
  const path = counterPath(series, environment)
  makeFolder(dirname(path))
  await writeAtomic(path, Buffer.from(`${counter}\n`))
}

function counterPath(series: string, environment: NodeJS.ProcessEnv): string {
  if (!/^[0-9a-f]{32}$/.test(series)) throw new TypeError('the name of a series has 32 hexadecimal digits')
  return join(dirname(statePassphrasePath(series, environment)), 'backups', series)
}

function macOf(device: Device, series: string, recipient: string | null): string {
  using key = device.deriveSecret(LABEL)
  return key.use((bytes) => toHex(hmacSha256(bytes, Buffer.from(`${series} ${recipient ?? ''}`))))
}

function parse(text: string): Stored | undefined {
  try {
    const value = JSON.parse(text) as Partial<Stored>
    const { version, series, counter, recipient, mac } = value
    const sound =
      version === 1 &&
      typeof series === 'string' &&
      /^[0-9a-f]{32}$/.test(series) &&
      Number.isSafeInteger(counter) &&
      (counter as number) >= 0 &&
      (counter as number) < MAX_TIME_MS &&
      (recipient === null || typeof recipient === 'string') &&
      typeof mac === 'string'
    return sound ? (value as Stored) : undefined
  } catch {
    return undefined
  }
}

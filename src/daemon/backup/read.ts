import type { Identity } from 'age-encryption'
import { KithError } from '../../core/errors.ts'
import type { ChainState } from '../../identity/types.ts'
import { type ReadingFile, readContainer } from '../../vault/container.ts'
import type { Source } from '../../vault/container-stream.ts'
import { belongs } from './contents.ts'
import { type BackupHeader, parseHeader, parseSeal } from './format.ts'
import { checkSeal } from './seal.ts'

export interface ReadBackupOptions {
  readonly source: Source
  readonly identities: readonly Identity[]
  /** Before any file is read. */
  onHeader?(header: BackupHeader): Promise<void>
  /** To be read to its end. Absent: it is only verified. */
  onFile?(file: ReadingFile): Promise<void>
  progress?(done: number, total: number): void
  readonly signal?: AbortSignal
}

export interface CheckedBackup {
  readonly header: BackupHeader
  readonly files: number
  /** Bytes of the files. */
  readonly content: number
  /** The identity's chain as the maker knew it. */
  readonly chain: ChainState | undefined
}

/**
 * Reads a backup to its end and holds everything in it against its seal. What was handed out counts only when this resolves.
 * @throws KithError `BACKUP_FORGED`, `BACKUP_UNSAFE`, and as `readContainer`.
 */
export async function readBackup(options: ReadBackupOptions): Promise<CheckedBackup> {
  const { source, identities, signal, progress } = options
  let header: BackupHeader | undefined
  let total = 0
  let done = 0
  const read = await readContainer({
    source,
    identities,
    async onHeader(facts) {
      header = parseHeader(facts)
      total = header.contents.reduce((sum, { size }) => sum + size, 0)
      await options.onHeader?.(header)
    },
    async onFile(file) {
      if (!belongs(file.name)) throw unwanted(file.name)
      const counted: ReadingFile = {
        ...file,
        async *content() {
          for await (const piece of file.content()) {
            yield piece
            done += piece.length
            progress?.(Math.min(done, total), total)
          }
        },
      }
      if (options.onFile !== undefined) await options.onFile(counted)
      else for await (const _ of counted.content());
    },
    ...(signal === undefined ? {} : { signal }),
  })
  const parsed = header as BackupHeader
  return { header: parsed, files: read.files.length, content: read.content, chain: checkSeal(parseSeal(read.seal), parsed, read.digest) }
}

/** Keys of a machine, or what steers a home from within: nothing that a backup of ours has. */
function unwanted(name: string): KithError {
  return new KithError('BACKUP_UNSAFE', `the backup holds ${JSON.stringify(name.slice(0, 200))}, which no backup carries`, {
    details: { name: name.slice(0, 200), reason: 'never in a backup' },
    next: 'do not use this file: kith does not write such names',
  })
}

import type { BackupStage } from '../../backup/desk.ts'
import type { Seal } from '../../backup/format.ts'
import type { Json, Nothing } from '../route.ts'

export interface BackupApi {
  /** The backup key that this home was told of before, age1…; null when it has to be derived from the phrase again. */
  'GET /v1/backup': Json<Nothing, { readonly recipient: string | null; readonly keep: number }>
  /** A number for a backup, and a copy of the store as it is now. */
  'POST /v1/backup/begin': Json<{ readonly recipient?: string }, BackupStage>
  /** Signs what was written: 64 hexadecimal digits. */
  'POST /v1/backup/seal': Json<{ readonly id: string; readonly digest: string }, Seal | Record<string, never>>
  /** Removes the copy; with `bytes` the backup is written, and so long. */
  'POST /v1/backup/end': Json<{ readonly id: string; readonly bytes?: number }, Nothing>
}

import { fuzz } from './mutate.ts'
import { backupTargets } from './targets/backup.ts'

for (const target of backupTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { recoveryTargets } from './targets/recovery.ts'

for (const target of recoveryTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { doorTargets } from './targets/doors.ts'

for (const target of doorTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { conductTargets } from './targets/conduct.ts'

for (const target of conductTargets) fuzz(target)

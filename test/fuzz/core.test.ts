import { fuzz } from './mutate.ts'
import { coreTargets } from './targets/core.ts'

for (const target of coreTargets) fuzz(target)

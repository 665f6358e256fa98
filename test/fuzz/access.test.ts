import { fuzz } from './mutate.ts'
import { accessTargets } from './targets/access.ts'

for (const target of accessTargets) fuzz(target)

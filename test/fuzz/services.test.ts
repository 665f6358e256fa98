import { fuzz } from './mutate.ts'
import { serviceTargets } from './targets/services.ts'

for (const target of serviceTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { trustTargets } from './targets/trust.ts'

for (const target of trustTargets) fuzz(target)

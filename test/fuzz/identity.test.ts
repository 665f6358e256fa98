import { fuzz } from './mutate.ts'
import { identityTargets } from './targets/identity.ts'

for (const target of identityTargets) fuzz(target)

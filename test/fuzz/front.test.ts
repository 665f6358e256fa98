import { fuzz } from './mutate.ts'
import { frontTargets } from './targets/front.ts'

for (const target of frontTargets) fuzz(target)

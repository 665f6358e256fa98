import { fuzz } from './mutate.ts'
import { callTargets } from './targets/calls.ts'

for (const target of callTargets) fuzz(target)

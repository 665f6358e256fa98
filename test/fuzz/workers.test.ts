import { fuzz } from './mutate.ts'
import { workerTargets } from './targets/workers.ts'

for (const target of workerTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { assemblyTargets } from './targets/assembly.ts'

for (const target of assemblyTargets) fuzz(target)

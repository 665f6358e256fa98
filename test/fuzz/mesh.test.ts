import { fuzz } from './mutate.ts'
import { meshTargets } from './targets/mesh.ts'

for (const target of meshTargets) fuzz(target)

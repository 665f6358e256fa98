import { fuzz } from './mutate.ts'
import { postQuantumTargets } from './targets/postquantum.ts'
import { streamTargets } from './targets/stream.ts'

for (const target of [...streamTargets, ...postQuantumTargets]) fuzz(target)

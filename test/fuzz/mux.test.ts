import { fuzz } from './mutate.ts'
import { muxTargets } from './targets/mux.ts'

for (const target of muxTargets) fuzz(target)

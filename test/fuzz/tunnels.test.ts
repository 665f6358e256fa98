import { fuzz } from './mutate.ts'
import { tunnelTargets } from './targets/tunnels.ts'

for (const target of tunnelTargets) fuzz(target)

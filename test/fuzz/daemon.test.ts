import { fuzz } from './mutate.ts'
import { daemonTargets } from './targets/daemon.ts'

for (const target of daemonTargets) fuzz(target)

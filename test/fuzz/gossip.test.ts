import { fuzz } from './mutate.ts'
import { gossipTargets } from './targets/gossip.ts'

for (const target of gossipTargets) fuzz(target)

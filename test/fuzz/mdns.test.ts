import { fuzz } from './mutate.ts'
import { mdnsTargets } from './targets/mdns.ts'

for (const target of mdnsTargets) fuzz(target)

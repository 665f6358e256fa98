import { fuzz } from './mutate.ts'
import { deviceTargets } from './targets/devices.ts'

for (const target of deviceTargets) fuzz(target)

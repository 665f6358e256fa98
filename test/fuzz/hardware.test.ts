import { fuzz } from './mutate.ts'
import { hardwareTargets } from './targets/hardware.ts'

for (const target of hardwareTargets) fuzz(target)

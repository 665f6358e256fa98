import { fuzz } from './mutate.ts'
import { quicTargets } from './targets/quic.ts'

for (const target of quicTargets) fuzz(target)

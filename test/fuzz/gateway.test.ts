import { fuzz } from './mutate.ts'
import { gatewayTargets } from './targets/gateway.ts'

for (const target of gatewayTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { keystoreTargets } from './targets/keystore.ts'

for (const target of keystoreTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { credentialTargets } from './targets/credentials.ts'

for (const target of credentialTargets) fuzz(target)

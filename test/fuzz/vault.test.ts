import { fuzz } from './mutate.ts'
import { vaultTargets } from './targets/vault.ts'

for (const target of vaultTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { messageTargets } from './targets/messages.ts'

for (const target of messageTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { helloTargets } from './targets/hello.ts'

for (const target of helloTargets) fuzz(target)

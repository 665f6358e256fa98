import { fuzz } from './mutate.ts'
import { blobTargets } from './targets/blobs.ts'

for (const target of blobTargets) fuzz(target)

import { fuzz } from './mutate.ts'
import { sshTargets } from './targets/ssh.ts'

for (const target of sshTargets) fuzz(target)

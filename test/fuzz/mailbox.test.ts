import { fuzz } from './mutate.ts'
import { mailboxTargets } from './targets/mailbox.ts'

for (const target of mailboxTargets) fuzz(target)

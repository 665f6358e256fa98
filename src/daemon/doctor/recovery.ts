import { bad, type Check, fine } from './types.ts'

/** Others who ask for this identity: the owner must not miss it, also when something else is wrong. */
export const checkRecovery: Check = async ({ daemon }) => {
  if (daemon === undefined) return fine('recovery', 'not looked at: the node does not run')
  const asked = daemon.degraded.find(({ code }) => code === 'RECOVERY_PENDING' || code === 'RECOVERY_OVER')
  return asked === undefined ? fine('recovery', 'nobody asks for this identity') : bad('recovery', asked.message, asked.next ?? 'kith recovery status')
}

import { loadSummary } from '../identity/describe.ts'
import { daysSince, isDue } from '../identity/key-age.ts'
import { bad, type Check, fine } from './types.ts'

/** How old the identity's keys are, by what was noted beside them. */
export const checkKeyAge: Check = async ({ home, clock, config }) => {
  const since = Date.parse((await loadSummary(home))?.keys_since ?? '')
  if (Number.isNaN(since)) return fine('key age', 'not noted yet')
  const days = config['identity.rotate_after_days']
  const age = `the identity has had its keys for ${daysSince(since, clock.now())} days`
  if (isDue(since, clock.now(), days)) return bad('key age', `${age}; they are to be replaced after ${days}`, 'kith id rotate --reason scheduled')
  return fine('key age', age)
}

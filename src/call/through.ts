import type { Authorize } from './types.ts'

/**
 * Asks about the head as well as about whom it calls for, and takes the narrower answer: a head with more rights than a caller lends it none, and a caller gives none
 * to a head.
 */
export function throughHeads(authorize: Authorize): Authorize {
  return (caller, operation) => {
    const { through } = caller
    if (through === undefined) return authorize(caller, operation)
    const [ofHead, ofCaller] = [authorize(through, operation), authorize(caller, operation)]
    if (ofHead === 'hidden' || ofCaller === 'hidden') return 'hidden'
    return ofHead === 'denied' || ofCaller === 'denied' ? 'denied' : 'allowed'
  }
}

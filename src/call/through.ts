import type { Authorize } from './types.ts'

/**
 * Asks about the heads as well as about whom they call for, and takes the narrowest answer: a head with more rights than a caller lends it none, and a caller gives none
 * to a head.
 */
export function throughHeads(authorize: Authorize): Authorize {
  return (caller, operation) => {
    let narrowest = authorize(caller, operation)
    // Each is asked, whatever the others may: refusing takes the same work as allowing.
    for (let head = caller.through; head !== undefined; head = head.through) {
      const verdict = authorize(head, operation)
      if (RANK[verdict] < RANK[narrowest]) narrowest = verdict
    }
    return narrowest
  }
}

const RANK: Readonly<Record<ReturnType<Authorize>, number>> = { hidden: 0, denied: 1, allowed: 2 }

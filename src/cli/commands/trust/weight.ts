import { KithError } from '../../../core/errors.ts'
import { nearest } from '../../../core/nearest.ts'
import type { PeerClass } from '../../../mesh/types.ts'

const CLASSES: readonly string[] = ['isolated', 'known', 'partner', 'federated'] satisfies PeerClass[]

/** The weight of an own edge that stands for a class: what an invitation of that class gives. */
const WEIGHT_OF: Readonly<Record<PeerClass, number>> = { isolated: 0, known: 0.25, partner: 0.55, federated: 0.85 }

/** `0.25`, or a class. @throws KithError `USAGE`. */
export function parseWeight(text: string, command: string): number | PeerClass {
  if (CLASSES.includes(text)) return text as PeerClass
  if (/^(0(\.\d{1,4})?|\.\d{1,4}|1(\.0{1,4})?)$/.test(text)) return Number(text)
  const meant = nearest(text, CLASSES)
  const hint = meant === undefined ? '' : ` Did you mean ${meant}?`
  throw new KithError('USAGE', `A weight is a number from 0 to 1 with at most four decimals, or one of ${CLASSES.join(', ')}.${hint}`, {
    next: `kith trust ${command} --help`,
  })
}

/** The same as a number, for what is said to others. */
export function weightOf(text: string, command: string): number {
  const weight = parseWeight(text, command)
  return typeof weight === 'number' ? weight : WEIGHT_OF[weight]
}

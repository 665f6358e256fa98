import { base58Encode } from '../core/base58.ts'
import { type Did, didPublicKey } from '../identity/did.ts'

/** Names of peers: letters, digits and . _ -, beginning with a letter or digit, at most this long. */
export const MAX_NAME = 32
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

export function isPeerName(text: string): boolean {
  return text.length <= MAX_NAME && NAME.test(text)
}

/**
 * A usable name made from what a peer calls itself. Whatever it sends becomes letters, digits and . _ -; an empty result is named after its DID.
 */
export function cleanName(wanted: string, did: Did): string {
  const name = wanted
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '')
    .slice(0, MAX_NAME)
    .replace(/[^A-Za-z0-9]+$/, '')
  return name === '' ? `peer-${base58Encode(didPublicKey(did)).slice(0, 6)}` : name
}

/** The name itself, or with `-2`, `-3`, … until `taken` says no. Case is ignored, so that no two names look alike in a table. */
export function uniqueName(name: string, taken: (name: string) => boolean): string {
  if (!taken(name)) return name
  for (let count = 2; ; count++) {
    const suffix = `-${count}`
    const next = `${name.slice(0, MAX_NAME - suffix.length)}${suffix}`
    if (!taken(next)) return next
  }
}

/** What a name looks like at a glance: letters and digits that pass for each other are one. Only ever compared. */
export function likeness(name: string): string {
  return name
    .toLowerCase()
    .replace(/[0158i]/g, (letter) => TWINS[letter] ?? letter)
    .replaceAll('rn', 'm')
    .replaceAll('vv', 'w')
}

const TWINS: Readonly<Record<string, string>> = { '0': 'o', '1': 'l', '5': 's', '8': 'b', i: 'l' }

/** Whether a name reads like the short form of a DID (`zC5XN5jGvtEM`): then it would answer for a stranger that the owner means by it. */
export function looksLikeDid(name: string): boolean {
  return /^z(?=[a-z]*[1-9A-Z])[1-9A-HJ-NP-Za-km-z]{7,}$/.test(name)
}

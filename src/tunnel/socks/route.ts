import { KithError } from '../../core/errors.ts'
import type { Did } from '../../identity/did.ts'

const SUFFIX = '.kith'

/**
 * Names that choose a peer: `laptop.kith` is the peer `laptop` itself, `db.internal.laptop.kith` is `db.internal` as `laptop` sees it. `undefined` for every
 * other name. The suffix is no part of the public name space, so nothing that exists there is hidden.
 * @throws KithError `FORWARD_NAME` for a peer that is not in the address book.
 */
export function choosePeer(host: string, resolvePeer: (text: string) => Did): { readonly peer: Did; readonly host: string } | undefined {
  const name = host.replace(/\.$/, '')
  if (!name.endsWith(SUFFIX)) return undefined
  const labels = name.slice(0, -SUFFIX.length).split('.')
  const who = labels.pop() ?? ''
  try {
    return { peer: resolvePeer(who), host: labels.length === 0 ? 'localhost' : labels.join('.') }
  } catch (cause) {
    throw new KithError('FORWARD_NAME', 'no peer has that name', { cause })
  }
}

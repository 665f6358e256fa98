import { KithError } from '../core/errors.ts'
import { type Did, parseDid } from '../identity/did.ts'
import type { AddressBook } from './address-book.ts'
import { splitAddress } from './addresses.ts'
import type { PeerBook } from './mesh-types.ts'

/** The address book as the outside sees it. `forgotten` undoes what hangs on a peer: links, rules, memory. */
export function createPeerBook(book: AddressBook, own: Did, forgotten: (did: Did) => Promise<void>): PeerBook {
  return {
    add: async (text, options = {}) => {
      const did = parseDid(text)
      if (did === own) throw new KithError('SELF_DIAL', 'this is the node itself')
      const urls = options.urls ?? []
      const bad = urls.find((url) => splitAddress(url) === undefined)
      if (bad !== undefined) throw new KithError('ADDRESS_INVALID', undefined, { details: { address: bad.slice(0, 100) } })
      return await book.add({
        did,
        addresses: urls.map((url) => ({ url })),
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(options.class === undefined ? {} : { class: options.class }),
      })
    },
    rename: async (peer, name) => await book.rename(book.resolve(peer), name),
    forget: async (peer) => {
      const did = book.resolve(peer)
      if (!(await book.forget(did))) throw new KithError('PEER_UNKNOWN', 'this peer is not in the address book', { next: 'kith peers' })
      await forgotten(did)
      return did
    },
    list: () => book.list(),
    get: (did) => book.get(did),
    resolve: (peer) => book.resolve(peer),
    onChange: (listener) => book.watch(listener),
  }
}

import { equal } from '../core/bytes.ts'
import type { Logger } from '../core/observe/log.ts'
import type { AddressBook } from './address-book.ts'
import { MAX_ADDRESSES } from './address-book-codec.ts'
import { acceptableAddresses } from './addresses.ts'
import { MAX_TOLD_ADDRESSES } from './link-control.ts'
import type { Member } from './link-member.ts'

/** Tells peers where this node listens, and believes what they tell, both for peers of the address book only. */
export class AddressNews {
  readonly #book: AddressBook
  readonly #logger: Logger
  readonly #addresses: () => readonly string[]

  constructor(components: { readonly book: AddressBook; readonly logger: Logger; readonly addresses: () => readonly string[] }) {
    this.#book = components.book
    this.#logger = components.logger
    this.#addresses = components.addresses
  }

  tell(member: Member): void {
    if (member.state !== 'live' || !this.#book.has(member.link.did)) return
    const urls = this.#addresses().slice(0, MAX_TOLD_ADDRESSES)
    if (urls.length > 0) member.send({ type: 'addresses', urls })
  }

  told(member: Member, urls: readonly string[]): void {
    const { did, linkKey } = member.link
    if (!this.#book.has(did)) return
    const known = this.#book.get(did)?.addresses ?? []
    // A machine speaks for itself: it neither takes over nor pushes out what is known of the identity's other machines.
    const others = known.filter((address) => address.linkKey === undefined || !equal(address.linkKey, linkKey))
    const addresses = acceptableAddresses(urls, member.path.address)
      .filter((url) => !known.some((address) => address.url === url && (address.linkKey !== undefined || address.lastSuccessMs > 0)))
      .slice(0, Math.max(0, MAX_ADDRESSES - others.length))
      .map((url) => ({ url, linkKey }))
    if (addresses.length === 0) return
    void this.#book.addAddresses(did, addresses).catch((error: unknown) => this.#logger.warn('addresses not stored', { peer: did, error }))
  }
}

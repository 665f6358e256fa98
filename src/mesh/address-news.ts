import type { Logger } from '../core/observe/log.ts'
import type { AddressBook } from './address-book.ts'
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
    const addresses = acceptableAddresses(urls, member.path.address).map((url) => ({ url, linkKey }))
    if (addresses.length === 0) return
    void this.#book.addAddresses(did, addresses).catch((error: unknown) => this.#logger.warn('addresses not stored', { peer: did, error }))
  }
}

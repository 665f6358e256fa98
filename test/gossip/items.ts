import { hash } from 'node:crypto'
import { type Item, idKey } from '../../src/gossip/topic-index.ts'
import type { Did } from '../../src/identity/did.ts'

let count = 0

/** An entry as the index sees it. */
export function itemOf(given: Partial<Omit<Item, 'key'>> & { readonly name?: string } = {}): Item {
  const id = given.id ?? Uint8Array.from(hash('sha256', given.name ?? `item ${count++}`, 'buffer'))
  return { timeMs: 1_000, size: 100, author: 'did:icn:zAnn' as Did, slot: idKey(id), ...given, key: idKey(id), id }
}

import { encodeChain, entryCodec } from '../identity/chain-codec.ts'
import type { ChainEntry } from '../identity/types.ts'

/** Entries are immutable and sizes are asked for again and again. */
const sizes: WeakMap<ChainEntry, number> = new WeakMap()
/** The count in front of the entries takes at most two bytes (1,000). */
const COUNT_BYTES = 2

/** What was last encoded of a list of entries: the own chain goes into every Hello. */
const lastEncoded: WeakMap<readonly ChainEntry[], { readonly limit: number; readonly bytes: Uint8Array | undefined }> = new WeakMap()

/** The whole chain when it fits, otherwise the longest run of last entries that does; undefined when not even the last one fits. */
export function encodeLastEntries(entries: readonly ChainEntry[], limit: number): Uint8Array | undefined {
  const known = lastEncoded.get(entries)
  if (known?.limit === limit) return known.bytes
  let from = entries.length
  let left = limit - COUNT_BYTES
  while (from > 0) {
    left -= sizeOf(entries[from - 1] as ChainEntry)
    if (left < 0) break
    from--
  }
  const bytes = from === entries.length ? undefined : encodeChain(entries.slice(from))
  lastEncoded.set(entries, { limit, bytes })
  return bytes
}

/** What a greeting shows to one who knows the entries up to `has` (-1: none): the last ones when they join on, otherwise those it is missing, as many as fit. */
export function encodeForGreeting(entries: readonly ChainEntry[], has: number | undefined, limit: number): Uint8Array | undefined {
  const last = encodeLastEntries(entries, limit)
  if (has === undefined || has >= entries.length - 1) return last
  let left = limit - COUNT_BYTES
  let from = entries.length
  while (from > 0 && left >= sizeOf(entries[from - 1] as ChainEntry)) left -= sizeOf(entries[--from] as ChainEntry)
  return from <= has + 1 ? last : (encodeEntriesFrom(entries, has + 1, limit) ?? last)
}

/** Entries from `index` on, as many as fit; undefined when there is none or the first does not fit. */
export function encodeEntriesFrom(entries: readonly ChainEntry[], index: number, limit: number): Uint8Array | undefined {
  let to = index
  let left = limit - COUNT_BYTES
  while (to < entries.length) {
    left -= sizeOf(entries[to] as ChainEntry)
    if (left < 0) break
    to++
  }
  return to <= index ? undefined : encodeChain(entries.slice(index, to))
}

/** At least what the entry takes inside a chain: its own length prefix comes on top. */
function sizeOf(entry: ChainEntry): number {
  const known = sizes.get(entry)
  if (known !== undefined) return known
  const size = entryCodec.size(entry)
  sizes.set(entry, size)
  return size
}

import { join } from 'node:path'
import { type PublicKey, toHex } from '../../core/bytes.ts'
import { type Codec, constant, decode, encode, list, struct, text, uint53 } from '../../core/codec.ts'
import { isKithError } from '../../core/errors.ts'
import { writeAtomic } from '../../identity/atomic-file.ts'
import { type Home, readPrivateFile } from '../../identity/home.ts'
import { publicKeyCodec } from '../../identity/keys.ts'
import { splitAddress } from '../../mesh/addresses.ts'

/**
 * # The other machines of this identity, and where they were
 *
 * ```text
 * device.fellows   u8 1 || list<bytes32 link_key || u64 last_seen_ms || list<text url>(<= 8)>(<= 32)
 * ```
 *
 * They are in no address book: it is about other identities. Addresses are hints; whoever answers there has to prove who it is.
 */
export interface Fellow {
  readonly linkKey: PublicKey
  /** 0 before it was linked for the first time. */
  readonly lastSeenMs: number
  readonly urls: readonly string[]
}

const MAX_FELLOWS = 32
const MAX_URLS = 8
const MAX_URL_BYTES = 256

interface Stored {
  readonly _version: undefined
  readonly fellows: readonly Fellow[]
}

const codec: Codec<Stored> = struct<Stored>({
  _version: constant(1),
  fellows: list(struct<Fellow>({ linkKey: publicKeyCodec, lastSeenMs: uint53, urls: list(text(MAX_URL_BYTES), MAX_URLS) }), MAX_FELLOWS),
})

export class Fellows {
  readonly #path: string
  readonly #fellows: Map<string, Fellow>
  #saving: Promise<void> = Promise.resolve()

  private constructor(path: string, fellows: readonly Fellow[]) {
    this.#path = path
    this.#fellows = new Map(fellows.map((fellow) => [toHex(fellow.linkKey), fellow]))
  }

  /** A file that cannot be read is a hint less. */
  static async open(home: Pick<Home, 'paths'>): Promise<Fellows> {
    const path = join(home.paths.root, 'device.fellows')
    const stored = await readPrivateFile(path, codec.max)
    if (stored === undefined) return new Fellows(path, [])
    try {
      return new Fellows(path, decode(codec, stored).fellows)
    } catch (error) {
      if (isKithError(error)) return new Fellows(path, [])
      throw error
    }
  }

  list(): readonly Fellow[] {
    return [...this.#fellows.values()]
  }

  get(linkKey: Uint8Array): Fellow | undefined {
    return this.#fellows.get(toHex(linkKey))
  }

  /** Notes where a machine says it listens, or that it was here; the one not seen for longest makes room. */
  async note(linkKey: PublicKey, news: { readonly urls?: readonly string[]; readonly lastSeenMs?: number }): Promise<void> {
    const before = this.get(linkKey)
    const usable = news.urls?.filter((url) => splitAddress(url) !== undefined && Buffer.byteLength(url) <= MAX_URL_BYTES).slice(0, MAX_URLS)
    const urls = usable === undefined || usable.length === 0 ? (before?.urls ?? []) : usable
    this.#fellows.set(toHex(linkKey), { linkKey, lastSeenMs: Math.max(before?.lastSeenMs ?? 0, news.lastSeenMs ?? 0), urls })
    if (this.#fellows.size > MAX_FELLOWS) {
      const [oldest] = [...this.#fellows.values()].sort((a, b) => a.lastSeenMs - b.lastSeenMs)
      if (oldest !== undefined) this.#fellows.delete(toHex(oldest.linkKey))
    }
    await this.#save()
  }

  async forget(linkKey: Uint8Array): Promise<void> {
    if (this.#fellows.delete(toHex(linkKey))) await this.#save()
  }

  #save(): Promise<void> {
    this.#saving = this.#saving.catch(() => undefined).then(() => writeAtomic(this.#path, encode(codec, { _version: undefined, fellows: this.list() })))
    return this.#saving
  }
}

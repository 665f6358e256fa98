import { concat, equal, parseUtf8, toHex, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import { MAX_HOLDERS } from './wire.ts'

/** Who got which file from this node lately: they may pass it on to the next who gets it. */
export interface SentFiles {
  /** Peers other than `except` that acknowledged this version of a file, newest first, behind those that are getting it now. */
  holders(fingerprint: Uint8Array, except: Did): Promise<readonly Holder[]>
  /** It is being sent; the returned function says that it is not any more. */
  begin(fingerprint: Uint8Array, peer: Did): () => void
  record(fingerprint: Uint8Array, peer: Did, sha256: Uint8Array): Promise<void>
}

export interface Holder {
  readonly peer: Did
  /** Hex; unknown while the peer is still getting it. */
  readonly sha256: string | undefined
}

interface Row {
  readonly peer: Did
  readonly sha256: string
  readonly at: number
}

const NAMESPACE = 'files/sent'
const LIFE_MS = 7 * 86_400_000
const MAX_ROWS = 1_000
const FINGERPRINT_BYTES = 32

/**
 * ```text
 * files/sent   key fingerprint32 || DID   value JSON {peer, sha256, at}      a cache: what is lost is sent by this node alone
 * ```
 */
export function createSentFiles(store: Store, clock: Clock): SentFiles {
  const running = new Map<string, Did[]>()
  async function rows(prefix?: Uint8Array): Promise<{ readonly key: Uint8Array; readonly row: Row }[]> {
    const found: { key: Uint8Array; row: Row }[] = []
    for await (const { key, value } of store.scan(NAMESPACE, prefix === undefined ? {} : { prefix })) {
      const text = parseUtf8(value)
      if (text !== undefined) found.push({ key, row: JSON.parse(text) as Row })
    }
    return found.sort((a, b) => b.row.at - a.row.at)
  }

  return {
    async holders(fingerprint, except) {
      const oldest = clock.now() - LIFE_MS
      const had = (await rows(fingerprint)).map(({ row }) => row).filter(({ at }) => at > oldest)
      const getting = (running.get(toHex(fingerprint)) ?? []).filter((peer) => !had.some((row) => row.peer === peer))
      const all: readonly Holder[] = [...getting.map((peer) => ({ peer, sha256: undefined })), ...had]
      return all.filter(({ peer }) => peer !== except).slice(0, MAX_HOLDERS)
    },
    begin(fingerprint, peer) {
      const key = toHex(fingerprint)
      running.set(key, [...(running.get(key) ?? []).filter((other) => other !== peer), peer])
      return () => {
        const rest = (running.get(key) ?? []).filter((other) => other !== peer)
        if (rest.length === 0) running.delete(key)
        else running.set(key, rest)
      }
    },
    async record(fingerprint, peer, sha256) {
      if (fingerprint.length !== FINGERPRINT_BYTES) throw new TypeError('a fingerprint has 32 bytes')
      const key = concat(fingerprint, utf8(peer))
      const row: Row = { peer, sha256: toHex(sha256), at: clock.now() }
      await store.put(NAMESPACE, key, utf8(JSON.stringify(row)), { durable: false })
      const oldest = clock.now() - LIFE_MS
      const gone = (await rows()).filter(({ key: other, row: { at } }, place) => (at <= oldest || place >= MAX_ROWS) && !equal(other, key))
      for (const { key: other } of gone) await store.delete(NAMESPACE, other, { durable: false })
    },
  }
}

import { type PublicKey, toHex } from '../core/bytes.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { Lru } from '../core/lru.ts'
import { checkBinding, decodeBinding, type VerifyBindingOptions, verifyBinding } from '../identity/binding.ts'
import { adoptChain } from '../identity/chain.ts'
import { decodeChain } from '../identity/chain-codec.ts'
import type { Did } from '../identity/did.ts'
import type { Binding, ChainEntry, ChainState } from '../identity/types.ts'

const MAX_BINDINGS = 512
const MAX_CHAINS = 256

/** A chain as it was shown: its entries, and what they prove alone when they begin at entry 0. */
export interface ShownChain {
  readonly entries: readonly ChainEntry[]
  readonly state: ChainState | undefined
}

/**
 * Bindings and chains whose signatures were verified, by the SHA-256 of their bytes: a peer that connects again with the same ones costs no ML-DSA
 * verification and no decoding. Only signatures are remembered; dates, serials and revocation are checked every time. Entries are made by
 * `remember`, after PROOF, so that nobody fills it with what others signed, and are found only by the key that the channel was made with: how fast an answer
 * comes tells a stranger nothing about whom this node has met.
 */
export class HelloCache {
  readonly #bindings: Lru<string, Binding> = new Lru(MAX_BINDINGS)
  readonly #chains: Lru<string, ShownChain> = new Lru(MAX_CHAINS)
  /** Own bindings, by the array they are in. */
  readonly #own: WeakMap<Uint8Array, Binding> = new WeakMap()

  /** @throws KithError `BINDING_INVALID`. */
  decodeBinding(bytes: Uint8Array, remoteKey: PublicKey): Binding {
    return this.#bindings.get(idOf(remoteKey, sha256(bytes))) ?? decodeBinding(bytes)
  }

  /** The own binding, decoded once for as long as it is the current one. */
  ownBinding(bytes: Uint8Array): Binding {
    const known = this.#own.get(bytes)
    if (known !== undefined) return known
    const decoded = decodeBinding(bytes)
    this.#own.set(bytes, decoded)
    return decoded
  }

  /** A valid binding, by all rules of PN-4. `decoded` is `bytes` decoded. @throws KithError as `verifyBinding`. */
  binding(bytes: Uint8Array, decoded: Binding, options: VerifyBindingOptions): Binding {
    const known = this.#bindings.get(idOf(decoded.linkKey, decoded.hash))
    if (known === undefined) return verifyBinding(bytes, options)
    // The chain entry whose keys were verified is the one named by `chainHead`, and `checkBinding` holds that against the chain.
    checkBinding(known, options)
    return known
  }

  /**
   * What a chain extension holds. A recovery is judged with the chains of its trustees as they are known here, so it proves nothing alone.
   * @throws KithError `CHAIN_INVALID`.
   */
  chain(bytes: Uint8Array, remoteKey: PublicKey, did: Did, now: number): ShownChain {
    const known = this.#chains.get(idOf(remoteKey, sha256(bytes)))
    if (known !== undefined) return known
    const entries = decodeChain(bytes)
    const alone = entries[0]?.index === 0 && entries[0].did === did && entries.every((entry) => entry.kind !== 'recover')
    return { entries, state: alone ? adoptChain(undefined, entries, { now }).state : undefined }
  }

  /** After PROOF: no verification of signatures and no decoding next time. */
  remember(binding: Binding, chain: { readonly bytes: Uint8Array; readonly shown: ShownChain } | undefined): void {
    this.#bindings.set(idOf(binding.linkKey, binding.hash), binding)
    if (chain?.shown.state !== undefined) this.#chains.set(idOf(binding.linkKey, sha256(chain.bytes)), chain.shown)
  }

  get size(): { readonly bindings: number; readonly chains: number } {
    return { bindings: this.#bindings.size, chains: this.#chains.size }
  }
}

function idOf(linkKey: PublicKey, hash: Uint8Array): string {
  return `${toHex(linkKey)} ${toHex(hash)}`
}

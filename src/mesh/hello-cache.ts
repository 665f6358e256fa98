import { toHex } from '../core/bytes.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { Lru } from '../core/lru.ts'
import { checkBinding, type VerifyBindingOptions, verifyBinding } from '../identity/binding.ts'
import { adoptChain } from '../identity/chain.ts'
import type { Binding, ChainEntry, ChainState } from '../identity/types.ts'

const MAX_BINDINGS = 512
const MAX_CHAINS = 256

/**
 * Bindings and chains whose signatures were verified, by the SHA-256 of their bytes: a peer that connects again with the same ones costs no ML-DSA
 * verification. Only signatures are remembered; dates, serials and revocation are checked every time. Entries are made by `remember`, after PROOF,
 * so that nobody fills it with what others signed.
 */
export class HelloCache {
  readonly #bindings: Lru<string, Binding> = new Lru(MAX_BINDINGS)
  readonly #chains: Lru<string, ChainState> = new Lru(MAX_CHAINS)

  /** A valid binding, by all rules of PN-4. `decoded` is `bytes` decoded. @throws KithError as `verifyBinding`. */
  binding(bytes: Uint8Array, decoded: Binding, options: VerifyBindingOptions): Binding {
    const known = this.#bindings.get(toHex(decoded.hash))
    if (known === undefined) return verifyBinding(bytes, options)
    // The chain entry whose keys were verified is the one named by `chainHead`, and `checkBinding` holds that against the chain.
    checkBinding(known, options)
    return known
  }

  /** The chain that these entries prove by themselves, from entry 0. @throws KithError `CHAIN_INVALID`. */
  chain(bytes: Uint8Array, entries: readonly ChainEntry[], now: number): ChainState {
    return this.#chains.get(toHex(sha256(bytes))) ?? adoptChain(undefined, entries, { now }).state
  }

  /** After PROOF: the signatures need no verification next time. */
  remember(binding: Binding, chain: { readonly bytes: Uint8Array; readonly state: ChainState } | undefined): void {
    this.#bindings.set(toHex(binding.hash), binding)
    if (chain !== undefined && chain.state.pending === undefined) this.#chains.set(toHex(sha256(chain.bytes)), chain.state)
  }

  get size(): { readonly bindings: number; readonly chains: number } {
    return { bindings: this.#bindings.size, chains: this.#chains.size }
  }
}

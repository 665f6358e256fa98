import type { PublicKey } from '../core/bytes.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { KithError } from '../core/errors.ts'
import type { PostQuantumSigner, Signer } from '../core/signer.ts'
import { decodeBinding } from './binding.ts'
import { type Did, didPublicKey } from './did.ts'
import { cloneSeeds, closeKeySet, openKeySet, wipeSeeds } from './keys.ts'
import type { DeviceContent } from './keystore-codec.ts'
import type { Binding, ChainState, Device } from './types.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
/** From this age on a binding is renewed whenever the identity is unlocked. */
const RENEW_AFTER_MS = 10 * DAY_MS

/** This machine's keys and papers, as `device.age` holds them. */
export class LocalDevice implements Device {
  readonly did: Did
  readonly didKey: PublicKey
  readonly #signer: HybridSigner
  #content: DeviceContent
  #binding: Binding
  #closed = false

  /** Takes ownership of the secrets in `content`. */
  constructor(content: DeviceContent) {
    this.did = content.chain.did
    this.didKey = didPublicKey(this.did)
    this.#content = content
    this.#binding = decodeBinding(content.binding)
    this.#signer = openKeySet('link', cloneSeeds(content.seeds))
  }

  get name(): string {
    return this.#content.name
  }
  get linkSigner(): Signer {
    return this.#signer.ed25519
  }
  get mldsaSigner(): PostQuantumSigner | undefined {
    return this.#signer.mldsa
  }
  get signer(): HybridSigner {
    return this.#signer
  }
  get chain(): ChainState {
    return this.#content.chain
  }
  get binding(): Uint8Array {
    return this.#content.binding
  }
  get bindingExpires(): number {
    return this.#binding.notAfterMs
  }
  get serial(): number {
    return this.#content.serial
  }

  /** Whether the binding should be renewed while the identity is at hand: it is ten days old. */
  renewalDue(now: number): boolean {
    const signedMs = this.#binding.notBeforeMs + HOUR_MS
    return now >= signedMs + RENEW_AFTER_MS
  }

  /** The secrets, still owned by this object. @throws KithError `SECRET_WIPED` after `close`. */
  get content(): DeviceContent {
    if (this.#closed) throw new KithError('SECRET_WIPED')
    return this.#content
  }

  /** New papers for the same keys, already saved. */
  replace(papers: Pick<DeviceContent, 'binding' | 'chain' | 'serial' | 'name'>): void {
    this.#binding = decodeBinding(papers.binding)
    this.#content = { ...this.content, ...papers }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeKeySet(this.#signer)
    wipeSeeds(this.#content.seeds)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

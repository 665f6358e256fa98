import type { PublicKey } from '../core/bytes.ts'
import { hkdfSha256 } from '../core/crypto/hash.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { labeled } from '../core/crypto/labels.ts'
import { xwingPublicKey } from '../core/crypto/xwing.ts'
import { KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
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

/** `deriveSecret` with this label and the link key gives the seed of the binding's `fallback_kem`. */
export const FALLBACK_KEM_LABEL = 'icn/fallback-kem/v1'
const NO_SALT = new Uint8Array(0)

/** HKDF-SHA256 (RFC 5869) of a device's root, one branch per label and context. */
export function deriveFromRoot(root: Secret, label: string, ...context: readonly Uint8Array[]): Secret {
  return Secret.take(root.use((bytes) => hkdfSha256(bytes, NO_SALT, labeled(label, ...context), 32)))
}

/** X-Wing public key for sealed messages to a machine whose prekeys are not at hand (PN-9). */
export function fallbackKemOf(root: Secret, linkKey: PublicKey): Uint8Array {
  using seed = deriveFromRoot(root, FALLBACK_KEM_LABEL, linkKey)
  return xwingPublicKey(seed)
}

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

  /** Whether the binding should be renewed while the identity is at hand: it is ten days old, or older than sealed messages. */
  renewalDue(now: number): boolean {
    const signedMs = this.#binding.notBeforeMs + HOUR_MS
    return now >= signedMs + RENEW_AFTER_MS || this.#binding.fallbackKem === undefined
  }

  deriveSecret(label: string, ...context: readonly Uint8Array[]): Secret {
    return deriveFromRoot(this.content.root, label, ...context)
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
    this.#content.root.wipe()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

import { createHash } from 'node:crypto'
import type { PublicKey } from '../core/bytes.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { Secret } from '../core/secret.ts'
import type { PostQuantumSigner, Signer } from '../core/signer.ts'
import { bindingDates, createBinding } from '../identity/binding.ts'
import { adoptChain } from '../identity/chain.ts'
import { createInception } from '../identity/chain-make.ts'
import { deriveFromRoot, fallbackKemOf } from '../identity/device.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { closeKeySet, keysOfSigner, openKeySet } from '../identity/keys.ts'
import type { ChainState, Device } from '../identity/types.ts'
import { type SignMldsa, steadySigner } from './steady-signer.ts'

export interface IdentityOptions {
  readonly postQuantum: boolean
  readonly now: number
  readonly signMldsa: SignMldsa | undefined
}

/** A whole identity: chain, keys, and the bindings it gives its machines. Its keys follow from the seed, so a DID is the same in every run. */
export class SimIdentity {
  readonly did: Did
  readonly chain: ChainState
  readonly options: IdentityOptions
  readonly #signer: HybridSigner
  readonly #promised: HybridSigner
  #serial = 0

  constructor(seed: string, options: IdentityOptions) {
    const { now } = options
    this.options = options
    this.#signer = keysOf('identity', `${seed} keys 0`, options)
    this.#promised = keysOf('identity', `${seed} keys 1`, options)
    const entry = createInception({ signer: this.#signer, next: keysOfSigner(this.#promised), now })
    this.chain = adoptChain(undefined, [entry], { now }).state
    this.did = this.chain.did
  }

  certify(linkKeys: HybridSigner, root: Secret, name: string, now: number): { readonly binding: Uint8Array; readonly expires: number } {
    const dates = bindingDates(now)
    const fallbackKem = fallbackKemOf(root, linkKeys.ed25519.publicKey)
    const binding = createBinding({ chain: this.chain, signer: this.#signer }, linkKeys, { ...dates, serial: ++this.#serial, name, fallbackKem })
    return { binding, expires: dates.notAfter }
  }

  close(): void {
    closeKeySet(this.#signer)
    closeKeySet(this.#promised)
  }
}

/** A machine of an identity. Lives through crashes of its node, as `device.age` does. */
export class SimDevice implements Device {
  readonly did: Did
  readonly didKey: PublicKey
  readonly name: string
  readonly #identity: SimIdentity
  readonly #keys: HybridSigner
  readonly #root: Secret
  #papers: { readonly binding: Uint8Array; readonly expires: number }

  constructor(identity: SimIdentity, seed: string, options: { readonly name: string; readonly now: number }) {
    this.#identity = identity
    this.did = identity.did
    this.didKey = didPublicKey(identity.did)
    this.name = options.name
    this.#keys = keysOf('link', `${seed} device`, identity.options)
    this.#root = secretOf('root', seed)
    this.#papers = identity.certify(this.#keys, this.#root, this.name, options.now)
  }

  get linkSigner(): Signer {
    return this.#keys.ed25519
  }
  get mldsaSigner(): PostQuantumSigner | undefined {
    return this.#keys.mldsa
  }
  get chain(): ChainState {
    return this.#identity.chain
  }
  get binding(): Uint8Array {
    return this.#papers.binding
  }
  get bindingExpires(): number {
    return this.#papers.expires
  }

  deriveSecret(label: string, ...context: readonly Uint8Array[]): Secret {
    return deriveFromRoot(this.#root, label, ...context)
  }

  /** Another thirty days. */
  renew(now: number): void {
    this.#papers = this.#identity.certify(this.#keys, this.#root, this.name, now)
  }

  close(): void {
    closeKeySet(this.#keys)
    this.#root.wipe()
  }
}

function keysOf(role: 'identity' | 'link', seed: string, { postQuantum, signMldsa }: IdentityOptions): HybridSigner {
  const keys = openKeySet(role, { ed25519: secretOf('ed25519', seed), mldsa: postQuantum ? secretOf('mldsa', seed) : undefined })
  return steadySigner(keys, bytesOf('mldsa', seed), signMldsa)
}

function secretOf(kind: string, seed: string): Secret {
  return Secret.take(bytesOf(kind, seed))
}

function bytesOf(kind: string, seed: string): Uint8Array {
  return createHash('sha256').update(`${kind} ${seed}`).digest()
}

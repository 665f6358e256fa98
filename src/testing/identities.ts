import { createHash } from 'node:crypto'
import type { PublicKey } from '../core/bytes.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { Secret } from '../core/secret.ts'
import type { PostQuantumSigner, Signer } from '../core/signer.ts'
import { type BindingIssuer, bindingDates, createBinding } from '../identity/binding.ts'
import { adoptChain } from '../identity/chain.ts'
import { createInception, createRotation } from '../identity/chain-make.ts'
import { deriveFromRoot, fallbackKemOf } from '../identity/device.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { closeKeySet, keysOfSigner, openKeySet } from '../identity/keys.ts'
import type { ChainEntry, ChainState, Device, KeySet, RecoveryPolicy } from '../identity/types.ts'
import { type SignMldsa, steadySigner } from './steady-signer.ts'

export interface IdentityOptions {
  readonly postQuantum: boolean
  readonly now: number
  readonly signMldsa: SignMldsa | undefined
  /** Fixed in the first entry. */
  readonly policy?: RecoveryPolicy | undefined
}

/** A whole identity: chain, keys, and the bindings it gives its machines. Its keys follow from the seed, so a DID is the same in every run. */
export class SimIdentity {
  readonly did: Did
  readonly options: IdentityOptions
  readonly #seed: string
  #chain: ChainState
  #signer: HybridSigner
  #promised: HybridSigner
  /** Of the keys that sign now, among those that follow from the seed. */
  #generation = 0
  #serial = 0

  /** `head`: the history whose last entry already has the first keys of this seed, as after a recovery. */
  constructor(seed: string, options: IdentityOptions, head?: ChainState) {
    const { now, policy } = options
    this.options = options
    this.#seed = seed
    this.#signer = this.#keys(0)
    this.#promised = this.#keys(1)
    const first = (): ChainEntry =>
      createInception({ signer: this.#signer, next: keysOfSigner(this.#promised), now, ...(policy === undefined ? {} : { policy }) })
    this.#chain = head ?? adoptChain(undefined, [first()], { now }).state
    this.did = this.#chain.did
    if (head !== undefined) this.#serial = now
  }

  get chain(): ChainState {
    return this.#chain
  }

  /** The keys that sign now. */
  get signer(): HybridSigner {
    return this.#signer
  }

  /** The keys after them. */
  get promised(): KeySet {
    return keysOfSigner(this.#promised)
  }

  /** Reveals the promised keys and promises the next ones; machines certified before keep their papers until they are renewed. */
  rotate(now: number, reason: 'scheduled' | 'lost' | 'compromised' = 'scheduled'): ChainEntry {
    const { policy } = this.#chain.entries.at(-1) as ChainEntry
    const next = this.#keys(this.#generation + 2)
    const entry = createRotation({
      chain: this.#chain,
      signer: this.#promised,
      next: keysOfSigner(next),
      now,
      reason,
      ...(reason === 'scheduled' ? { previous: this.#signer } : {}),
      ...(policy === undefined ? {} : { policy }),
    })
    this.#chain = adoptChain(this.#chain, [entry], { now }).state
    closeKeySet(this.#signer)
    this.#signer = this.#promised
    this.#promised = next
    this.#generation++
    return entry
  }

  #keys(generation: number): HybridSigner {
    return keysOf('identity', `${this.#seed} keys ${generation}`, this.options)
  }

  certify(linkKeys: HybridSigner, root: Secret, name: string, now: number): { readonly binding: Uint8Array; readonly expires: number } {
    const dates = bindingDates(now)
    const fallbackKem = fallbackKemOf(root, linkKeys.ed25519.publicKey)
    const binding = createBinding({ chain: this.chain, signer: this.#signer }, linkKeys, { ...dates, serial: ++this.#serial, name, fallbackKem })
    return { binding, expires: dates.notAfter }
  }

  /** Signs as the identity: device documents, grants. */
  get issuer(): BindingIssuer {
    return { chain: this.chain, signer: this.#signer }
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

  /** Another thirty days, by the keys that the identity has now. */
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

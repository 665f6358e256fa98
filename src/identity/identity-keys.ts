import type { Signature } from '../core/bytes.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { Did } from './did.ts'
import { cloneSeeds, closeKeySet, isTokenKey, openKeySet, publicKeysOf, type TokenOpener, wipeSeeds } from './keys.ts'
import type { IdentityContent } from './keystore-codec.ts'
import type { ChainState, KeySet } from './types.ts'

/** The opened identity. Opened to sign a binding or a chain entry or to show the phrase, then closed at once. */
export class IdentityKeys implements Disposable {
  readonly did: Did
  /** The chain as this machine knows it. */
  readonly chain: ChainState
  readonly createdMs: number
  /** Whether this machine may change the chain. */
  readonly mayRotate: boolean
  /** The generation after: what the head of the chain commits to. */
  readonly nextKeys: KeySet
  #content: IdentityContent | undefined
  #signer: HybridSigner | undefined
  readonly #tokens: TokenOpener | undefined

  /** Takes ownership of the secrets in `content`. A key in a token is opened through `tokens` when something is signed. */
  constructor(content: IdentityContent, tokens?: TokenOpener) {
    this.did = content.chain.did
    this.chain = content.chain
    this.createdMs = content.createdMs
    this.mayRotate = content.mayRotate
    this.nextKeys = publicKeysOf(content.next)
    this.#content = content
    this.#tokens = tokens
  }

  /** Whether the Ed25519 key of the current generation lives in a token. */
  get hardware(): boolean {
    return isTokenKey(this.content.seeds.ed25519)
  }

  /** The secrets, still owned by this object. @throws KithError `SECRET_WIPED` after `close`. */
  get content(): IdentityContent {
    if (this.#content === undefined) throw new KithError('SECRET_WIPED')
    return this.#content
  }

  /** Signers of the current generation, made when first asked for: the post-quantum one holds its key in memory that cannot be wiped. @throws KithError `TOKEN_*`. */
  get signer(): HybridSigner {
    this.#signer ??= openKeySet('identity', cloneSeeds(this.content.seeds), this.#tokens)
    return this.#signer
  }

  /** Ed25519 by the current generation. @throws KithError `SIGNER_REFUSED` for bytes of another role, `SECRET_WIPED`. */
  sign(message: Uint8Array): Signature {
    return this.signer.ed25519.sign(message)
  }

  /** The recovery phrase, when this identity came from one. The caller wipes it. */
  phrase(): Secret | undefined {
    return this.content.phrase?.clone()
  }

  /** Wipes the keys. Idempotent. */
  close(): void {
    const content = this.#content
    if (content === undefined) return
    this.#content = undefined
    if (this.#signer !== undefined) closeKeySet(this.#signer)
    this.#signer = undefined
    wipeSeeds(content.seeds)
    wipeSeeds(content.next)
    content.phrase?.wipe()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

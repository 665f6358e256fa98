import type { PublicKey, Signature } from './bytes.ts'

/**
 * What a key may be used for. The first byte of a message tells the protocol (protocol.md, PN-1); each role has a closed list of prefixes
 * and a signer refuses every other message, so one key never signs in two protocols.
 */
export type KeyRole = 'identity' | 'link'

/**
 * Signs for one role with a key it never shows. Software keys live in guarded memory; hardware keys implement the same interface.
 */
export interface Signer {
  readonly role: KeyRole
  readonly publicKey: PublicKey
  /**
   * Ed25519 over `message`.
   * @throws KithError `SIGNER_REFUSED` when the message's prefix does not belong to this role; `SECRET_WIPED` after `close`.
   */
  sign(message: Uint8Array): Signature
  /** Wipes the key. Idempotent. */
  close(): void
}

/** ML-DSA-65 beside an Ed25519 signer: the post-quantum half of a hybrid signature. Same prefixes, same role. */
export interface PostQuantumSigner {
  readonly role: KeyRole
  /** 1,952 bytes. */
  readonly publicKey: Uint8Array
  /** A 3,309-byte signature, randomised: never hash it into an identifier. */
  sign(message: Uint8Array): Uint8Array
  close(): void
}

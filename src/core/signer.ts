import type { PublicKey, Signature } from './bytes.ts'

/**
 * What a key may be used for. The first byte of a message tells the protocol (protocol.md, PN-1); each role has a closed list of prefixes
 * and a signer refuses every other message, so one key never signs in two protocols. `service` is a key of its own for one foreign protocol (SSH, API
 * tokens) whose messages may begin with anything: it is kept apart by its path in the vault.
 */
export type KeyRole = 'identity' | 'link' | 'service'

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
  /** What the place of the key says of it; `attestationOf` also answers for a signer without. @throws KithError as `sign`. */
  attest?(): KeyAttestation
  /** Wipes the key. Idempotent. */
  close(): void
}

/** What is said of a private key by the place that holds it: a claim of that place, no proof of a third party. */
export interface KeyAttestation {
  /** `memory`: guarded memory of this process. */
  readonly place: 'memory' | 'token'
  /** A device signs, says its module; software that speaks the same interface says no. */
  readonly hardware: boolean
  /** The key is not given out in the clear, and never was. */
  readonly sensitive: boolean
  /** The key cannot leave its place, wrapped or not, and never could. */
  readonly nonExtractable: boolean
  /** The key was made where it is. */
  readonly madeThere: boolean
  readonly token?: { readonly label: string; readonly manufacturer: string; readonly model: string; readonly serial: string }
}

const IN_MEMORY: KeyAttestation = { place: 'memory', hardware: false, sensitive: false, nonExtractable: false, madeThere: false }

export function attestationOf(signer: Signer): KeyAttestation {
  return signer.attest?.() ?? IN_MEMORY
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

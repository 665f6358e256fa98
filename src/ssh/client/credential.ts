import type { Signer } from '../../core/signer.ts'

/** What a client shows (RFC 4252, section 7): the key by itself, or its certificate. */
export interface Credential {
  /** Role `service`; stays the caller's. */
  readonly signer: Signer
  readonly certificate?: Uint8Array
}

import type { KeyAttestation } from '../../../core/signer.ts'
import type { TokenNote } from '../../../identity/hardware/notes.ts'
import type { IdentitySummary } from '../../identity/describe.ts'
import type { RotationReason } from '../../identity/rotate.ts'
import type { Json, Nothing, WithSecret } from '../route.ts'

export interface HardwareView {
  /** The present key and the next one, as far as they are in tokens. */
  readonly keys: readonly (TokenNote & { readonly current: boolean })[]
  /** Whether the node has a PIN that the token has not refused. */
  readonly pin: boolean
}

export interface HardwareApi {
  'GET /v1/identity/hardware': Json<Nothing, HardwareView>
  /** The PIN of the token, kept in guarded memory until it is taken back. An empty body takes it back. */
  'POST /v1/identity/hardware/pin': WithSecret<Nothing, { readonly pin: boolean }>
  /** Opens the token, and tells what it says of the present key. The secret is the passphrase. */
  'POST /v1/identity/hardware/attest': WithSecret<Nothing, KeyAttestation>
  /** Reveals the next keys and commits to a key in a token, made there when there is none. The secret is the passphrase. */
  'POST /v1/identity/hardware/commit': WithSecret<
    { readonly pkcs11: string; readonly module?: string; readonly reason: RotationReason },
    IdentitySummary & { readonly uri: string; readonly made: boolean }
  >
}

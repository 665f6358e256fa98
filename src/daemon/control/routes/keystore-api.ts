import type { RotationAct, RotationRight } from '../../identity/rotation-right.ts'
import type { Nothing, WithSecret } from '../route.ts'

export interface KeystoreApi {
  /** Gives the identity its post-quantum key, when it has none. */
  'POST /v1/identity/upgrade-pq': WithSecret<Nothing, RotationRight & { readonly rotations: number }>
  /** Whether this machine changes the identity's keys. `take` asks the peers that are linked, and machines of this identity at the addresses in `from`, separated by commas. */
  'POST /v1/identity/rotation': WithSecret<{ readonly act: RotationAct; readonly from?: string }, RotationRight>
}

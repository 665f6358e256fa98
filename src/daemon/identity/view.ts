import { decodeBinding } from '../../identity/binding.ts'
import { didDocument } from '../../identity/document.ts'
import type { Binding } from '../../identity/types.ts'
import type { IdentityView } from '../control/routes/identity-api.ts'
import type { PassphraseMode } from '../status.ts'
import { type DescribedDevice, describeChain, describeDevice } from './describe.ts'

/** Everything public about an identity, this machine and the `others` of it. */
export function viewDevice(device: DescribedDevice, mode: PassphraseMode, others: readonly Pick<Binding, 'linkKey' | 'deviceMldsa'>[] = []): IdentityView {
  return {
    summary: describeDevice(device, mode),
    document: didDocument({
      did: device.did,
      chain: { index: device.chain.index, keys: device.chain.keys },
      bindings: [decodeBinding(device.binding), ...others],
    }),
    entries: describeChain(device.chain),
  }
}

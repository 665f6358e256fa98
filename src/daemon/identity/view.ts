import { decodeBinding } from '../../identity/binding.ts'
import { didDocument } from '../../identity/document.ts'
import type { IdentityView } from '../control/routes/identity-api.ts'
import type { PassphraseMode } from '../status.ts'
import { type DescribedDevice, describeChain, describeDevice } from './describe.ts'

/** Everything public about an identity and this machine of it. */
export function viewDevice(device: DescribedDevice, mode: PassphraseMode): IdentityView {
  return {
    summary: describeDevice(device, mode),
    document: didDocument({ did: device.did, chain: { index: device.chain.index, keys: device.chain.keys }, bindings: [decodeBinding(device.binding)] }),
    entries: describeChain(device.chain),
  }
}

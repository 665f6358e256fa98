import type { PublicKey } from '../../src/core/bytes.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { BindingIssuer } from '../../src/identity/binding.ts'
import { createDeviceDocument, type DeviceDocument, type DeviceStatus, decodeDeviceDocument, type ListedDevice } from '../../src/identity/device-document.ts'
import { createDeviceRequest } from '../../src/identity/device-request.ts'
import { deviceOf, type Person, signerOf, T0 } from './make.ts'

export const issuerOf = (who: Person): BindingIssuer => ({ chain: who.chain, signer: signerOf(`${who.name} ${who.generation}`, who.mldsa) })
export const linkOf = (name: string): PublicKey => deviceOf(name, false).ed25519.publicKey

export function listed(name: string, status: DeviceStatus = 'active', sinceMs: number = T0): ListedDevice {
  return { linkKey: linkOf(name), name, capabilities: 0n, status, sinceMs }
}

export function documentBytes(who: Person, version: number, devices: readonly ListedDevice[], now: number = T0): Uint8Array {
  return createDeviceDocument(issuerOf(who), { version, now, devices })
}

export function documentOf(who: Person, version: number, devices: readonly ListedDevice[], now: number = T0): DeviceDocument {
  return decodeDeviceDocument(documentBytes(who, version, devices, now))
}

export function requestOf(name: string, options: { mldsa?: boolean; now?: number } = {}): Uint8Array {
  const { mldsa = false, now = T0 } = options
  return createDeviceRequest(deviceOf(name, mldsa), { name, now, random: seededRandom(`request ${name}`) })
}

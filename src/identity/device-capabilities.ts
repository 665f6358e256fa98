/**
 * # What a machine may do for its identity
 *
 * ```text
 * u64 capabilities of the binding (PN-4):  0 = everything        bit 0 link   bit 1 records
 * ```
 *
 * The identity signs them into the machine's binding, so every verifier knows them and the machine cannot add any. Bits without a name say nothing. Zero is what
 * bindings had before there were capabilities: such a machine may do everything.
 *
 * - `link`: peers accept links with it.
 * - `records`: what it signs on topics counts. What proves itself (`identity:` topics) counts in any case: links need it.
 */
export const DEVICE_CAPABILITIES = ['link', 'records'] as const
export type DeviceCapability = (typeof DEVICE_CAPABILITIES)[number]

/** @throws TypeError for none: a machine that may do nothing is not approved. */
export function capabilityBits(names: readonly DeviceCapability[]): bigint {
  if (names.length === 0) throw new TypeError('a machine may do something')
  return names.reduce((bits, name) => bits | (1n << BigInt(DEVICE_CAPABILITIES.indexOf(name))), 0n)
}

export function capabilityNames(bits: bigint): readonly DeviceCapability[] {
  return DEVICE_CAPABILITIES.filter((name) => mayDo(bits, name))
}

export function mayDo(bits: bigint, name: DeviceCapability): boolean {
  return bits === 0n || (bits & (1n << BigInt(DEVICE_CAPABILITIES.indexOf(name)))) !== 0n
}

export function isDeviceCapability(text: string): text is DeviceCapability {
  return (DEVICE_CAPABILITIES as readonly string[]).includes(text)
}

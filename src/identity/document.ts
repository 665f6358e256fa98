import { base58Encode } from '../core/base58.ts'
import { concat } from '../core/bytes.ts'
import { type Did, didPublicKey, formatDidKey } from './did.ts'
import type { Binding, KeySet } from './types.ts'

/** Multicodec tags as varints: `ed25519-pub` (0xed) and `mldsa-65-pub` (0x1211). */
const ED25519_PUB = Uint8Array.of(0xed, 0x01)
const MLDSA65_PUB = Uint8Array.of(0x91, 0x24)

/** A verification method of type Multikey (W3C Controlled Identifiers, section 2.2.2). */
export interface VerificationMethod {
  readonly id: string
  readonly type: 'Multikey'
  readonly controller: Did
  readonly publicKeyMultibase: string
}

/** The core shape of W3C DID Core 1.0, for software that reads such documents. Nothing here is decided by it: chain and bindings are. */
export interface DidDocument {
  readonly '@context': readonly string[]
  readonly id: Did
  readonly alsoKnownAs: readonly string[]
  readonly verificationMethod: readonly VerificationMethod[]
  /** Machines the identity certified: they speak on links. */
  readonly authentication: readonly string[]
  /** The identity's own keys. */
  readonly assertionMethod: readonly string[]
  readonly capabilityDelegation: readonly string[]
}

export interface DocumentSource {
  readonly did: Did
  /** The verified chain: its current keys are shown. Absent: the key the DID began with. */
  readonly chain?: { readonly index: number; readonly keys: KeySet }
  /** Machines the identity certified or lists: verified bindings and device documents. */
  readonly bindings?: readonly Pick<Binding, 'linkKey' | 'deviceMldsa'>[]
}

export function didDocument(identity: DocumentSource): DidDocument {
  const { did } = identity
  const index = identity.chain?.index ?? 0
  const keys = identity.chain?.keys ?? { ed25519: didPublicKey(did), mldsa: undefined }
  const own = methods(did, `key-${index}`, keys)
  const devices = (identity.bindings ?? []).flatMap((binding) =>
    methods(did, `device-${base58Encode(binding.linkKey.subarray(0, 8))}`, { ed25519: binding.linkKey, mldsa: binding.deviceMldsa }),
  )
  const ids = (list: readonly VerificationMethod[]): string[] => list.map((method) => method.id)
  return {
    '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1'],
    id: did,
    alsoKnownAs: [formatDidKey(did)],
    verificationMethod: [...own, ...devices],
    authentication: ids(devices.length > 0 ? devices : own),
    assertionMethod: ids(own),
    capabilityDelegation: ids(own),
  }
}

/** base58btc for the short key, base64url for the long one (both are Multikey's own bases; base58 of 2 KB takes quadratic time). */
function methods(did: Did, name: string, keys: KeySet): VerificationMethod[] {
  const method = (suffix: string, publicKeyMultibase: string): VerificationMethod => ({
    id: `${did}#${name}${suffix}`,
    type: 'Multikey',
    controller: did,
    publicKeyMultibase,
  })
  const result = [method('', `z${base58Encode(concat(ED25519_PUB, keys.ed25519))}`)]
  if (keys.mldsa !== undefined) result.push(method('-mldsa', `u${Buffer.from(concat(MLDSA65_PUB, keys.mldsa)).toString('base64url')}`))
  return result
}

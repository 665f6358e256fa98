import { compare, concat, equal, type PublicKey } from '../core/bytes.ts'
import { bytesN, type Codec, constant, encode, list, malformed, mapped, Reader, struct, text, u8, u32, u64, uint53 } from '../core/codec.ts'
import { signHybrid, verifyHybrid } from '../core/crypto/hybrid.ts'
import { hashLabeled, labeled } from '../core/crypto/labels.ts'
import { KithError } from '../core/errors.ts'
import { type BindingIssuer, isName, MAX_NAME_BYTES } from './binding.ts'
import { MAX_FUTURE_MS } from './chain-rules.ts'
import type { Did } from './did.ts'
import { didCodec, keySetSignatureCodec, publicKeyCodec } from './keys.ts'
import type { ChainState, KeySetSignature } from './types.ts'

/**
 * # Device document: which machines an identity has, and which it has no more
 *
 * ```text
 * body     = u8 1 || bytes32 did_key || u32 chain_index || bytes32 chain_head || u64 version || u64 time_ms || list<device>(<= 256)
 * device   = bytes32 link_key || text name(<= 64) || u64 capabilities || u8 status || u64 since_ms
 * status   = 0 active, otherwise revoked: 1 removed  2 lost  3 compromised
 * document = body || sig_identity64 || option<3309>                               over L("icn/device-doc/v1") || body
 * ```
 *
 * Devices stand in the order of their link keys, each once; at most 32 are active. The keys of chain entry `chain_index` sign. A document names machines, it does
 * not certify them: that is the binding's work (PN-4), and a machine that no document names is not refused for it. What a document does is take away: whoever has
 * verified one in which a link key is revoked refuses that key for good, whatever another document says, older or newer (`device-roster.ts`).
 */
const LABEL = 'icn/device-doc/v1'
export const MAX_DEVICES = 256
export const MAX_ACTIVE_DEVICES = 32

export const REVOCATION_REASONS = ['removed', 'lost', 'compromised'] as const
export type RevocationReason = (typeof REVOCATION_REASONS)[number]
export type DeviceStatus = 'active' | RevocationReason

export interface ListedDevice {
  readonly linkKey: PublicKey
  readonly name: string
  /** As in the binding (`device-capabilities.ts`). */
  readonly capabilities: bigint
  /** `active`, or why it was revoked. */
  readonly status: DeviceStatus
  /** When it was added, or revoked, ms since the epoch, by the clock of the machine that signed. */
  readonly sinceMs: number
}

/** A document, decoded; only `verifyDeviceDocument` says whether it is valid. */
export interface DeviceDocument {
  readonly did: Did
  readonly chainIndex: number
  readonly chainHead: Uint8Array
  /** Rises with each document of the same chain entry. */
  readonly version: number
  readonly timeMs: number
  readonly devices: readonly ListedDevice[]
  readonly signature: KeySetSignature
  /** The signed bytes, and the hash of them that names the document (signatures are randomised). */
  readonly body: Uint8Array
  readonly hash: Uint8Array
}

type Body = Omit<DeviceDocument, 'signature' | 'body' | 'hash'> & { readonly _version: undefined }

const STATUSES: readonly DeviceStatus[] = ['active', ...REVOCATION_REASONS]

export const deviceStatusCodec: Codec<DeviceStatus> = mapped(
  u8,
  (value) => {
    const status = STATUSES[value]
    if (status === undefined) throw malformed('status of a device')
    return status
  },
  (status) => STATUSES.indexOf(status),
)

export const deviceNameCodec: Codec<string> = mapped(
  text(MAX_NAME_BYTES),
  (name) => {
    if (!isName(name)) throw malformed('name')
    return name
  },
  (name) => {
    if (!isName(name)) throw new TypeError('a name has no control characters and no space at its ends')
    return name
  },
)

const deviceCodec: Codec<ListedDevice> = struct<ListedDevice>({
  linkKey: publicKeyCodec,
  name: deviceNameCodec,
  capabilities: u64,
  status: deviceStatusCodec,
  sinceMs: uint53,
})

const bodyCodec: Codec<Body> = struct<Body>({
  _version: constant(1),
  did: didCodec,
  chainIndex: u32,
  chainHead: bytesN(32),
  version: uint53,
  timeMs: uint53,
  devices: mapped(list(deviceCodec, MAX_DEVICES), ordered, ordered),
})

export const MAX_DOCUMENT_BYTES: number = bodyCodec.max + keySetSignatureCodec.max

/** One order, each key once, so that a set of devices has one encoding. */
function ordered(devices: readonly ListedDevice[]): readonly ListedDevice[] {
  let active = 0
  for (const [at, { linkKey, status }] of devices.entries()) {
    const before = devices[at - 1]
    if (before !== undefined && compare(before.linkKey, linkKey) >= 0) throw malformed('devices out of order, or one twice')
    if (status === 'active' && ++active > MAX_ACTIVE_DEVICES) throw malformed('too many active devices', { limit: MAX_ACTIVE_DEVICES })
  }
  return devices
}

export interface DeviceDocumentOptions {
  readonly version: number
  /** Wall clock, ms since the epoch. */
  readonly now: number
  /** In any order. */
  readonly devices: readonly ListedDevice[]
}

/**
 * Signs a document with the keys of the chain's head.
 * @throws TypeError when the signers are not those keys. KithError `DEVICE_DOCUMENT_INVALID` for more devices than fit.
 */
export function createDeviceDocument({ chain, signer }: BindingIssuer, options: DeviceDocumentOptions): Uint8Array {
  if (!equal(signer.ed25519.publicKey, chain.keys.ed25519)) throw new TypeError('the signers are not the current keys of the chain')
  const devices = [...options.devices].sort((a, b) => compare(a.linkKey, b.linkKey))
  if (devices.length > MAX_DEVICES) throw invalid(`it would list more than ${MAX_DEVICES} devices`)
  if (devices.filter(({ status }) => status === 'active').length > MAX_ACTIVE_DEVICES) throw invalid(`more than ${MAX_ACTIVE_DEVICES} devices would be active`)
  const { did, index: chainIndex, head: chainHead } = chain
  const body = encode(bodyCodec, { _version: undefined, did, chainIndex, chainHead, version: options.version, timeMs: options.now, devices })
  return concat(body, encode(keySetSignatureCodec, signHybrid(signer, labeled(LABEL, body))))
}

/** The fields of a document, unverified. @throws KithError `DEVICE_DOCUMENT_INVALID` for anything but one canonical encoding. */
export function decodeDeviceDocument(encoded: Uint8Array): DeviceDocument {
  if (encoded.length > MAX_DOCUMENT_BYTES) throw invalid('it is too long')
  try {
    const reader = new Reader(encoded)
    const { _version, ...fields } = bodyCodec.read(reader)
    const body = Uint8Array.from(encoded.subarray(0, reader.at))
    const signature = keySetSignatureCodec.read(reader)
    if (reader.left !== 0) throw malformed('bytes left over', { left: reader.left })
    return { ...fields, signature, body, hash: hashLabeled('icn/device-doc-id/v1', body) }
  } catch (error) {
    if (error instanceof KithError) throw invalid('it is malformed', error)
    throw error
  }
}

export function encodeDeviceDocument({ body, signature }: DeviceDocument): Uint8Array {
  return concat(body, encode(keySetSignatureCodec, signature))
}

/**
 * Every rule for a document by itself. Keys that were replaced still speak for their time, so that a verifier who learns of the rotation first takes what was
 * revoked before it; keys that were compromised, or taken over by a recovery, do not.
 * @throws KithError `DEVICE_DOCUMENT_INVALID` (details.reason); `CHAIN_STALE` (details.needIndex) when more of the chain must be known first.
 */
export function verifyDeviceDocument(encoded: Uint8Array, { chain, now }: { readonly chain: ChainState; readonly now: number }): DeviceDocument {
  const document = decodeDeviceDocument(encoded)
  if (document.did !== chain.did) throw invalid('it is of another identity')
  const entry = chain.entries[document.chainIndex]
  if (entry === undefined) {
    throw new KithError('CHAIN_STALE', 'more of the chain is needed for a device document', {
      details: { did: chain.did, haveIndex: chain.index, needIndex: document.chainIndex },
    })
  }
  if (!equal(entry.hash, document.chainHead)) throw invalid('it was made on another chain')
  if (chain.closed) throw invalid('the identity was closed')
  const later = chain.entries.slice(document.chainIndex + 1)
  if (later.some(({ reason, kind }) => reason === 'compromised' || kind === 'recover')) throw invalid('the keys that signed it were compromised or recovered')
  if (document.timeMs > now + MAX_FUTURE_MS) throw invalid('it is dated more than 24 h ahead')
  if (document.devices.some(({ linkKey }) => chain.reveals(linkKey))) throw invalid('it lists an identity key as a device')
  if (!verifyHybrid(entry.keys, labeled(LABEL, document.body), document.signature)) throw invalid('the identity did not sign it')
  return document
}

function invalid(reason: string, cause?: unknown): KithError {
  return new KithError('DEVICE_DOCUMENT_INVALID', `the device document does not verify: ${reason}`, { details: { reason }, cause })
}

import { equal } from '../core/bytes.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, list, option, struct, text } from '../core/codec.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { type BindingIssuer, bindingDates, type Certificate, certificateCodec, certifyMachine, completeBinding, verifyBinding } from './binding.ts'
import { adoptChain } from './chain.ts'
import { decodeChain, encodeChain, MAX_CHAIN_BYTES } from './chain-codec.ts'
import { type DeviceDocument, MAX_DOCUMENT_BYTES, verifyDeviceDocument } from './device-document.ts'
import type { DeviceRequest } from './device-request.ts'
import type { Binding, ChainState } from './types.ts'

/**
 * # Device grant: the identity's answer to a machine's request
 *
 * ```text
 * grant       = u8 1 || bytes32 request_id || certificate || bytes chain (PN-6) || option<bytes document>
 *            || bytes32 from link key || list<text url>(<= 8)
 * certificate = bytes binding body (PN-4) || sig_identity64 || option<3309>          over L("icn/binding/v1") || body
 * ```
 *
 * Nothing in it is secret, and everything that counts in it proves itself: the certificate is half of a binding, worthless without the machine's own keys, which sign
 * the other half when they take it. A grant that was shown to others, or exchanged, gives nobody anything. The addresses only suggest where to dial.
 */
export interface DeviceGrant {
  /** `DeviceRequest.id` of what was asked. */
  readonly requestId: Uint8Array
  readonly certificate: Certificate
  readonly chain: Uint8Array
  readonly document: Uint8Array | undefined
  /** Link key of the machine that granted, and where it listens. */
  readonly from: Uint8Array
  readonly urls: readonly string[]
}

const MAX_URLS = 8
const MAX_URL_BYTES = 256

const grantCodec: Codec<DeviceGrant & { readonly _version: undefined }> = struct<DeviceGrant & { readonly _version: undefined }>({
  _version: constant(1),
  requestId: bytesN(32),
  certificate: certificateCodec,
  chain: bytes(MAX_CHAIN_BYTES),
  document: option(bytes(MAX_DOCUMENT_BYTES)),
  from: bytesN(32),
  urls: list(text(MAX_URL_BYTES), MAX_URLS),
})

export const MAX_GRANT_BYTES: number = grantCodec.max

export interface GrantOptions {
  readonly capabilities: bigint
  readonly name: string
  readonly now: number
  /** Above the last one of this machine; serials follow the clock. */
  readonly serial: number
  readonly lifeMs?: number
  readonly document?: Uint8Array
  readonly from: Uint8Array
  readonly urls: readonly string[]
}

/** Signs what the request asked for, as far as `options` allow it. @throws as `certifyMachine`. */
export function createGrant(issuer: BindingIssuer, request: DeviceRequest, options: GrantOptions): Uint8Array {
  const { capabilities, name, serial, now, lifeMs } = options
  const { fallbackKem } = request
  const certificate = certifyMachine(
    issuer,
    { ed25519: request.linkKey, mldsa: request.deviceMldsa },
    { ...bindingDates(now, lifeMs), serial, name, capabilities, ...(fallbackKem === undefined ? {} : { fallbackKem }) },
  )
  return encode(grantCodec, {
    _version: undefined,
    requestId: request.id,
    certificate,
    chain: encodeChain(issuer.chain.entries),
    document: options.document,
    from: options.from,
    urls: options.urls.filter((url) => Buffer.byteLength(url) <= MAX_URL_BYTES).slice(0, MAX_URLS),
  })
}

/** The fields of a grant, unverified. @throws KithError `DEVICE_GRANT_INVALID`. */
export function decodeGrant(encoded: Uint8Array): DeviceGrant {
  try {
    const { _version, ...grant } = decode(grantCodec, encoded)
    return grant
  } catch (error) {
    if (isKithError(error)) throw invalid('it is malformed', error)
    throw error
  }
}

/** What a machine has once it took a grant. */
export interface TakenGrant {
  readonly binding: Uint8Array
  readonly decoded: Binding
  readonly chain: ChainState
  readonly document: DeviceDocument | undefined
  readonly from: Uint8Array
  readonly urls: readonly string[]
}

export interface TakeOptions {
  /** What this machine asked. */
  readonly request: DeviceRequest
  readonly machine: HybridSigner
  /** For a renewal: the chain known here, which the grant's extends or equals. */
  readonly chain?: ChainState
  readonly minSerial?: number
  readonly now: number
}

/**
 * Verifies a grant and adds the machine's half of the binding.
 * @throws KithError `DEVICE_GRANT_INVALID`, `CHAIN_*`, `BINDING_*`, `DEVICE_DOCUMENT_INVALID`, `DEVICE_REVOKED` when its own document revokes this machine.
 */
export function takeGrant(encoded: Uint8Array, options: TakeOptions): TakenGrant {
  const { request, machine, now } = options
  const grant = decodeGrant(encoded)
  if (!equal(grant.requestId, request.id)) throw invalid('it answers another request')
  const { state: chain } = adoptChain(options.chain, decodeChain(grant.chain), { now })
  if (request.did !== undefined && request.did !== chain.did) throw invalid('it is of another identity')
  const binding = completeBinding(grant.certificate, machine)
  const decoded = verifyBinding(binding, { chain, now, minSerial: options.minSerial ?? 0 })
  if (!equal(decoded.linkKey, request.linkKey)) throw invalid('it certifies another machine')
  const document = grant.document === undefined ? undefined : verifyDeviceDocument(grant.document, { chain, now })
  const listed = document?.devices.find(({ linkKey }) => equal(linkKey, request.linkKey))
  if (listed !== undefined && listed.status !== 'active') throw new KithError('DEVICE_REVOKED')
  return { binding, decoded, chain, document, from: grant.from, urls: grant.urls }
}

function invalid(reason: string, cause?: unknown): KithError {
  return new KithError('DEVICE_GRANT_INVALID', `the grant is not valid: ${reason}`, {
    details: { reason },
    next: 'kith id device approve (again on the machine with the identity)',
    cause,
  })
}

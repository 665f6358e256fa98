import { concat, equal, type PublicKey } from '../core/bytes.ts'
import { bytes, bytesN, type Codec, constant, encode, malformed, mapped, option, Reader, struct, text, u32, u64, uint53 } from '../core/codec.ts'
import { verify } from '../core/crypto/ed25519.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { type HybridSigner, signHybrid, verifyHybrid } from '../core/crypto/hybrid.ts'
import { labeled } from '../core/crypto/labels.ts'
import { MLDSA_PUBLIC_KEY_BYTES, MLDSA_SIGNATURE_BYTES, verifyMldsa } from '../core/crypto/mldsa.ts'
import { KithError } from '../core/errors.ts'
import { didCodec, keySetSignatureCodec, publicKeyCodec, signatureCodec } from './keys.ts'
import type { Binding, ChainState, KeySetSignature } from './types.ts'

/**
 * # Binding: an identity certifies one machine (PN-4)
 *
 * ```text
 * body   = u8 1 || bytes32 did_key || u32 chain_index || bytes32 chain_head || u64 serial || u64 not_before_ms || u64 not_after_ms
 *       || bytes32 link_key || option<bytes1952> device_mldsa || option<bytes1216> fallback_kem || u64 capabilities || bytes name(<= 64)
 * proofs = sig_identity64 || option<3309> || sig_link64 || option<3309>                       all over L("icn/binding/v1") || body
 * ```
 *
 * The identity signs with the keys of chain entry `chain_index`; the machine's own keys sign too, so nobody can certify a key that is not theirs.
 */
const LABEL = 'icn/binding/v1'
const XWING_PUBLIC_KEY_BYTES = 1216
export const MAX_BINDING_BYTES: number = 16 * 1024
export const MAX_NAME_BYTES = 64

const HOUR_MS = 3_600_000
const DAY_MS: number = 24 * HOUR_MS
/** Clocks of others may be this far behind. */
const CLOCK_SLACK_MS = 600_000
/** What older keys certified runs out this long after a change that was no compromise. */
const SUPERSEDED_MS: number = 30 * DAY_MS
export const DEFAULT_BINDING_LIFE_MS: number = 30 * DAY_MS
/** An identity in hardware is not at hand every month. */
export const HARDWARE_BINDING_LIFE_MS: number = 400 * DAY_MS

type Body = Omit<Binding, 'identitySignature' | 'linkSignature' | 'deviceMldsaSignature' | 'body' | 'hash'>
type Proofs = Pick<Binding, 'identitySignature' | 'linkSignature' | 'deviceMldsaSignature'>

const bodyCodec: Codec<Body & { _version: undefined }> = struct<Body & { _version: undefined }>({
  _version: constant(1),
  did: didCodec,
  chainIndex: u32,
  chainHead: bytesN(32),
  serial: uint53,
  notBeforeMs: uint53,
  notAfterMs: uint53,
  linkKey: publicKeyCodec,
  deviceMldsa: option(bytesN(MLDSA_PUBLIC_KEY_BYTES)),
  fallbackKem: option(bytesN(XWING_PUBLIC_KEY_BYTES)),
  capabilities: u64,
  name: mapped(text(MAX_NAME_BYTES), readName, (name) => name),
})

const proofsCodec: Codec<Proofs> = struct<Proofs>({
  identitySignature: keySetSignatureCodec,
  linkSignature: signatureCodec,
  deviceMldsaSignature: option(bytesN(MLDSA_SIGNATURE_BYTES)),
})

/** Who certifies: the identity's chain and the signers of its head. */
export interface BindingIssuer {
  readonly chain: ChainState
  readonly signer: HybridSigner
}

export interface BindingOptions {
  /** Ms since the epoch. */
  readonly notBefore: number
  readonly notAfter: number
  /** At least the last one for this link key. */
  readonly serial: number
  readonly name: string
  readonly capabilities?: bigint
  /** X-Wing public key. */
  readonly fallbackKem?: Uint8Array
}

/** Valid from an hour ago, so that clocks behind ours accept it at once, for `lifeMs`. */
export function bindingDates(now: number, lifeMs: number = DEFAULT_BINDING_LIFE_MS): { notBefore: number; notAfter: number } {
  return { notBefore: now - HOUR_MS, notAfter: now + lifeMs }
}

/** The public half of a machine. */
export interface MachineKeys {
  readonly ed25519: PublicKey
  readonly mldsa: Uint8Array | undefined
}

/** Half a binding: the identity has signed for a machine that is somewhere else. Nobody accepts it before the machine's own keys have signed too. */
export interface Certificate {
  readonly body: Uint8Array
  readonly signature: KeySetSignature
}

export const certificateCodec: Codec<Certificate> = struct<Certificate>({ body: bytes(bodyCodec.max), signature: keySetSignatureCodec })

/**
 * The identity's half of a binding.
 * @throws TypeError when the issuer's signers are not the chain's head keys or a field does not fit; KithError `SIGNER_REFUSED`, `SECRET_WIPED`.
 */
export function certifyMachine({ chain, signer }: BindingIssuer, machine: MachineKeys, options: BindingOptions): Certificate {
  if (!equal(signer.ed25519.publicKey, chain.keys.ed25519)) throw new TypeError('the signers are not the current keys of the chain')
  if (chain.reveals(machine.ed25519)) throw new TypeError('a link key is never an identity key')
  if (options.notAfter <= options.notBefore) throw new TypeError('a binding ends after it begins')
  const body = encode(bodyCodec, {
    _version: undefined,
    did: chain.did,
    chainIndex: chain.index,
    chainHead: chain.head,
    serial: options.serial,
    notBeforeMs: options.notBefore,
    notAfterMs: options.notAfter,
    linkKey: machine.ed25519,
    deviceMldsa: machine.mldsa,
    fallbackKem: options.fallbackKem,
    capabilities: options.capabilities ?? 0n,
    name: options.name,
  })
  if (!isName(options.name)) throw new TypeError('a name has no control characters and no space at its ends')
  return { body, signature: signHybrid(signer, labeled(LABEL, body)) }
}

/** The machine's half: the whole binding, encoded. Whether it is valid is decided by `verifyBinding`. @throws KithError `SIGNER_REFUSED`, `SECRET_WIPED`. */
export function completeBinding(certificate: Certificate, machine: HybridSigner): Uint8Array {
  const { body, signature } = certificate
  const byDevice = signHybrid(machine, labeled(LABEL, body))
  return concat(body, encode(proofsCodec, { identitySignature: signature, linkSignature: byDevice.ed25519, deviceMldsaSignature: byDevice.mldsa }))
}

/** The encoded binding for a machine, signed by both sides. @throws as `certifyMachine`. */
export function createBinding(issuer: BindingIssuer, linkKeys: HybridSigner, options: BindingOptions): Uint8Array {
  return completeBinding(certifyMachine(issuer, { ed25519: linkKeys.ed25519.publicKey, mldsa: linkKeys.mldsa?.publicKey }, options), linkKeys)
}

/** The fields of a binding, unverified. @throws KithError `BINDING_INVALID` for anything but one canonical encoding of at most 16 KiB. */
export function decodeBinding(encoded: Uint8Array): Binding {
  if (encoded.length > MAX_BINDING_BYTES) throw invalid('it is longer than 16 KiB')
  try {
    const reader = new Reader(encoded)
    const { _version, ...body } = bodyCodec.read(reader)
    const bodyBytes = encoded.slice(0, reader.at)
    const proofs = proofsCodec.read(reader)
    if (reader.left !== 0) throw malformed('bytes left over', { left: reader.left })
    return { ...body, ...proofs, body: bodyBytes, hash: sha256(encoded) }
  } catch (error) {
    if (error instanceof KithError) throw invalid('it is malformed', {}, error)
    throw error
  }
}

export interface VerifyBindingOptions {
  /** The adopted chain of the DID. When it ends before the binding's `chainIndex` (`decodeBinding`), fetch more of it first. */
  readonly chain: ChainState
  /** Wall clock, ms since the epoch. */
  readonly now: number
  /** Highest serial seen for (DID, link key). */
  readonly minSerial?: number
  readonly revoked?: (linkKey: PublicKey) => boolean
}

/**
 * Every rule of PN-4. What it returns was certified by the identity, is held by the machine, and is valid now.
 * @throws KithError `BINDING_INVALID` (details.reason), `BINDING_EXPIRED`, `BINDING_STALE` (a newer one was seen), `DEVICE_REVOKED`.
 */
export function verifyBinding(encoded: Uint8Array, options: VerifyBindingOptions): Binding {
  const binding = decodeBinding(encoded)
  checkBinding(binding, options)
  checkSignatures(binding, options.chain)
  return binding
}

/** What the rules about time and knowledge look at. */
export type BindingTerms = Pick<Binding, 'did' | 'chainIndex' | 'chainHead' | 'serial' | 'notBeforeMs' | 'notAfterMs' | 'linkKey'>

/** The rules that depend on time and knowledge, without the signatures: for a binding whose signatures were verified before (same `hash`). @throws as `verifyBinding`. */
export function checkBinding(binding: BindingTerms, options: VerifyBindingOptions): void {
  const { chain, now } = options
  if (binding.did !== chain.did) throw invalid('it is of another identity')
  const entry = chain.entries[binding.chainIndex]
  if (entry === undefined) throw invalid('the chain does not reach it', { have: chain.index, need: binding.chainIndex })
  if (!equal(entry.hash, binding.chainHead)) throw invalid('it was made on another chain')
  if (chain.closed) throw invalid('the identity was closed')
  if (chain.reveals(binding.linkKey)) throw invalid('its link key is an identity key')
  checkDates(binding, chain, now)
  if (binding.serial < (options.minSerial ?? 0)) {
    throw new KithError('BINDING_STALE', undefined, { details: { serial: binding.serial, seen: options.minSerial ?? 0 } })
  }
  if (options.revoked?.(binding.linkKey) === true) throw new KithError('DEVICE_REVOKED')
}

function checkDates(binding: BindingTerms, chain: ChainState, now: number): void {
  if (binding.notAfterMs <= binding.notBeforeMs) throw invalid('it ends before it begins')
  if (now < binding.notBeforeMs - CLOCK_SLACK_MS) throw invalid('it is not valid yet', { aheadMs: binding.notBeforeMs - now })
  if (now >= binding.notAfterMs) throw expired(binding.notAfterMs)
  const later = chain.entries.slice(binding.chainIndex + 1)
  const [successor] = later
  if (successor === undefined) return
  if (later.some((entry) => entry.reason === 'compromised')) throw invalid('the keys that made it were compromised')
  if (binding.notBeforeMs > successor.timeMs) throw invalid('it was made with keys that had been replaced')
  if (now >= successor.timeMs + SUPERSEDED_MS) throw expired(successor.timeMs + SUPERSEDED_MS)
}

/** When a binding ends under this chain, ms since the epoch: by its own date, or some time after the keys that made it were replaced. */
export function bindingEnd(binding: BindingTerms, chain: ChainState): number {
  const successor = chain.entries[binding.chainIndex + 1]
  return successor === undefined ? binding.notAfterMs : Math.min(binding.notAfterMs, successor.timeMs + SUPERSEDED_MS)
}

/** A decoded binding as it was. */
export function encodeBinding(binding: Binding): Uint8Array {
  return concat(binding.body, encode(proofsCodec, binding))
}

function checkSignatures(binding: Binding, chain: ChainState): void {
  const keys = chain.keysAt(binding.chainIndex)
  const message = labeled(LABEL, binding.body)
  if (keys === undefined || !verifyHybrid(keys, message, binding.identitySignature)) throw invalid('the identity did not sign it')
  if (!verify(binding.linkKey, message, binding.linkSignature)) throw invalid('the link key did not sign it')
  const { deviceMldsa, deviceMldsaSignature } = binding
  if ((deviceMldsa === undefined) !== (deviceMldsaSignature === undefined)) throw invalid('the post-quantum key did not sign it')
  if (deviceMldsa !== undefined && deviceMldsaSignature !== undefined && !verifyMldsa(deviceMldsa, message, deviceMldsaSignature)) {
    throw invalid('the post-quantum key did not sign it')
  }
}

/** Names are shown on terminals: no control or direction characters, no space at the ends. Empty is allowed. */
export function isName(name: string): boolean {
  return Buffer.byteLength(name) <= MAX_NAME_BYTES && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(name) && name === name.trim()
}

function readName(name: string): string {
  if (!isName(name)) throw malformed('name')
  return name
}

function expired(endMs: number): KithError {
  return new KithError('BINDING_EXPIRED', undefined, { details: { endMs } })
}

function invalid(reason: string, details: { readonly [name: string]: number } = {}, cause?: unknown): KithError {
  return new KithError('BINDING_INVALID', `the binding does not verify: ${reason}`, { details: { reason, ...details }, cause })
}

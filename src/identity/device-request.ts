import { wordlist } from '@scure/bip39/wordlists/english.js'
import { concat, type PublicKey } from '../core/bytes.ts'
import { bytesN, type Codec, constant, encode, malformed, option, Reader, struct, u64, uint53 } from '../core/codec.ts'
import { type HybridSigner, signHybrid, verifyHybrid } from '../core/crypto/hybrid.ts'
import { hashLabeled, labeled } from '../core/crypto/labels.ts'
import { MLDSA_PUBLIC_KEY_BYTES } from '../core/crypto/mldsa.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { deviceNameCodec } from './device-document.ts'
import type { Did } from './did.ts'
import { didCodec, keySetSignatureCodec, publicKeyCodec } from './keys.ts'
import type { KeySetSignature } from './types.ts'

/**
 * # Device request: a machine asks to belong to an identity, or to have its binding renewed
 *
 * ```text
 * body    = u8 1 || option<bytes32 did_key> || bytes32 link_key || option<bytes1952> device_mldsa || option<bytes1216> fallback_kem
 *        || u64 capabilities || text name(<= 64) || u64 time_ms || bytes16 nonce
 * request = body || sig_link64 || option<3309>                                       over L("icn/device-req/v1") || body
 * code    = first 66 bits of H("icn/device-code/v1", body) as six BIP39 English words
 * ```
 *
 * The machine's own keys sign, so nobody asks for a key that is not theirs. Without a DID it is a new machine; with one, a machine of that identity wants a new
 * binding. The code is the same on both screens: whoever compares the words knows that the request was not exchanged on its way. There is no round of commitments in
 * a file, so the code has 66 bits where pairing has 44: to meet it by trying takes 2^66 keys.
 */
const LABEL = 'icn/device-req/v1'
const XWING_PUBLIC_KEY_BYTES = 1216
const CODE_WORDS = 6
const WORD_BITS = 11
/** A request that lay around longer is made anew. */
export const MAX_REQUEST_AGE_MS: number = 30 * 86_400_000
/** Clocks of others may be this far ahead. */
const CLOCK_SLACK_MS = 86_400_000

export interface DeviceRequest {
  /** The identity that certified this machine before; absent for a new one. */
  readonly did: Did | undefined
  readonly linkKey: PublicKey
  readonly deviceMldsa: Uint8Array | undefined
  readonly fallbackKem: Uint8Array | undefined
  /** What the machine asks for; what it gets is decided by the owner. */
  readonly capabilities: bigint
  readonly name: string
  readonly timeMs: number
  readonly nonce: Uint8Array
  readonly signature: KeySetSignature
  readonly body: Uint8Array
  /** Names the request: 32 bytes. */
  readonly id: Uint8Array
}

type Body = Omit<DeviceRequest, 'signature' | 'body' | 'id'> & { readonly _version: undefined }

const bodyCodec: Codec<Body> = struct<Body>({
  _version: constant(1),
  did: option(didCodec),
  linkKey: publicKeyCodec,
  deviceMldsa: option(bytesN(MLDSA_PUBLIC_KEY_BYTES)),
  fallbackKem: option(bytesN(XWING_PUBLIC_KEY_BYTES)),
  capabilities: u64,
  name: deviceNameCodec,
  timeMs: uint53,
  nonce: bytesN(16),
})

export const MAX_REQUEST_BYTES: number = bodyCodec.max + keySetSignatureCodec.max

export interface DeviceRequestOptions {
  readonly did?: Did
  readonly name: string
  readonly capabilities?: bigint
  readonly fallbackKem?: Uint8Array
  readonly now: number
  readonly random: Random
}

/** Signed by the machine. @throws TypeError for a bad name. */
export function createDeviceRequest(machine: HybridSigner, options: DeviceRequestOptions): Uint8Array {
  const body = encode(bodyCodec, {
    _version: undefined,
    did: options.did,
    linkKey: machine.ed25519.publicKey,
    deviceMldsa: machine.mldsa?.publicKey,
    fallbackKem: options.fallbackKem,
    capabilities: options.capabilities ?? 0n,
    name: options.name,
    timeMs: options.now,
    nonce: options.random.bytes(16),
  })
  return concat(body, encode(keySetSignatureCodec, signHybrid(machine, labeled(LABEL, body))))
}

/**
 * Reads a request and checks everything that can be checked about it: form, age, and that the machine signed it.
 * @throws KithError `DEVICE_REQUEST_INVALID` (details.reason).
 */
export function readDeviceRequest(encoded: Uint8Array, now: number): DeviceRequest {
  const request = decodeRequest(encoded)
  if (request.timeMs > now + CLOCK_SLACK_MS) throw invalid('it is dated more than a day ahead')
  if (now > request.timeMs + MAX_REQUEST_AGE_MS) throw invalid('it is older than 30 days')
  const message = labeled(LABEL, request.body)
  const key = { ed25519: request.linkKey, mldsa: request.deviceMldsa }
  if (!verifyHybrid(key, message, request.signature)) throw invalid('the machine did not sign it')
  return request
}

/** Six words, the same wherever the request is shown. */
export function requestCode({ body }: Pick<DeviceRequest, 'body'>): string {
  const digest = hashLabeled('icn/device-code/v1', body)
  let bits = 0n
  for (const byte of digest.subarray(0, 16)) bits = (bits << 8n) | BigInt(byte)
  const words = Array.from({ length: CODE_WORDS }, (_, at) => wordlist[Number((bits >> BigInt(128 - WORD_BITS * (at + 1))) & 0x7ffn)])
  return words.join(' ')
}

function decodeRequest(encoded: Uint8Array): DeviceRequest {
  if (encoded.length > MAX_REQUEST_BYTES) throw invalid('it is too long')
  try {
    const reader = new Reader(encoded)
    const { _version, ...fields } = bodyCodec.read(reader)
    const body = Uint8Array.from(encoded.subarray(0, reader.at))
    const signature = keySetSignatureCodec.read(reader)
    if (reader.left !== 0) throw malformed('bytes left over', { left: reader.left })
    return { ...fields, signature, body, id: hashLabeled('icn/device-req-id/v1', body) }
  } catch (error) {
    if (error instanceof KithError) throw invalid('it is malformed', error)
    throw error
  }
}

function invalid(reason: string, cause?: unknown): KithError {
  return new KithError('DEVICE_REQUEST_INVALID', `the request of the machine is not valid: ${reason}`, {
    details: { reason },
    next: 'kith id device add (again on the new machine)',
    cause,
  })
}

import { varintSize, Writer } from '../core/codec.ts'
import { verify } from '../core/crypto/ed25519.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { hashLabeled, labeled } from '../core/crypto/labels.ts'
import { verifyMldsa } from '../core/crypto/mldsa.ts'
import type { PostQuantumSigner, Signer } from '../core/signer.ts'
import type { ChannelBinding } from '../transport/types.ts'
import { checkFailed } from './errors.ts'
import { decodeProof, encodeProof, type HelloRole, SUITE_ED25519, SUITE_HYBRID } from './hello-codec.ts'

const HELLO_LABEL = 'icn/hello/v1'
const LISTENER_LABEL = 'icn/hello-listener/v1'
const DIALER_LABEL = 'icn/hello-dialer/v1'
const SESSION_LABEL = 'icn/session/v1'

const BINDING_KINDS: Readonly<Record<ChannelBinding['kind'], number>> = { stream: 1, 'tls-exporter': 2, quic: 3, memory: 4 }

/** Hh: what both proofs sign. It ties the two Hellos, byte for byte, to the one channel they were sent on. */
export function helloHash(binding: ChannelBinding, dialerHello: Uint8Array, listenerHello: Uint8Array): Uint8Array {
  const bytes = 'bytes' in binding ? binding.bytes : new Uint8Array(0)
  return hashLabeled(HELLO_LABEL, Uint8Array.of(BINDING_KINDS[binding.kind]), delimited(bytes), delimited(dialerHello), delimited(listenerHello))
}

/** The 16 bytes that name the session in live envelopes (PN-7). */
export function sessionId(hash: Uint8Array): Uint8Array {
  return hashLabeled(SESSION_LABEL, hash).slice(0, 16)
}

/** What one side signs. The dialer signs the listener's proof too, so the listener learns that its own was accepted. */
export function proofMessage(role: HelloRole, hash: Uint8Array, listenerProof: Uint8Array): Uint8Array {
  return role === 'listener' ? labeled(LISTENER_LABEL, hash) : labeled(DIALER_LABEL, hash, sha256(listenerProof))
}

/** @throws KithError `SIGNER_REFUSED`, `SECRET_WIPED`. */
export function makeProof(role: HelloRole, message: Uint8Array, suite: number, signer: Signer, mldsaSigner: PostQuantumSigner | undefined): Uint8Array {
  if (suite === SUITE_HYBRID && mldsaSigner === undefined) throw new TypeError('the binding names an ML-DSA key that the device does not have')
  return encodeProof({
    role,
    suite,
    signature: signer.sign(message),
    mldsa: suite === SUITE_HYBRID ? mldsaSigner?.sign(message) : undefined,
  })
}

export interface ProofExpectation {
  readonly suite: number
  readonly linkKey: Uint8Array
  readonly mldsa: Uint8Array | undefined
}

/** The role is in `message`: a proof of the other one signs another label. @throws KithError `PROOF_INVALID`; `WIRE_MALFORMED` when it does not decode. */
export function checkProof(bytes: Uint8Array, message: Uint8Array, expected: ProofExpectation): void {
  const proof = decodeProof(bytes)
  if (proof.suite !== expected.suite) {
    throw checkFailed('PROOF_INVALID', 'suite', 'the proof is of another kind than both devices can make', {
      details: { suite: proof.suite, expected: expected.suite },
    })
  }
  if (!verify(expected.linkKey, message, proof.signature)) throw checkFailed('PROOF_INVALID', 'signature', 'the device did not sign this connection')
  if (expected.suite === SUITE_ED25519) return
  if (expected.mldsa === undefined || proof.mldsa === undefined || !verifyMldsa(expected.mldsa, message, proof.mldsa)) {
    throw checkFailed('PROOF_INVALID', 'mldsa', 'the device did not sign this connection with its post-quantum key')
  }
}

function delimited(bytes: Uint8Array): Uint8Array {
  const writer = new Writer(varintSize(bytes.length) + bytes.length)
  writer.varint(bytes.length)
  writer.raw(bytes)
  return writer.bytes
}

import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { concat } from '../core/bytes.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { encapsulate, generateMlKem768, isEncapsulationKey, MLKEM_CIPHERTEXT_BYTES, MLKEM_ENCAPSULATION_KEY_BYTES } from '../core/crypto/mlkem.ts'
import type { KexInit, KeyExchange, LibraryHostKey, NameListsOneWay, Protocol } from './library.ts'
import { ssh2Library } from './library.ts'
import { CERTIFICATE_ALGORITHM, KEY_ALGORITHM } from './wire.ts'

/**
 * # Hybrid key exchange `mlkem768x25519-sha256` (draft-ietf-sshm-mlkem-hybrid-kex)
 *
 * ```text
 * client -> server   C_INIT  = ML-KEM-768 encapsulation key (1184) || X25519 public key (32)
 * server -> client   S_REPLY = ML-KEM ciphertext (1088)            || X25519 public key (32)
 * K = SHA-256(ML-KEM shared secret || X25519 shared secret)        hashed as a string of 32 bytes, not as an mpint
 * ```
 *
 * `ssh2` does not know it. Its messages have the form of Curve25519's, so the exchange the library makes for Curve25519 is replaced by one of a class that
 * inherits from it, when the first name both sides have is the hybrid one. The library negotiates with the plain list and sends the longer one.
 *
 * Host certificates come the same way: the library is told to use the plain host key, and finds the certificate in its place.
 */
export const HYBRID: string = 'mlkem768x25519-sha256'
const CLASSICAL = ['curve25519-sha256', 'curve25519-sha256@libssh.org'] as const

/** ChaCha20-Poly1305 would run in this program instead of the processor, because the library's native part is not built. */
const AEAD = ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'] as const
const ONE_WAY = {
  cipher: [...AEAD, 'aes128-ctr', 'aes256-ctr'],
  mac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com'],
  compress: ['none'],
  lang: [],
} as const

const X25519_BYTES = 32
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex')
/** Type byte and cookie of a KEXINIT, in front of its first name list (RFC 4253, section 7.1). */
const KEXINIT_HEAD = 17

/** Name lists of a door. Who prefers AES-CTR but can do AES-GCM, as OpenSSH does, is offered that alone: it costs half. */
export interface ServerOffer {
  readonly common: KexInit
  readonly openssh: KexInit
}

export function serverOffer(certified: boolean): ServerOffer {
  const kex = [...CLASSICAL, 'kex-strict-s-v00@openssh.com']
  const hostKeys = certified ? [CERTIFICATE_ALGORITHM, KEY_ALGORITHM] : [KEY_ALGORITHM]
  return { common: withHybrid(kex, hostKeys), openssh: withHybrid(kex, hostKeys, { ...ONE_WAY, cipher: AEAD }) }
}

/** By what the client calls itself; AES-GCM came with OpenSSH 6.2. */
export function offerFor(offer: ServerOffer, software: string): KexInit {
  return /^OpenSSH_(?:[7-9]|[1-9]\d)/.test(software) ? offer.openssh : offer.common
}

/** Name lists of a client. `hostKeys`: algorithms in the order they are wanted. */
export function clientOffer(hostKeys: readonly string[]): KexInit {
  return withHybrid([...CLASSICAL, 'ext-info-c', 'kex-strict-c-v00@openssh.com'], hostKeys)
}

/** What is sent has the hybrid name; what the library negotiates with, `array`, has not. */
function withHybrid(kex: string[], serverHostKey: readonly string[], oneWay: NameListsOneWay = ONE_WAY): KexInit {
  const { KexInit } = ssh2Library()
  const offer = new KexInit({ kex: [HYBRID, ...kex], serverHostKey, cs: oneWay, sc: oneWay })
  offer.lists.kex.array = kex
  return offer
}

export interface HostKeys {
  readonly plain: LibraryHostKey
  /** The same key with its certificate. */
  readonly certified?: LibraryHostKey
}

/** Lets a connection of a door use the hybrid exchange and the host certificate. Before its first packet. */
export function patchServer(protocol: Protocol, hostKeys: HostKeys, seen: (exchange: string) => void): void {
  protocol._hostKeys = { [KEY_ALGORITHM]: hostKeys.plain }
  watchExchanges(protocol, (exchange) => {
    if (exchange.negotiated.serverHostKey === CERTIFICATE_ALGORITHM && hostKeys.certified !== undefined) {
      // A signature by a certified key bears the plain key's name (PROTOCOL.certkeys).
      exchange.negotiated.serverHostKey = KEY_ALGORITHM
      protocol._hostKeys = { [KEY_ALGORITHM]: hostKeys.certified }
    } else protocol._hostKeys = { [KEY_ALGORITHM]: hostKeys.plain }
    const hybrid = prefersHybrid(exchange._remoteKexinit) && isCurve(exchange)
    seen(hybrid ? HYBRID : exchange.negotiated.kex)
    return hybrid ? serverExchange(exchange) : exchange
  })
}

export interface ClientWatch {
  /** An exchange begins, under this name. */
  exchange(name: string): void
  /** The plain key of a certificate that was shown and checked as host key. */
  subjectOf(certificate: Buffer): Buffer | undefined
}

/** Lets a connection of a client use the hybrid exchange and host certificates. Before its first packet. */
export function patchClient(protocol: Protocol, watch: ClientWatch): void {
  watchExchanges(protocol, (exchange) => {
    const hybrid = offersHybrid(exchange._remoteKexinit) && isCurve(exchange)
    watch.exchange(hybrid ? HYBRID : exchange.negotiated.kex)
    return withHostCertificate(hybrid ? clientExchange(exchange) : exchange, watch)
  })
}

/**
 * The library hashes the certificate as what it is, and then would look for a signature by a key of that type. Between the two it asks for our public key: there
 * the certificate, checked by then, is exchanged for the key in it.
 */
function withHostCertificate(exchange: KeyExchange, { subjectOf }: ClientWatch): KeyExchange {
  if (exchange.negotiated.serverHostKey !== CERTIFICATE_ALGORITHM) return exchange
  const getPublicKey = exchange.getPublicKey.bind(exchange)
  return Object.assign(exchange, {
    getPublicKey: () => {
      const subject = exchange._hostKey === undefined ? undefined : subjectOf(exchange._hostKey)
      if (subject !== undefined) {
        exchange._hostKey = subject
        exchange.negotiated.serverHostKey = KEY_ALGORITHM
      }
      return getPublicKey()
    },
  })
}

function isCurve(exchange: KeyExchange): boolean {
  return exchange.type === '25519'
}

function watchExchanges(protocol: Protocol, replace: (exchange: KeyExchange) => KeyExchange): void {
  let current = protocol._kex
  Object.defineProperty(protocol, '_kex', {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (exchange: KeyExchange | undefined) => {
      current = exchange === undefined ? undefined : replace(exchange)
    },
  })
}

/** RFC 4253, section 7.1: the first of the client's names that the server has too is taken. */
function prefersHybrid(clientKexinit: Uint8Array): boolean {
  const ours: readonly string[] = [HYBRID, ...CLASSICAL]
  return kexNames(clientKexinit).find((name) => ours.includes(name)) === HYBRID
}

/** Our own list begins with it, so it is taken when the server has it at all. */
function offersHybrid(serverKexinit: Uint8Array): boolean {
  return kexNames(serverKexinit).includes(HYBRID)
}

function kexNames(kexinit: Uint8Array): readonly string[] {
  const view = Buffer.from(kexinit.buffer, kexinit.byteOffset, kexinit.byteLength)
  if (view.length < KEXINIT_HEAD + 4) return []
  const length = view.readUInt32BE(KEXINIT_HEAD)
  return view.toString('latin1', KEXINIT_HEAD + 4, Math.min(view.length, KEXINIT_HEAD + 4 + length)).split(',')
}

/** An object that behaves as `exchange` does except for what is given. */
function derived(exchange: KeyExchange, own: Pick<KeyExchange, 'computeSecret' | 'getPublicKey' | 'convertPublicKey'>): KeyExchange {
  return Object.assign(exchange, own)
}

function serverExchange(exchange: KeyExchange): KeyExchange {
  let reply: Buffer | undefined
  return derived(exchange, {
    convertPublicKey: (key) => key,
    getPublicKey: () => reply ?? Buffer.alloc(0),
    computeSecret(init) {
      try {
        if (init.length !== MLKEM_ENCAPSULATION_KEY_BYTES + X25519_BYTES) throw new Error('wrong length of the hybrid public key')
        const encapsulationKey = init.subarray(0, MLKEM_ENCAPSULATION_KEY_BYTES)
        if (!isEncapsulationKey(encapsulationKey)) throw new Error('not an ML-KEM-768 encapsulation key')
        const curve = generateKeyPairSync('x25519')
        const curveSecret = agree(curve.privateKey, init.subarray(MLKEM_ENCAPSULATION_KEY_BYTES))
        const { ciphertext, sharedSecret } = encapsulate(encapsulationKey)
        reply = Buffer.from(concat(ciphertext, rawPublicKey(curve.publicKey)))
        return combine(sharedSecret, curveSecret)
      } catch (cause) {
        return asError(cause)
      }
    },
  })
}

function clientExchange(exchange: KeyExchange): KeyExchange {
  const kem = generateMlKem768()
  const curve = generateKeyPairSync('x25519')
  const init = Buffer.from(concat(kem.encapsulationKey, rawPublicKey(curve.publicKey)))
  return derived(exchange, {
    convertPublicKey: (key) => key,
    getPublicKey: () => init,
    computeSecret(reply) {
      try {
        if (reply.length !== MLKEM_CIPHERTEXT_BYTES + X25519_BYTES) throw new Error('wrong length of the hybrid reply')
        const curveSecret = agree(curve.privateKey, reply.subarray(MLKEM_CIPHERTEXT_BYTES))
        return combine(kem.decapsulate(reply.subarray(0, MLKEM_CIPHERTEXT_BYTES)), curveSecret)
      } catch (cause) {
        return asError(cause)
      } finally {
        kem.close()
      }
    },
  })
}

function combine(kemSecret: { use<T>(read: (bytes: Buffer) => T): T; wipe(): void }, curveSecret: Buffer): Buffer {
  try {
    return Buffer.from(kemSecret.use((bytes) => sha256(bytes, curveSecret)))
  } finally {
    kemSecret.wipe()
    curveSecret.fill(0)
  }
}

/** OpenSSL refuses a public key of small order, whose shared secret would be zero (RFC 8731, section 3). */
function agree(privateKey: KeyObject, theirs: Uint8Array): Buffer {
  const publicKey = createPublicKey({ key: Buffer.concat([X25519_SPKI, theirs]), type: 'spki', format: 'der' })
  return diffieHellman({ privateKey, publicKey })
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return key.export({ type: 'spki', format: 'der' }).subarray(X25519_SPKI.length)
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error('key exchange failed')
}

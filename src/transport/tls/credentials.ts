import { constants } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { createSigner } from '../../core/crypto/ed25519.ts'
import { forgetKeysSoon, scrubStack } from '../../core/crypto/forget-keys.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { CERTIFICATE_LIFE_MS, makeLinkCertificate } from './certificate.ts'
import { hybridGroupAvailable } from './groups.ts'

export const LINK_PROTOCOL = 'icn/1'

/** A certificate is replaced long before it ends, so that no clock has to be exact. */
const RENEW_MS: number = CERTIFICATE_LIFE_MS / 3

export interface LinkContexts {
  readonly localKey: PublicKey
  /** Listening side, for clients that offer the hybrid group: no other can be negotiated. Absent where the runtime has none. */
  readonly hybrid: SecureContext | undefined
  /** Listening side, for all others. */
  readonly classical: SecureContext
  readonly dialer: SecureContext
}

/**
 * The TLS setups of one link key, made when they are first needed and again before their certificate runs out. The seed stays the caller's: it is read each
 * time. The TLS library gets the private key itself and keeps it for as long as a setup is in use; what is copied on the way there is wiped.
 */
export class LinkCredentials {
  readonly #seed: Secret
  readonly #clock: Clock
  readonly #random: Random
  #made: { readonly contexts: LinkContexts; readonly until: number } | undefined

  constructor(seed: Secret, clock: Clock, random: Random) {
    this.#seed = seed
    this.#clock = clock
    this.#random = random
  }

  /** @throws KithError `SECRET_WIPED` when the key is gone. */
  current(): LinkContexts {
    const now = this.#clock.now()
    if (this.#made === undefined || now >= this.#made.until) this.#made = { contexts: this.#make(now), until: now + RENEW_MS }
    return this.#made.contexts
  }

  #make(now: number): LinkContexts {
    const signer = createSigner('link', this.#seed.clone())
    const cert = pem('CERTIFICATE', makeLinkCertificate(signer, now, this.#random))
    signer.close()
    const key = privateKeyPem(this.#seed)
    try {
      const context = (ecdhCurve: string): SecureContext => createSecureContext({ ...BASE, cert, key, ecdhCurve })
      const hybrid = hybridGroupAvailable()
      return {
        localKey: signer.publicKey,
        hybrid: hybrid ? context('X25519MLKEM768') : undefined,
        classical: context('X25519'),
        dialer: context(hybrid ? 'X25519MLKEM768:X25519' : 'X25519'),
      }
    } finally {
      key.fill(0)
      scrubStack()
      // Setups that were replaced keep their copy until they are collected.
      if (this.#made !== undefined) forgetKeysSoon()
    }
  }
}

/** TLS 1.3 only, Ed25519 only, nothing that could be resumed. */
const BASE: SecureContextOptions = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
  sigalgs: 'ed25519',
  honorCipherOrder: true,
  secureOptions: constants.SSL_OP_NO_TICKET,
  sessionIdContext: LINK_PROTOCOL,
}

/** PKCS#8 of an Ed25519 seed (RFC 8410, 7). */
const PKCS8_HEAD = Uint8Array.of(0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20)
const BASE64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', 'latin1')

/** In memory that can be wiped: a string could not. */
function privateKeyPem(seed: Secret): Buffer {
  const [head, tail] = [Buffer.from('-----BEGIN PRIVATE KEY-----\n'), Buffer.from('\n-----END PRIVATE KEY-----\n')]
  const out = Buffer.alloc(head.length + 64 + tail.length)
  const der = Buffer.alloc(48)
  der.set(PKCS8_HEAD)
  seed.use((bytes) => der.set(bytes, PKCS8_HEAD.length))
  out.set(head)
  out.set(tail, head.length + 64)
  for (let group = 0; group < 16; group++) {
    const bits = der.readUIntBE(group * 3, 3)
    for (let digit = 0; digit < 4; digit++) out[head.length + group * 4 + digit] = BASE64[(bits >> (18 - 6 * digit)) & 63] as number
  }
  der.fill(0)
  return out
}

function pem(label: string, der: Uint8Array): string {
  return `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64')}\n-----END ${label}-----\n`
}

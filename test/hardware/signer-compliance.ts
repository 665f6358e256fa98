import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { verify } from '../../src/core/crypto/ed25519.ts'
import { labeled } from '../../src/core/crypto/labels.ts'
import { attestationOf, type Signer } from '../../src/core/signer.ts'

/** One key that can be opened any number of times. */
export interface SignerFactory {
  open(): Signer
  readonly place: 'memory' | 'token'
}

/**
 * What every signer of the role `identity` owes, wherever its key lives (PN-1). `make` gives a text where the place does not exist on this machine.
 */
export function signerCompliance(name: string, make: (t: TestContext) => Promise<SignerFactory | string>): void {
  const check = (what: string, run: (factory: SignerFactory, t: TestContext) => void | Promise<void>): void => {
    test(`signer, ${name}: ${what}`, async (t) => {
      const factory = await make(t)
      if (typeof factory === 'string') return t.skip(factory)
      await run(factory, t)
    })
  }
  const message = labeled('icn/test/v1', Buffer.from('message'))

  check('signature of a message of its role verifies under its public key and no other message', ({ open }) => {
    const signer = open()
    const signature = signer.sign(message)
    assert.equal(signature.length, 64)
    assert.equal(verify(signer.publicKey, message, signature), true)
    assert.equal(verify(signer.publicKey, labeled('icn/test/v1', Buffer.from('massage')), signature), false)
    signer.close()
  })

  check('signatures are those of RFC 8032: the same message gives the same bytes', ({ open }) => {
    const signer = open()
    assert.deepEqual(signer.sign(message), signer.sign(message))
    signer.close()
  })

  check('key, opened twice, is the same, and closing one leaves the other', ({ open }) => {
    const [one, two] = [open(), open()]
    assert.deepEqual(one.publicKey, two.publicKey)
    one.close()
    assert.deepEqual(two.sign(message).length, 64)
    two.close()
    const three = open()
    assert.equal(verify(one.publicKey, message, three.sign(message)), true)
    three.close()
  })

  check('messages of another role are refused and never reach the key', ({ open }) => {
    const signer = open()
    const others = [
      Buffer.alloc(0),
      Buffer.alloc(33),
      Buffer.concat([Buffer.alloc(64, 0x20), Buffer.from('TLS 1.3, server')]),
      Buffer.from([0x30, 2, 1, 1]),
      Buffer.from('libp2p-tls-handshake:x'),
      Buffer.from('anything'),
      Buffer.from([0x08, 1, 2, 3, 4, 5, 6, 7, 8]),
    ]
    for (const other of others) assert.throws(() => signer.sign(other), { code: 'SIGNER_REFUSED' })
    assert.equal(signer.sign(Buffer.from('ICN_RECOVERY_ATTESTATION:a:b:1')).length, 64)
    signer.close()
  })

  check('refusal says the first byte and the length, never the message', ({ open }) => {
    const signer = open()
    assert.throws(
      () => signer.sign(Buffer.from('correct horse battery staple')),
      (error: Error & { details?: object }) => !JSON.stringify([error.message, error.details]).includes('horse'),
    )
    signer.close()
  })

  check('messages of every length up to 9,000 bytes verify', ({ open }) => {
    const signer = open()
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 9_000 }), (bytes) => {
        const labelled = labeled('icn/test/v1', bytes)
        return verify(signer.publicKey, labelled, signer.sign(labelled))
      }),
      { numRuns: 40 },
    )
    signer.close()
  })

  check('closed, it signs nothing; closing again is fine', ({ open }) => {
    const signer = open()
    signer.close()
    signer.close()
    assert.throws(() => signer.sign(message), { code: 'SECRET_WIPED' })
  })

  check('what it says of its key fits the place', ({ open, place }) => {
    const signer = open()
    const attestation = attestationOf(signer)
    assert.equal(attestation.place, place)
    if (place === 'token') {
      assert.equal(attestation.sensitive && attestation.nonExtractable && attestation.madeThere, true)
      assert.notEqual(attestation.token?.serial, '')
    }
    signer.close()
  })
}

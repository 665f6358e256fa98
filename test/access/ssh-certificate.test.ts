import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import untyped from 'sshpk'
import { certificateEnd, parseCertificate, whyNotValid } from '../../src/access/ssh-certificate.ts'
import { parseRevocations } from '../../src/access/ssh-revocations.ts'
import { fingerprint, formatPublicKey, parsePublicKeyLine } from '../../src/access/ssh-wire.ts'
import { utf8 } from '../../src/core/bytes.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { type CertificateFields, keyFrom, makeCertificate, NOW, NOW_S, str, u32, u64, VECTORS, vectorCertificate } from './support.ts'

interface Sshpk {
  parseKey(text: string, format: string): unknown
  generatePrivateKey(type: string): unknown
  identityForUser(name: string): unknown
  identityForHost(name: string): unknown
  parseCertificate(
    text: string,
    format: string,
  ): { readonly subjectKey: { fingerprint(algorithm: string): { toString(): string } }; readonly serial: Buffer; readonly validFrom: Date }
  createCertificate(subject: unknown, key: unknown, issuer: unknown, issuerKey: unknown, options: object): { toString(format: string): string }
}
const sshpk = untyped as Sshpk

const CA = keyFrom(10)
const ANN = keyFrom(11)
const ADDRESS = '192.0.2.7'

function made(fields: Partial<CertificateFields> = {}): ReturnType<typeof parseCertificate> {
  return parseCertificate(makeCertificate(CA, { key: ANN.publicKey, ...fields }))
}

function why(fields: Partial<CertificateFields>, address = ADDRESS): string | undefined {
  return whyNotValid(made(fields), { nowMs: NOW, address })
}

function refused(bytes: Uint8Array, words: RegExp): void {
  assert.throws(
    () => parseCertificate(bytes),
    (error) => isKithError(error, 'SSH_FORMAT') && words.test(error.message),
  )
}

test('certificates of ssh-keygen, are read with every field', () => {
  const plain = parseCertificate(vectorCertificate('plain'))
  assert.equal(fingerprint(plain.key), VECTORS.userFingerprint)
  assert.equal(fingerprint(plain.authority), fingerprint(parsePublicKeyLine(VECTORS.ca)))
  assert.deepEqual([plain.serial, plain.type, plain.keyId, plain.principals], [7n, 'user', 'plain', ['deploy', 'admin']])
  assert.equal(plain.validAfter, BigInt(Date.UTC(2026, 0, 1) / 1_000))
  assert.equal(plain.validBefore, BigInt(Date.UTC(2027, 0, 1) / 1_000))
  assert.ok(plain.extensions.has('permit-port-forwarding'))
  assert.equal(parseCertificate(vectorCertificate('noforward')).extensions.has('permit-port-forwarding'), false)
  assert.equal(parseCertificate(vectorCertificate('forever')).validBefore, (1n << 64n) - 1n)
  assert.equal(certificateEnd(parseCertificate(vectorCertificate('forever'))), undefined)
  assert.equal(certificateEnd(plain), Date.UTC(2027, 0, 1))
})

test('certificates of ssh-keygen, count or not as they say', () => {
  const reason = (name: string, nowMs = NOW, address = ADDRESS): string | undefined =>
    whyNotValid(parseCertificate(vectorCertificate(name)), { nowMs, address })
  assert.equal(reason('plain'), undefined)
  assert.equal(reason('forever'), undefined)
  assert.equal(reason('plain', Date.UTC(2026, 0, 1) - 1), 'it is not valid yet')
  assert.equal(reason('plain', Date.UTC(2026, 0, 1)), undefined)
  assert.equal(reason('plain', Date.UTC(2027, 0, 1) - 1), undefined)
  assert.equal(reason('plain', Date.UTC(2027, 0, 1)), 'it has expired')
  assert.equal(reason('host'), 'it is a certificate of a host')
  assert.equal(reason('noprincipals'), 'it names no principals')
  assert.equal(reason('source'), undefined)
  assert.equal(reason('source', NOW, '198.51.100.1'), 'it is not for this address')
  assert.equal(reason('source', NOW, '2001:db8::7'), undefined)
  assert.equal(reason('source', NOW, ''), 'it is not for this address')
  assert.match(reason('forced') ?? '', /forces a command/)
  assert.equal(reason('unknown'), 'its critical option odd@example.com is not known here')
  assert.equal(reason('verifyreq'), 'its critical option verify-required is not known here')
})

test('sshpk as oracle, reads the same from our vectors and signs what we read', () => {
  for (const [name, text] of Object.entries(VECTORS.certificates)) {
    const theirs = sshpk.parseCertificate(`ssh-ed25519-cert-v01@openssh.com ${text}`, 'openssh')
    const ours = parseCertificate(vectorCertificate(name))
    assert.equal(theirs.subjectKey.fingerprint('sha256').toString(), fingerprint(ours.key))
    assert.equal(theirs.serial.toString('hex'), ours.serial.toString(16).padStart(16, '0'))
    assert.equal(Math.floor(theirs.validFrom.getTime() / 1_000), ours.validAfter === 0n ? 0 : Number(ours.validAfter))
  }
  const authority = sshpk.generatePrivateKey('ed25519')
  const subject = sshpk.parseKey(formatPublicKey(ANN.publicKey), 'ssh')
  const certificate = sshpk.createCertificate(sshpk.identityForUser('deploy'), subject, sshpk.identityForHost('ca'), authority, { lifetime: 600 })
  const ours = parseCertificate(Buffer.from(certificate.toString('openssh').split(' ')[1] ?? '', 'base64'))
  assert.deepEqual(ours.principals, ['deploy'])
  assert.equal(fingerprint(ours.key), fingerprint(ANN.publicKey))
})

test('a certificate with any byte changed, is refused', () => {
  const bytes = Buffer.from(makeCertificate(CA, { key: ANN.publicKey }))
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] as number) ^ 1
    assert.throws(() => parseCertificate(changed), KithError, `byte ${at}`)
  }
  for (let length = 0; length < bytes.length; length++) assert.throws(() => parseCertificate(bytes.subarray(0, length)), KithError)
  refused(Buffer.concat([bytes, Buffer.of(0)]), /follows its end/)
})

test('certificates that no authority should have signed, are refused', () => {
  refused(makeCertificate(CA, { key: CA.publicKey }), /signed itself/)
  refused(makeCertificate(CA, { key: ANN.publicKey, type: 3 }), /neither/)
  refused(makeCertificate(CA, { key: ANN.publicKey, reserved: Buffer.of(1) }), /reserved/)
  refused(makeCertificate(CA, { key: new Uint8Array(32) }), /point/)
  refused(makeCertificate(CA, { key: ANN.publicKey.subarray(1) }), /32 bytes/)
  refused(makeCertificate(CA, { key: ANN.publicKey, principals: Array.from({ length: 257 }, (_, i) => `u${i}`) }), /principals/)
  refused(makeCertificate(CA, { key: ANN.publicKey, principals: ['a\nb'] }), /characters/)
  refused(
    makeCertificate(CA, {
      key: ANN.publicKey,
      criticalOptions: [
        ['source-address', '10.0.0.0/8'],
        ['source-address', '0.0.0.0/0'],
      ],
    }),
    /in order/,
  )
  refused(makeCertificate(CA, { key: ANN.publicKey, extensions: ['permit-pty', 'permit-port-forwarding'] }), /in order/)
  refused(Buffer.alloc(20_000), /too long/)
  refused(Buffer.from(VECTORS.user.split(' ')[1] ?? '', 'base64'), /not an ssh-ed25519-cert/)
})

test('source addresses that are no networks, match nobody', () => {
  for (const value of ['', '*', '10.*', 'db.lan', '10.0.0.0/8,', '0.0.0.0/0 ']) {
    assert.equal(why({ criticalOptions: [['source-address', value]] }), 'it is not for this address', value)
  }
  assert.equal(why({ criticalOptions: [['source-address', '0.0.0.0/0']] }), undefined)
})

test('certificate property: what is written is read, and expires at its second', async () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9._-]{0,20}$/)
  fc.assert(
    fc.property(
      fc.record({
        serial: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        keyId: name,
        principals: fc.array(name, { minLength: 1, maxLength: 5 }),
        validAfter: fc.bigInt({ min: 0n, max: BigInt(NOW_S) }),
        life: fc.bigInt({ min: 1n, max: 1_000_000n }),
      }),
      ({ life, ...fields }) => {
        const certificate = made({ ...fields, validBefore: BigInt(NOW_S) + life })
        assert.deepEqual([certificate.serial, certificate.keyId, certificate.principals], [fields.serial, fields.keyId, fields.principals])
        const end = NOW + Number(life) * 1_000
        assert.equal(whyNotValid(certificate, { nowMs: end - 1, address: ADDRESS }), undefined)
        assert.equal(whyNotValid(certificate, { nowMs: end, address: ADDRESS }), 'it has expired')
      },
    ),
    { numRuns: 60 },
  )
})

// ---- revocation lists

function binary(name: string): ReturnType<typeof parseRevocations> {
  return parseRevocations(Buffer.from(VECTORS.revocations[name] ?? '', 'base64'), 'krl')
}

function serial(value: bigint, keyId = 'test'): ReturnType<typeof parseCertificate> {
  return parseCertificate(makeCertificate(CA, { key: ANN.publicKey, serial: value, keyId }))
}

test('revocation lists of ssh-keygen, revoke what they name', () => {
  const user = parsePublicKeyLine(VECTORS.user)
  for (const name of ['keys', 'sha256', 'sha1', 'hash']) {
    assert.equal(binary(name).key(user), true, name)
    assert.equal(binary(name).key(ANN.publicKey), false, name)
    assert.equal(binary(name).certificate(parseCertificate(vectorCertificate('plain'))), true, `${name}: a certificate of that key`)
  }
  assert.equal(binary('ca').certificate(parseCertificate(vectorCertificate('plain'))), true, 'whoever signed it is revoked')
  assert.equal(binary('ca').key(user), false)
  const certs = binary('certs')
  assert.deepEqual(
    ['plain', 'host', 'forever', 'source'].map((name) => certs.certificate(parseCertificate(vectorCertificate(name)))),
    [true, false, true, false],
  )
  assert.equal(certs.certificate(serial(7n)), false, 'the same serial of another authority')
  assert.equal(binary('id').certificate(parseCertificate(vectorCertificate('plain'))), true, 'by its id, of any authority')
  assert.equal(binary('id').certificate(parseCertificate(vectorCertificate('host'))), false)
})

test('a bitmap of serials, revokes exactly its bits', () => {
  const bits = binary('bitmap')
  const revoked = (value: number): boolean => bits.certificate({ ...parseCertificate(vectorCertificate('plain')), serial: BigInt(value) })
  assert.deepEqual(Array.from({ length: 80 }, (_, value) => value).filter(revoked), [1, 3, 5, 7, 9, 10, 11, 64, 65, 67])
})

test('a list as text, revokes keys, fingerprints, serials and ids', () => {
  const list = parseRevocations(
    utf8(
      `# gone\n${formatPublicKey(ANN.publicKey, 'ann')}\n${VECTORS.rsa}\nserial: 5-9\nserial: 0x20\nid: lost laptop\nhash: ${fingerprint(keyFrom(12).publicKey)}\n`,
    ),
    'revoked',
  )
  assert.equal(list.size, 6)
  assert.equal(list.key(ANN.publicKey), true)
  assert.equal(list.key(keyFrom(12).publicKey), true)
  assert.equal(list.key(keyFrom(13).publicKey), false)
  const other = (value: bigint, keyId = 'test'): boolean =>
    list.certificate(parseCertificate(makeCertificate(CA, { key: keyFrom(13).publicKey, serial: value, keyId })))
  assert.deepEqual(
    [4n, 5n, 9n, 10n, 32n].map((value) => other(value)),
    [false, true, true, false, true],
  )
  assert.equal(other(1n, 'lost laptop'), true)
})

test('a certificate without a number, is not revoked by numbers', () => {
  const list = parseRevocations(utf8('serial: 1-18446744073709551615\n'), 'revoked')
  assert.equal(list.certificate(serial(0n)), false)
  assert.equal(list.certificate(serial((1n << 64n) - 1n)), true)
})

test('a revocation list that is not readable, fails with its file and line or its reason', () => {
  for (const [text, line] of [
    ['serial: 0\n', 1],
    ['\nserial: 9-5\n', 2],
    ['serial: x\n', 1],
    ['serial: 99999999999999999999\n', 1],
    ['id:\n', 1],
    ['hash: SHA256:x\n', 1],
    ['ssh-ed25519 AAAA\n', 1],
    ['what\n', 1],
    [`${'x'.repeat(20_000)}\n`, 1],
  ] as const) {
    assert.throws(
      () => parseRevocations(utf8(text), '/etc/kith/revoked'),
      (error) => isKithError(error, 'ACCESS_INVALID') && error.details?.line === line && error.details?.file === '/etc/kith/revoked',
      text.slice(0, 40),
    )
  }
  const whole = Buffer.from(VECTORS.revocations.certs ?? '', 'base64')
  for (let length = 8; length < whole.length; length++) {
    // A list cut at the end of a section is a shorter list.
    try {
      parseRevocations(whole.subarray(0, length), 'krl')
    } catch (error) {
      assert.ok(isKithError(error, 'SSH_FORMAT'), String(error))
    }
  }
  const head = Buffer.concat([Buffer.from('SSHKRL\n\0', 'latin1'), u32(1), u64(1n), u64(1n), u64(0n), str(''), str('')])
  const section = (type: number, data: Uint8Array): Buffer => Buffer.concat([head, Buffer.of(type), str(data)])
  for (const [bytes, words] of [
    [Buffer.concat([head.subarray(0, 8), u32(2), head.subarray(12)]), /version/],
    [section(9, str('x')), /unknown kind/],
    [section(3, str(Buffer.alloc(19))), /wrong length/],
    [section(255, Buffer.concat([str('x@y'), Buffer.of(1), str('')])), /unknown extension/],
    [section(1, Buffer.concat([str(''), str(''), Buffer.of(0x21), str(Buffer.concat([u64(5n), u64(4n)]))])), /ends before/],
  ] as const) {
    assert.throws(
      () => parseRevocations(bytes, 'krl'),
      (error) => isKithError(error, 'SSH_FORMAT') && words.test(error.message),
    )
  }
  assert.equal(parseRevocations(section(255, Buffer.concat([str('x@y'), Buffer.of(0), str('')])), 'krl').size, 0)
})

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseAddressPatterns } from '../../../src/access/address-pattern.ts'
import { parseAuthorizedKeys } from '../../../src/access/authorized-keys.ts'
import { parseCertificate, whyNotValid } from '../../../src/access/ssh-certificate.ts'
import { parseRevocations } from '../../../src/access/ssh-revocations.ts'
import { parseToken, signToken, signTokenFor, tokenHolds } from '../../../src/access/token.ts'
import { utf8 } from '../../../src/core/bytes.ts'
import { isKithError } from '../../../src/core/errors.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { decodeBook, EMPTY_BOOK, encodeBook, tableOf } from '../../../src/daemon/access/book.ts'
import { keyFrom, lineOf, makeCertificate, NOW, NOW_S, VECTORS, vectorCertificate } from '../../access/support.ts'
import type { FuzzTarget } from '../mutate.ts'

const ANN = keyFrom(1)
const CA = keyFrom(2)
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

/** A line that counts is an Ed25519 key or an authority, and what it says limits it. */
const authorizedKeys: FuzzTarget = {
  name: 'authorized-keys',
  seeds: [
    `${lineOf(ANN)}\n# comment\n\n${lineOf(CA, 'cert-authority,principals="a,b"')}`,
    lineOf(ANN, 'restrict,from="192.0.2.0/24,!192.0.2.1",expiry-time="20270131Z",environment="A=\\"x\\""'),
    `${VECTORS.rsa}\n${lineOf(ANN, 'command="x"')}`,
  ].map(utf8),
  codes: ['ACCESS_INVALID'],
  reason: (error) => String(error.details?.reason).replaceAll(/[^a-z ]/g, ''),
  tokens: [
    'cert-authority',
    'from="',
    'principals="',
    'expiry-time="',
    'restrict',
    'no-',
    'permit-',
    'command="',
    '\\"',
    '"',
    ',',
    ' ',
    '\n',
    'ssh-ed25519 ',
    lineOf(ANN),
  ].map(utf8),
  run(input) {
    const { lines, refused } = parseAuthorizedKeys(text(input), 'keys')
    for (const { key, options, fingerprint } of lines) {
      assert.equal(key.length, 32)
      assert.match(fingerprint, /^SHA256:[A-Za-z0-9+/]{43}$/)
      assert.ok(options.certAuthority || options.principals === undefined)
    }
    return `${Math.min(3, lines.length)} ${Math.min(3, refused.length)}`
  },
}

/** What is taken was signed by its authority over every byte. */
const certificate: FuzzTarget = {
  name: 'ssh-certificate',
  seeds: [makeCertificate(CA, { key: ANN.publicKey }), ...['plain', 'source', 'forced', 'host'].map(vectorCertificate)],
  codes: ['SSH_FORMAT'],
  run(input) {
    const read = parseCertificate(input)
    return whyNotValid(read, { nowMs: NOW, address: '192.0.2.1' }) ?? 'valid'
  },
}

const krl: FuzzTarget = {
  name: 'ssh-revocations',
  seeds: [
    ...Object.values(VECTORS.revocations).map((list) => Buffer.from(list, 'base64')),
    utf8('serial: 5-9\nid: x\nSHA256:F0YtA4EZe6p9T0vW92Y8PsMvPsFJQ6lC4EhL6AGyLls\n'),
    utf8(lineOf(ANN)),
  ],
  codes: ['SSH_FORMAT', 'ACCESS_INVALID'],
  tokens: ['SSHKRL\n\0', 'serial: ', 'id: ', 'hash: ', 'SHA256:'].map((word) => Buffer.from(word, 'latin1')),
  run(input) {
    const list = parseRevocations(input, 'list')
    return `${Math.min(3, list.size)} ${list.key(ANN.publicKey)} ${list.certificate(parseCertificate(vectorCertificate('plain')))}`
  },
}

/** No text but the one that was signed comes in. */
const signed = [signToken(ANN, NOW_S), signTokenFor(ANN, 'gateway', NOW_S, seededRandom('fuzz'))]
const token: FuzzTarget = {
  name: 'access-token',
  seeds: signed.map(utf8),
  codes: [],
  tokens: ['kt2.', '-', '_', 'A'].map(utf8),
  run(input) {
    const parsed = parseToken(text(input))
    if (parsed === undefined) return 'none'
    const holds = tokenHolds(parsed, ANN.publicKey, NOW)
    if (holds) assert.ok(signed.includes(text(input)), 'a token that nobody signed')
    return `${parsed.version} ${holds}`
  },
}

const addresses: FuzzTarget = {
  name: 'address-patterns',
  seeds: ['192.0.2.0/24,!192.0.2.13', '*', '10.1.*,2001:db8::/32', '::ffff:10.0.0.0/104'].map(utf8),
  codes: [],
  arbitrary: fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('*', '10.*', '/8', '!', '?')), { maxLength: 6 }).map((parts) => utf8(parts.join(','))),
  run(input) {
    try {
      const patterns = parseAddressPatterns(text(input))
      return ['192.0.2.7', '::ffff:192.0.2.7', '2001:db8::1', 'unix'].map((address) => Number(patterns.matches(address))).join('')
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      return 'refused'
    }
  },
}

/** A book that is read is written again as the same bytes. */
const book: FuzzTarget = {
  name: 'access-book',
  seeds: [
    encodeBook(EMPTY_BOOK),
    encodeBook({
      apiKeys: [{ name: 'ci', hash: '61'.repeat(32), createdMs: NOW, expiresMs: NOW + 1, grant: { scopes: ['a'], resources: { bucket: ['read'] } } }],
      grants: [{ principal: 'known', grant: { scopes: ['b'] } }],
      lines: [lineOf(ANN)],
      revoked: ['serial: 5'],
      tokenKey: CA.publicKey,
    }),
  ],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID', 'DID_INVALID', 'ACCESS_INVALID'],
  run(input) {
    const read = decodeBook(input)
    assert.deepEqual(decodeBook(encodeBook(read)), read)
    try {
      tableOf(read)
      return 'table'
    } catch (error) {
      if (!(error instanceof TypeError) && !isKithError(error)) throw error
      return 'no table'
    }
  },
}

export const accessTargets: readonly FuzzTarget[] = [authorizedKeys, certificate, krl, token, addresses, book]

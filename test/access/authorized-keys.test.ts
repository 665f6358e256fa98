import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddressPatterns } from '../../src/access/address-pattern.ts'
import { type AuthorizedLine, parseAuthorizedKeys } from '../../src/access/authorized-keys.ts'
import { fingerprint, formatPublicKey, parsePublicKeyLine } from '../../src/access/ssh-wire.ts'
import { toHex } from '../../src/core/bytes.ts'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { keyFrom, lineOf, VECTORS } from './support.ts'

const ANN = keyFrom(1)
const BEN = keyFrom(2)

function only(line: string): AuthorizedLine {
  const { lines, refused } = parseAuthorizedKeys(line, 'keys')
  assert.deepEqual(refused, [])
  assert.equal(lines.length, 1)
  return lines[0] as AuthorizedLine
}

function reasonOf(line: string): string {
  const { lines, refused } = parseAuthorizedKeys(`# first\n\n${line}\n`, '/etc/kith/keys')
  assert.deepEqual(lines, [])
  assert.equal(refused[0]?.place, '/etc/kith/keys:3')
  return refused[0].reason
}

function fails(line: string): KithError {
  try {
    parseAuthorizedKeys(`${lineOf(BEN)}\n${line}`, '/etc/kith/keys')
  } catch (error) {
    assert.ok(isKithError(error, 'ACCESS_INVALID'), String(error))
    assert.equal(error.details?.file, '/etc/kith/keys')
    assert.equal(error.details?.line, 2)
    return error
  }
  assert.fail(`taken: ${line}`)
}

test('fingerprint of a key, is what ssh-keygen prints', () => {
  const key = parsePublicKeyLine(VECTORS.user)
  assert.equal(fingerprint(key), VECTORS.userFingerprint)
  assert.equal(formatPublicKey(key, 'user@test'), VECTORS.user)
})

test('fingerprint of the reference identity, is the known one', () => {
  const key = Buffer.from('e78c2766a792f09bfccb51493968ac322283e8d021a30063784d806929762ecc', 'hex')
  assert.equal(fingerprint(key), 'SHA256:F0YtA4EZe6p9T0vW92Y8PsMvPsFJQ6lC4EhL6AGyLls')
})

test('authorized keys with comments, blank lines and line ends of every kind, are read', () => {
  const text = `# keys\r\n\r\n${lineOf(ANN)}\r\n  \t\n   ${lineOf(BEN)}   \n#end`
  const { lines, refused } = parseAuthorizedKeys(text, 'keys')
  assert.deepEqual(refused, [])
  assert.deepEqual(
    lines.map(({ key, place, comment }) => [toHex(key), place, comment]),
    [
      [toHex(ANN.publicKey), 'keys:3', 'a comment'],
      [toHex(BEN.publicKey), 'keys:5', 'a comment'],
    ],
  )
})

test('options with quotes, spaces and commas inside, are read whole', () => {
  const { options } = only(lineOf(ANN, 'environment="A=\\"x, y\\"",from="192.0.2.0/24,!192.0.2.13",no-pty'))
  assert.equal(options.from?.text, '192.0.2.0/24,!192.0.2.13')
  assert.equal(options.certAuthority, false, 'only the option itself makes an authority')
  assert.equal(options.portForwarding, true)
})

test('a line with options, is no authority unless it says so', () => {
  for (const options of ['no-pty', 'restrict', 'from="10.0.0.0/8"', 'permit-pty'])
    assert.equal(only(lineOf(ANN, options)).options.certAuthority, false, options)
  assert.equal(only(lineOf(ANN, 'cert-authority')).options.certAuthority, true)
  assert.equal(only(lineOf(ANN, 'CERT-AUTHORITY,principals="a,b"')).options.principals?.join(' '), 'a b')
})

test('restrict and its exceptions, say whether ports are forwarded', () => {
  const may = (options: string): boolean => only(lineOf(ANN, options)).options.portForwarding
  assert.deepEqual(['no-pty', 'restrict', 'no-port-forwarding'].map(may), [true, false, false])
  assert.deepEqual(['restrict,port-forwarding', 'restrict,permit-port-forwarding', 'restrict,pty', 'no-port-forwarding,port-forwarding'].map(may), [
    true,
    true,
    false,
    false,
  ])
})

test('expiry-time, is read in UTC and in the zone of this machine', () => {
  assert.equal(only(lineOf(ANN, 'expiry-time="20270131Z"')).options.expiresMs, Date.UTC(2027, 0, 31))
  assert.equal(only(lineOf(ANN, 'expiry-time="202701311830"')).options.expiresMs, new Date(2027, 0, 31, 18, 30).getTime())
  assert.equal(only(lineOf(ANN, 'expiry-time="20270131183059Z"')).options.expiresMs, Date.UTC(2027, 0, 31, 18, 30, 59))
  for (const bad of ['2027', '20271301', '20270230', '202701312460', '20270131T', 'never']) fails(lineOf(ANN, `expiry-time="${bad}"`))
})

test('lines that would promise what is not kept, are refused with place and reason', () => {
  assert.match(reasonOf(lineOf(ANN, 'command="/bin/date"')), /^command is not taken: there is no shell/)
  assert.match(reasonOf(lineOf(ANN, 'restrict,permitopen="db:5432"')), /^permitopen is not taken/)
  assert.match(reasonOf(lineOf(ANN, 'permitlisten="8080"')), /^permitlisten is not taken/)
  assert.match(reasonOf(lineOf(ANN, 'verify-required')), /^verify-required is not taken/)
  assert.match(reasonOf(lineOf(ANN, 'principals="a"')), /cert-authority only/)
  assert.match(reasonOf(VECTORS.rsa), /only ssh-ed25519 keys count here, and this is ssh-rsa/)
  assert.match(reasonOf('sk-ssh-ed25519@openssh.com AAAA'), /only ssh-ed25519/)
})

test('malformed lines, fail the whole file with its name and their number', () => {
  const body = formatPublicKey(ANN.publicKey).split(' ')[1] ?? ''
  const bad: [line: string, words: RegExp][] = [
    ['garbage', /options|option/],
    ['ssh-ed25519', /base64/],
    ['ssh-ed25519 !!!!', /base64/],
    [`ssh-ed25519 ${body.slice(0, -4)}`, /cut off/],
    [`ssh-ed25519 ${Buffer.concat([Buffer.from(body, 'base64'), Buffer.of(0, 0, 0)]).toString('base64')}`, /follows its end/],
    [`ssh-ed25519 ${VECTORS.rsa.split(' ')[1]}`, /another kind/],
    [`ssh-ed25519 ${Buffer.concat([Buffer.from(body, 'base64').subarray(0, 19), Buffer.alloc(32)]).toString('base64')}`, /point/],
    [lineOf(ANN, 'no-such-option'), /no option "no-such-option"/],
    [lineOf(ANN, 'from='), /not written/],
    [lineOf(ANN, 'from'), /needs a value/],
    [lineOf(ANN, 'no-pty="x"'), /no value/],
    [lineOf(ANN, 'from="a",'), /comma/],
    [lineOf(ANN, 'from="1.2.3.4'), /not written|no key/],
    [lineOf(ANN, 'no-pty no-x11-forwarding'), /kind of key/],
    [lineOf(ANN, 'no-pty,no-pty'), /twice/],
    [lineOf(ANN, 'from="db.example.com"'), /never match/],
    [lineOf(ANN, 'from="!10.0.0.0/8"'), /never match/],
    [lineOf(ANN, 'from="10.0.0.0/33"'), /never match/],
    [lineOf(ANN, 'cert-authority,principals=""'), /at least one/],
    [lineOf(ANN, 'cert-authority,principals="a b"'), /without spaces/],
    [lineOf(BEN), /twice/],
    ['ssh-ed25519 \u0000', /not text|base64/],
    [`${lineOf(ANN)}${'x'.repeat(20_000)}`, /too long/],
  ]
  for (const [line, words] of bad) assert.match(fails(line).message, words, line.slice(0, 80))
})

test('addresses, match by network, wildcard and negation, in whatever form they come', () => {
  const table: [patterns: string, address: string, matches: boolean][] = [
    ['192.0.2.0/24', '192.0.2.9', true],
    ['192.0.2.0/24', '::ffff:192.0.2.9', true],
    ['192.0.2.0/24', '192.0.3.9', false],
    ['192.0.2.0/24,!192.0.2.13', '192.0.2.13', false],
    ['!192.0.2.13,192.0.2.0/24', '::ffff:192.0.2.13', false],
    ['10.1.*', '10.1.2.3', true],
    ['10.1.*', '10.11.2.3', false],
    ['10.?.0.1', '10.7.0.1', true],
    ['10.?.0.1', '10.17.0.1', false],
    ['*', '2001:db8::1', true],
    ['2001:db8::/32', '2001:db8:1::1', true],
    ['2001:DB8::1', '2001:db8::1', true],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['::ffff:192.0.2.1', '192.0.2.1', true],
    ['192.0.2.0/24', 'unix', false],
    ['*', '', false],
  ]
  for (const [patterns, address, matches] of table) assert.equal(parseAddressPatterns(patterns).matches(address), matches, `${patterns} ${address}`)
  assert.equal(parseAddressPatterns('*1*1*1*1*1*1*1*1*1*1*1*1*1*1*1*2').matches('1'.repeat(3)), false)
  assert.throws(() => parseAddressPatterns('10.1.*', { wildcards: false }), TypeError)
})

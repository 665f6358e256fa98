import assert from 'node:assert/strict'
import { utf8 } from '../../../src/core/bytes.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { judgeConditions } from '../../../src/site/conditions.ts'
import { BodySkipper } from '../../../src/site/http/body.ts'
import { HeadReader } from '../../../src/site/http/head.ts'
import { readTarget } from '../../../src/site/http/target.ts'
import { multipart, parseRanges } from '../../../src/site/ranges.ts'
import { readRequest } from '../../../src/site/request.ts'
import { ClientHelloReader, readClientHello } from '../../../src/transport/front/client-hello.ts'
import { sshOrHttp } from '../../../src/transport/front/first-bytes.ts'
import { checkLinkCertificate, makeLinkCertificate } from '../../../src/transport/tls/certificate.ts'
import { formatWssAddress, parseWssAddress } from '../../../src/transport/wss/address.ts'
import type { FuzzTarget } from '../mutate.ts'

const NOW = Date.parse('2026-06-01T00:00:00Z')
const signer = createSigner('link', randomSeed(systemRandom))
const PLACE = { encrypted: true, localAddress: '192.0.2.1', localPort: 443 }

/** Nothing but an untouched certificate of the one form gives a key, and then it is its own. */
const certificate: FuzzTarget = {
  name: 'link-certificate',
  seeds: [makeLinkCertificate(signer, NOW, systemRandom), makeLinkCertificate(signer, NOW - 864_000_000, systemRandom)],
  codes: ['HANDSHAKE_FAILED'],
  run(input) {
    assert.deepEqual(checkLinkCertificate(input, NOW), signer.publicKey)
    return 'good'
  },
}

/** A ClientHello is read the same whole and cut: what is complete stays what it is, and a beginning of it never says something else. */
const hello: FuzzTarget = {
  name: 'client-hello',
  seeds: [
    // Random, a session, one suite; names "a.example", groups 11ec and 001d, protocols icn/1 and h2.
    helloOf('0000000e000c000009612e6578616d706c65000a0006000411ec001d0010000b00090569636e2f31026832'),
    helloOf(''),
  ],
  codes: [],
  run(input) {
    const read = readClientHello(input)
    const pieces = new ClientHelloReader()
    const cut = pieces.read(input.subarray(0, Math.floor(input.length / 2)))
    if (cut === 'incomplete') assert.deepEqual(pieces.read(input), read)
    if (typeof cut === 'object') assert.deepEqual(read, cut)
    if (cut === undefined) assert.equal(read, undefined)
    if (typeof read !== 'object') return String(read)
    return `${read.alpn.length > 0} ${read.groups.length > 0} ${read.serverName !== undefined}`
  },
}

function helloOf(extensions: string): Uint8Array {
  const body = Buffer.from(`0303${'11'.repeat(32)}00000213010100${(extensions.length / 2).toString(16).padStart(4, '0')}${extensions}`, 'hex')
  const record = Buffer.concat([Buffer.of(1, 0, body.length >> 8, body.length & 255), body])
  return Buffer.concat([Buffer.of(0x16, 3, 1, record.length >> 8, record.length & 255), record])
}

/** In whatever pieces a head comes, the outcome and the place where it ended are the same; what comes out of it holds no line's end. */
const head: FuzzTarget = {
  name: 'site-head',
  seeds: [
    'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'POST /a%20b?c=d HTTP/1.0\r\nHost: a:1\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc',
    'HEAD https://example.org:8443/x?y#z HTTP/1.1\nHost: b\nRange: bytes=0-1\nTransfer-Encoding: chunked\n\n',
    'GET /\r\n',
  ].map((text) => utf8(text)),
  codes: [],
  tokens: ['\r\n', '\n', 'HTTP/1.1', ' ', ':', 'Host: a\r\n', '%', '..', '/', '\0', 'https://', '['].map((text) => utf8(text)),
  run(input) {
    const read = (step: number): { at: number; outcome: unknown; reader: HeadReader } => {
      const reader = new HeadReader()
      for (let at = 0; at < input.length; at += step) {
        const piece = input.subarray(at, at + step)
        const fed = reader.feed(piece, 0)
        if (fed.outcome !== 'more') return { at: at + fed.at, outcome: fed.outcome, reader }
      }
      return { at: input.length, outcome: 'more', reader }
    }
    const [whole, bytewise] = [read(Math.max(1, input.length)), read(1)]
    assert.deepEqual([bytewise.at, bytewise.outcome], [whole.at, whole.outcome])
    if (whole.outcome !== 'done') return String(whole.outcome)
    const request = readRequest(whole.reader.head, PLACE)
    if (typeof request === 'number') return `done ${request}`
    assert.doesNotMatch(`${request.origin}${request.target}`, /[\0\r\n]/)
    assert.ok(request.body === 'chunked' || (Number.isSafeInteger(request.body) && request.body >= 0))
    return `request ${request.method.length > 4} ${request.version}`
  },
}

/** However it is written, a path stays below the root. */
const target: FuzzTarget = {
  name: 'site-target',
  seeds: ['/a/b/../c?d', '/%2e%2e/x', '/./..//%2f%3f#e', '/..'].map((text) => utf8(text)),
  codes: [],
  tokens: ['..', '/', '%2e', '%2f', '%25', '?', '#', '.', '%00', '\\'].map((text) => utf8(text)),
  run(input) {
    const text = `/${Buffer.from(input).toString('latin1')}`
    const read = readTarget(text)
    if (read === undefined) return 'refused'
    assert.equal(read.path[0], 0x2f)
    assert.ok(!read.path.includes(0))
    const segments = read.path.toString('latin1').split('/')
    assert.ok(!segments.some((segment) => segment === '..' || segment === '.'), text)
    return `${read.query !== undefined}`
  },
}

/** A body ends at the same byte in whatever pieces it comes. */
const body: FuzzTarget = {
  name: 'site-body',
  seeds: ['3\r\nabc\r\n0\r\n\r\nrest', 'a;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n', '0\n\n'].map((text) => utf8(text)),
  codes: [],
  tokens: ['\r\n', '0', 'f', ';', '\n'].map((text) => utf8(text)),
  run(input) {
    const read = (step: number): string => {
      const skipper = new BodySkipper('chunked')
      for (let at = 0; at < input.length; at += step) {
        const end = skipper.feed(input.subarray(at, at + step), 0)
        if (end === undefined) return 'none'
        if (skipper.done) return `done ${at + end}`
      }
      return 'more'
    }
    const whole = read(Math.max(1, input.length))
    assert.equal(read(1), whole)
    return whole.slice(0, 4)
  },
}

/** Ranges lie in the file, and the parts are as long as the head says. */
const ranges: FuzzTarget = {
  name: 'site-ranges',
  seeds: ['0-1', '-5,2-', '0-,0-', '99-100, 3 - 4'].map((text) => utf8(text)),
  codes: [],
  run(input) {
    const text = Buffer.from(input).toString('latin1')
    judgeConditions(() => text, { size: 54, modified: 1_700_000_000 })
    const read = parseRanges(`bytes=${text}`, 54)
    if (typeof read === 'string') return read
    for (const { start, end } of read) assert.ok(start >= 0 && start < end && end <= 54)
    const plan = multipart(read, 54, 'text/plain', '1')
    const length = plan.parts.reduce((sum, part) => sum + ('start' in part ? part.end - part.start : part.length), 0)
    assert.equal(plan.length, length)
    return String(Math.min(3, read.length))
  },
}

const token = Buffer.alloc(24, 5)

const address: FuzzTarget = {
  name: 'wss-address',
  seeds: [formatWssAddress({ host: 'node.example', port: 443 }, token), formatWssAddress({ host: '2001:db8::1', port: 1 }, token, Buffer.alloc(32, 9))].map(
    (text) => utf8(text),
  ),
  codes: ['ADDRESS_INVALID'],
  tokens: ['wss://', '/', '?pin=', '[', ']', ':', '@'].map((text) => utf8(text)),
  run(input) {
    const text = Buffer.from(input).toString('latin1')
    const read = parseWssAddress(text)
    assert.deepEqual(parseWssAddress(formatWssAddress(read, read.token, read.pin)), read)
    return String(read.pin !== undefined)
  },
}

/** What begins an SSH connection never becomes the site's later, nor the other way round. */
const firstBytes: FuzzTarget = {
  name: 'front-first-bytes',
  seeds: ['SSH-2.0-OpenSSH_9.2\r\n', 'GET / HTTP/1.1\r\n', 'SSH-1.99-x'].map((text) => utf8(text)),
  codes: [],
  run(input) {
    if (input.length === 0) return 'nothing'
    const bytes = Buffer.from(input)
    const whole = sshOrHttp(bytes)
    for (let length = 1; length < Math.min(12, bytes.length); length++) {
      const early = sshOrHttp(bytes.subarray(0, length))
      if (early !== undefined) assert.equal(early, whole)
    }
    return String(whole)
  },
}

export const frontTargets: readonly FuzzTarget[] = [certificate, hello, head, target, body, ranges, address, firstBytes]

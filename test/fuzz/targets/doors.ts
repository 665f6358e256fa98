import assert from 'node:assert/strict'
import { utf8 } from '../../../src/core/bytes.ts'
import { KithError } from '../../../src/core/errors.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { AccountKey } from '../../../src/site/acme/account-key.ts'
import { parseIdentifier } from '../../../src/site/acme/identifiers.ts'
import { keyPem, makeKey, makeSelfSigned } from '../../../src/site/acme/x509.ts'
import { readCertificate } from '../../../src/site/certificate-file.ts'
import type { AcmeState, CertificateStore } from '../../../src/site/certificate-store.ts'
import { CertificateKeeper } from '../../../src/site/certificates.ts'
import type { ProxyBytes } from '../../../src/transport/proxy/bytes.ts'
import { httpConnectHop } from '../../../src/transport/proxy/http-connect.ts'
import { socksHop } from '../../../src/transport/proxy/socks.ts'
import { parseProxy } from '../../../src/transport/proxy.ts'
import type { FuzzTarget } from '../mutate.ts'

const TARGET = { host: 'db.example', port: 5432 }

/** A proxy that says the input, whatever it hears. */
class Said implements ProxyBytes {
  readonly #input: Buffer
  at = 0

  constructor(input: Uint8Array) {
    this.#input = Buffer.from(input)
  }

  write(): void {}

  async read(length: number): Promise<Buffer> {
    assert.ok(length > 0 && length <= 512, 'no answer makes the reader wait for much')
    if (this.at + length > this.#input.length) throw new KithError('PROXY_UNREACHABLE')
    this.at += length
    return this.#input.subarray(this.at - length, this.at)
  }
}

const HOP_CODES = ['PROXY_UNREACHABLE', 'PROXY_AUTH', 'PROXY_REFUSED', 'PROXY_INVALID', 'ADDRESS_UNREACHABLE']

const socksReply: FuzzTarget = {
  name: 'proxy-socks-reply',
  seeds: [
    Uint8Array.of(0, 5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0),
    Uint8Array.of(1, 5, 2, 1, 0, 5, 0, 0, 3, 2, 0x61, 0x62, 0, 80, 1, 2, 3),
    Uint8Array.of(1, 5, 0, 5, 0, 0, 4, ...new Uint8Array(18)),
  ],
  codes: HOP_CODES,
  async run(input) {
    const bytes = new Said(input.subarray(1))
    await socksHop(bytes, parseProxy(((input[0] ?? 0) & 1) === 1 ? 'socks5://user:secret-word@proxy' : 'socks5://proxy'), TARGET)
    // Method and reply at their shortest: a bound name of no letters.
    assert.ok(bytes.at >= 9)
  },
}

const httpReply: FuzzTarget = {
  name: 'proxy-http-reply',
  seeds: [
    'HTTP/1.1 200 Connection established\r\n\r\nrest',
    'HTTP/1.0 200\r\nProxy-Agent: tinyproxy/1.11.1\r\nContent-Length: 9\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n',
  ].map(utf8),
  tokens: ['\r\n', '\n', '\r\n\r\n', 'HTTP/1.1 ', '200', '1xx', ':', '\0', ' '].map(utf8),
  codes: HOP_CODES,
  async run(input) {
    const bytes = new Said(input)
    await httpConnectHop(bytes, parseProxy('http://user:secret-word@proxy'), TARGET)
    const head = Buffer.from(input.subarray(0, bytes.at)).toString('latin1')
    assert.ok(head.endsWith('\r\n\r\n') && bytes.at <= 8_192)
    assert.match(head, /(^|\r\n\r\n)HTTP\/1\.[01] 2\d\d(?: |\r\n)/)
  },
}

const proxyUrl: FuzzTarget = {
  name: 'proxy-url',
  seeds: ['socks5://127.0.0.1:9050', 'http://user:pa%20ss@[2001:db8::1]:3128/', 'socks5h://proxy.example', 'http://u@p'].map(utf8),
  tokens: ['://', '@', ':', '%', '%40', '[', ']', '::', '/', '#', '?', 'socks5h', '65536', '0'].map(utf8),
  codes: ['ADDRESS_INVALID'],
  run(input) {
    const text = Buffer.from(input).toString('utf8')
    const proxy = parseProxy(text)
    const again = parseProxy(proxy.toString())
    assert.deepEqual([again.scheme, again.host, again.port, again.credentials], [proxy.scheme, proxy.host, proxy.port, undefined])
    assert.ok(proxy.port >= 1 && proxy.port <= 65_535 && !proxy.host.includes('@') && !/\s/.test(proxy.host))
  },
}

// ---- certificates

const START = 1_800_000_000_000
const key = makeKey()
const dates = { notBefore: START, notAfter: START + 86_400_000 }
const cert = makeSelfSigned({ identifiers: [parseIdentifier('a.example.org'), parseIdentifier('192.0.2.1')], key, random: systemRandom, ...dates })

const certificateFile: FuzzTarget = {
  name: 'certificate-file',
  seeds: [utf8(cert), utf8(cert + cert), utf8(`text before\n${cert}`)],
  tokens: ['-----BEGIN CERTIFICATE-----', '-----END CERTIFICATE-----', '\n', '=', '\0'].map(utf8),
  codes: ['CERTIFICATE_INVALID'],
  iterations: 5_000,
  run(input) {
    const read = readCertificate({ key: keyPem(key), cert: Buffer.from(input).toString('latin1'), identifiers: [parseIdentifier('a.example.org')], now: START })
    assert.ok(read.notAfter > START && read.names.every((name) => /^[\x21-\x7e]+$/.test(name)))
  },
}

const account = new AccountKey(makeKey())
const directory = { newNonce: 'https://ca/n', newAccount: 'https://ca/a', newOrder: 'https://ca/o', meta: { profiles: { x: '' } } }
const order = { status: 'valid', authorizations: [], finalize: 'https://ca/f', certificate: 'https://ca/c' }

/** `u8 which answer | u8 status | body`: an authority whose one answer is the input, the others by the book. Nothing it says is more than a failed attempt. */
const acmeAnswer: FuzzTarget = {
  name: 'acme-answer',
  seeds: [
    [0, directory],
    [2, {}],
    [3, order],
    [4, { status: 'pending', identifier: { type: 'dns', value: 'a.example.org' }, challenges: [{ type: 'http-01', url: 'https://ca/x', token: 'tok' }] }],
    [3, { type: 'urn:ietf:params:acme:error:rateLimited', detail: 'no' }],
    [6, cert],
  ].map(([which, body]) => Buffer.concat([Uint8Array.of(which as number, 0), utf8(typeof body === 'string' ? body : JSON.stringify(body))])),
  tokens: ['"status"', '"valid"', '"pending"', 'null', '[]', '{}', '"url"', '-1', 'https://', 'urn:ietf:params:acme:error:badNonce'].map(utf8),
  codes: [],
  iterations: 3_000,
  async run(input) {
    const clock = manualClock(START)
    let state: AcmeState | undefined
    const store: CertificateStore = {
      readCertificate: async () => undefined,
      writeCertificate: async () => assert.fail('a certificate for another key was kept'),
      readState: async () => state,
      writeState: async (next) => {
        state = next
      },
      readAccount: async () => undefined,
      writeAccount: async () => {},
    }
    let asked = 0
    const keeper = new CertificateKeeper({
      identifiers: [parseIdentifier('a.example.org')],
      directory: 'https://ca/d',
      contact: [],
      responder: { type: 'http-01', offer: async () => () => {} },
      async http({ url, signal }) {
        signal.throwIfAborted()
        const which = 'dnaozfc'.indexOf(url.at(-1) ?? '')
        assert.ok(++asked < 500, 'it asks on and on')
        const headers = { 'replay-nonce': 'n', location: 'https://ca/z' }
        if (which === (input[0] ?? 0) % 7)
          return { status: [200, 201, 400, 429, 500][(input[1] ?? 0) % 5] as number, headers, body: Buffer.from(input.subarray(2)) }
        const body = url.endsWith('d') ? directory : url.endsWith('c') ? cert : order
        return { status: 200, headers, body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) }
      },
      store,
      accountKey: async () => account,
      clock,
      random: systemRandom,
      logger: silentLogger,
    })
    let over = false
    const look = keeper.look().finally(() => {
      over = true
    })
    for (let turn = 0; !over && turn < 1_000; turn++) {
      await new Promise(setImmediate)
      if (clock.next !== undefined) clock.advance(clock.next)
    }
    await look
    const { error } = keeper.view
    assert.equal(error?.code, 'CERTIFICATE_FAILED')
    assert.ok(
      [...error.message].every((char) => char >= ' '),
      'nothing that moves a terminal',
    )
    assert.equal(clock.pending, 0)
    return String(error.details.type ?? error.details.reason)
  },
}

export const doorTargets: readonly FuzzTarget[] = [socksReply, httpReply, proxyUrl, certificateFile, acmeAnswer]

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { utf8 } from '../../../src/core/bytes.ts'
import { DatagramReader, encodeDatagram } from '../../../src/tunnel/datagrams.ts'
import { encodeAccepted, encodeListen, encodeListening, readListening, takeListenRequest } from '../../../src/tunnel/listen-wire.ts'
import { encodeStatus, takeConnect } from '../../../src/tunnel/socks/http.ts'
import { encodeReply, encodeUdp, takeGreeting, takeLogin, takeRequest, takeUdpHeader } from '../../../src/tunnel/socks/wire.ts'
import { isTarget } from '../../../src/tunnel/target.ts'
import type { FuzzTarget } from '../mutate.ts'

/** `u8 message | bytes of a client` before its connection carries anything else. */
const socksMessage: FuzzTarget = {
  name: 'socks-message',
  seeds: [
    Uint8Array.of(0, 5, 2, 0, 2),
    Buffer.concat([Uint8Array.of(1, 1, 3), utf8('far'), Uint8Array.of(1, 120)]),
    Uint8Array.of(2, 5, 1, 0, 1, 127, 0, 0, 1, 0, 80),
    Buffer.concat([Uint8Array.of(2, 5, 3, 0, 3, 9), utf8('db.on.far'), Uint8Array.of(21, 56)]),
    Uint8Array.of(2, 5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const bytes = Buffer.from(input.subarray(1))
    const take = [takeGreeting, takeLogin, takeRequest][(input[0] ?? 0) % 3] as (bytes: Buffer) => { value: unknown; rest: number } | undefined
    const taken = take(bytes)
    // Whatever is there decides: a message is not seen earlier or later because more bytes follow it.
    if (taken === undefined) return 'more'
    assert.ok(taken.rest <= bytes.length)
    if (take === takeRequest) {
      const { target } = (takeRequest(bytes) as NonNullable<ReturnType<typeof takeRequest>>).value
      if (target !== undefined && isTarget(target)) assert.deepEqual(takeRequest(encodeReply(1, target))?.value.target, target)
    }
    return (input[0] ?? 0) % 3
  },
}

const socksDatagram: FuzzTarget = {
  name: 'socks-datagram',
  seeds: [
    encodeUdp({ host: '127.0.0.1', port: 53 }, utf8('query')),
    encodeUdp({ host: '2001:db8::1', port: 53 }, utf8('query')),
    encodeUdp({ host: 'dns.far', port: 53 }, utf8('')),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const bytes = Buffer.from(input)
    const taken = takeUdpHeader(bytes)
    if (taken === undefined) return 'short'
    assert.ok(taken.rest <= bytes.length)
    const { target, fragment } = taken.value
    if (target === undefined || !isTarget(target)) return 'nowhere'
    assert.deepEqual(takeUdpHeader(encodeUdp(target, bytes.subarray(taken.rest)))?.value, { target, fragment: 0 })
    return fragment === 0 ? 'whole' : 'fragment'
  },
}

const connectHead: FuzzTarget = {
  name: 'connect-head',
  seeds: [
    'CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n',
    'CONNECT [::1]:80 HTTP/1.0\r\nProxy-Authorization: Basic ZmFyOng=\r\n\r\nearly',
    'GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n',
  ].map(utf8),
  codes: ['WIRE_MALFORMED'],
  tokens: [
    '\r\n',
    '\n',
    '\r',
    ' ',
    ':',
    'CONNECT',
    'HTTP/1.1',
    'Proxy-Authorization',
    'Basic',
    '=',
    '[',
    ']',
    '\0',
    '\t',
    'Transfer-Encoding: chunked',
    'Content-Length: 5',
  ].map(utf8),
  arbitrary: fc.string().map((text) => utf8(`CONNECT ${text} HTTP/1.1\r\n\r\n`)),
  run(input) {
    const taken = takeConnect(Buffer.from(input))
    if (taken === undefined) return 'more'
    const { target } = taken.value
    assert.equal(Buffer.from(input).toString('latin1', taken.rest - 4, taken.rest), '\r\n\r\n')
    if (target !== undefined) assert.ok(isTarget(target))
    assert.match(encodeStatus(403, 'refused').toString('latin1'), /^HTTP\/1\.1 403 Forbidden\r\n[^\0]*\r\n\r\nrefused\n$/)
    return target === undefined ? 'not carried' : 'connect'
  },
}

const listenRequest: FuzzTarget = {
  name: 'listen-request',
  seeds: [
    encodeListen(new Uint8Array(16).fill(1), { host: '127.0.0.1', port: 8080 }),
    encodeListen(new Uint8Array(16).fill(2), { host: 'unix:/run/a.sock', port: 0 }),
    encodeListen(new Uint8Array(16).fill(3), { host: '::1', port: 0 }),
    encodeAccepted(new Uint8Array(16).fill(4)),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const taken = takeListenRequest(input)
    if (taken === undefined) return 'more'
    const { request, rest } = taken
    const again = request.kind === 'listen' ? encodeListen(request.token, request.target) : encodeAccepted(request.token)
    assert.deepEqual(again, new Uint8Array(input.subarray(0, rest)))
    return request.kind
  },
}

const listenAnswer: FuzzTarget = {
  name: 'listen-answer',
  seeds: [encodeListening(8080)],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const port = readListening(input.subarray(0, 3))
    assert.deepEqual(encodeListening(port), new Uint8Array(input.subarray(0, 3)))
    return 'port'
  },
}

/** `u8 step | frames`, cut into pieces of that size: the same datagrams come out, whatever the pieces. */
const datagramFrames: FuzzTarget = {
  name: 'datagram-frames',
  seeds: [
    Buffer.concat([Uint8Array.of(3), encodeDatagram({ host: '127.0.0.1', port: 53 }, utf8('query')) as Buffer]),
    Buffer.concat([
      Uint8Array.of(200),
      encodeDatagram({ host: 'dns.example', port: 53 }, utf8('')) as Buffer,
      encodeDatagram({ host: '::1', port: 1 }, Buffer.alloc(300)) as Buffer,
    ]),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const frames = Buffer.from(input.subarray(1))
    const step = 1 + (input[0] ?? 0)
    const pieces: Buffer[] = []
    const reader = new DatagramReader((datagram) => pieces.push(encodeDatagram(datagram, datagram.payload) as Buffer))
    for (let at = 0; at < frames.length; at += step) reader.push(frames.subarray(at, at + step))
    const joined = Buffer.concat(pieces)
    assert.deepEqual(joined, frames.subarray(0, joined.length))
    return Math.min(pieces.length, 3)
  },
}

export const tunnelTargets: readonly FuzzTarget[] = [socksMessage, socksDatagram, connectHead, listenRequest, listenAnswer, datagramFrames]

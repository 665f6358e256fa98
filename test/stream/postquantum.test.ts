import assert from 'node:assert/strict'
import test from 'node:test'
import { concat, toHex, utf8 } from '../../src/core/bytes.ts'
import { encapsulate, generateMlKem768 } from '../../src/core/crypto/mlkem.ts'
import { type ErrorCode, isKithError } from '../../src/core/errors.ts'
import { keySlabUse } from '../../src/core/key-slab.ts'
import { dial } from '../../src/stream/dial.ts'
import { EncryptedStream } from '../../src/stream/encrypted-stream.ts'
import { dialEnd, dialStart, listenEnd, listenStart } from '../../src/stream/handshake.ts'
import { listen } from '../../src/stream/listen.ts'
import { PREFACE_BYTES, postQuantumDialer, postQuantumListener } from '../../src/stream/postquantum.ts'
import { postQuantumSchedule } from '../../src/stream/postquantum-schedule.ts'
import { SummaryLabel } from '../../src/stream/transcript.ts'
import { byteByByte, duplexPair } from './duplex-pair.ts'
import { configs, connect, hex, signerOf, vectors } from './fixtures.ts'
import { channels, flipStep, link, preface, streams, text } from './link-preface.ts'
import { knownBytes } from './seeded-rng.ts'

const code = (expected: ErrorCode) => (error: unknown) => isKithError(error, expected) || assert.fail(`expected ${expected}, got ${String(error)}`)

let leasedBefore = 0
test.beforeEach(() => {
  leasedBefore = keySlabUse().leased
})
test.afterEach(() => assert.equal(keySlabUse().leased, leasedBefore, 'every session key is released'))

test('key schedule, the vector of PN-3, matches', () => {
  const vector = vectors.handshake[2]
  assert.ok(vector?.name === 'application example')
  const dialer = signerOf(hex(vector.dialer_ed25519_seed))
  const listener = signerOf(hex(vector.listener_ed25519_seed))
  const common = { namespace: utf8(vector.namespace), earliest: vector.dialer_time_ms, latest: vector.listener_time_ms + 1 }
  const random = (text: string) => knownBytes(hex(text))
  const dialing = dialStart({
    ...common,
    signer: dialer,
    peer: listener.publicKey,
    random: random(vector.dialer_x25519_secret),
    now: vector.dialer_time_ms,
  })
  const listening = listenStart(
    { ...common, signer: listener, peer: dialer.publicKey, random: random(vector.listener_x25519_secret), now: vector.listener_time_ms },
    dialing.syn,
  )
  const { ack, established } = dialEnd(dialing, listening.synAck)
  const other = listenEnd(listening, ack)
  const plain = new Uint8Array(32)
  new SummaryLabel('fork', 'icn/channel-binding/v1').derive(plain, established.summary.bytes)
  assert.equal(toHex(plain), '6707fb78f094ce3df164940c78c6300527b3c16b69ca11efecca8a3f94fd9762')
  const offer = concat(Uint8Array.of(0x4b, 1, 1), new Uint8Array(1184).fill(5))
  const answer = concat(Uint8Array.of(0x4b, 2, 1), new Uint8Array(1088).fill(6))
  const schedule = postQuantumSchedule(established.summary.bytes, offer, answer, new Uint8Array(32).fill(7))
  assert.equal(toHex(schedule.keyL2d.bytes), '22db15832a6059a4e26d804a5ebdcdb90f2b54988071aea5804a5ad80ce2cf37')
  assert.equal(toHex(schedule.keyD2l.bytes), '281b5a4ec6417aa59a6816e70555b88a251862183b76ea29f6c545a105e017ef')
  assert.equal(toHex(schedule.confirmationL2d), 'aa9e6a59c84c4ba917ae4e085a9d3829c735473f1c2a88bcaafa5645d2201a4b')
  assert.equal(toHex(schedule.confirmationD2l), '9b4ed185b7020a68ee8066a7a61ba1fe8ba121e09d663bf0c0dfb8cd3bdfbd83')
  assert.equal(toHex(schedule.channelBinding), '7898ab460447bbdf9ec27bd37b97751d53c745ace51576f0d20493278b09bf1d')
  assert.deepEqual(Buffer.from(established.summary.bytes), Buffer.alloc(32), 'the first summary is wiped')
  for (const lease of [schedule.keyD2l, schedule.keyL2d]) lease.release()
  for (const e of [established, other]) for (const lease of [e.sendKey, e.receiveKey, e.summary]) lease.release()
})

for (const [name, options] of [
  ['whole chunks', {}],
  ['a byte at a time', { a2b: byteByByte, b2a: byteByByte }],
] as const) {
  test(`preface and pipe, ${name}, run through`, async () => {
    const { d, l } = await channels(options)
    assert.throws(() => d.channelBinding, TypeError)
    assert.throws(() => l.channelBinding, TypeError)
    await preface(d, l)
    const a = d.toPipe()
    const b = l.toPipe()
    const got: string[] = []
    const arrived: PromiseWithResolvers<void> = Promise.withResolvers()
    b.onData = (data, start, end) => {
      got.push(data.toString('utf8', start, end))
      if (got.join('').length === 10) arrived.resolve()
    }
    b.start()
    a.start()
    a.write(utf8('0123456789'), 0, 10)
    await arrived.promise
    assert.equal(got.join(''), '0123456789')
    const closed = Promise.all([d.closed, l.closed])
    a.close()
    await closed
  })
}

test('preface, messages on the wire, are the ones of PN-3 in their order and in few writes', async () => {
  const pair = duplexPair()
  const { dialing, listening } = configs()
  const [d, l] = await Promise.all([
    dial(pair.a, { ...dialing, ...link }).then((stream) => {
      const channel = postQuantumDialer(stream)
      channel.send(utf8('hello d'))
      return channel
    }),
    listen(pair.b, { ...listening, ...link }).then(postQuantumListener),
  ])
  await preface(d, l, true)
  const tag = 16
  // Key frame and Syn; Ack, OFFER and the first message; DONE and the proof.
  const offer = 2 + 3 + 1184 + tag
  assert.deepEqual(
    pair.written.a.map((chunk) => chunk.length),
    [33 + 105, 33 + offer + 1 + 7 + tag, 1 + 35 + tag + 1 + 7 + tag],
  )
  // SynAck; ANSWER, hello and proof; verdict.
  assert.deepEqual(
    pair.written.b.map((chunk) => chunk.length),
    [138, 2 + 3 + 1088 + 32 + tag + 2 * (1 + 7 + tag), 1 + 7 + tag],
  )
  await Promise.all([d.close(), l.close()])
})

test('dialer, more than one message before the answer, holds the rest back until the step is through', async () => {
  const { d, l } = await channels()
  for (const message of ['one', 'two', 'three']) d.send(utf8(message))
  for (const message of ['one', 'two', 'three']) assert.equal(text(await l.receive()), message)
  l.send(utf8('back'))
  assert.equal(text(await d.receive()), 'back')
  await Promise.all([d.close(), l.close()])
})

test('listener, a message before the offer, waits for the answer', async () => {
  const { dialer, listener } = await streams()
  const l = postQuantumListener(listener)
  l.send(utf8('early'))
  const d = postQuantumDialer(dialer)
  assert.equal(text(await d.receive()), 'early')
  await Promise.all([d.close(), l.close()])
})

test('pipe data, right behind the last message, is left for the pipe', async () => {
  const { d, l } = await channels()
  d.send(utf8('hello d'))
  await l.receive()
  l.send(utf8('hello l'))
  await d.receive()
  d.send(utf8('proof d'))
  const a = d.toPipe()
  const data = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 13) & 255))
  a.write(data, 0, data.length)
  a.start()
  assert.equal(text(await l.receive()), 'proof d')
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  l.send(utf8('verdict'))
  const b = l.toPipe()
  const got: Buffer[] = []
  let length = 0
  const arrived: PromiseWithResolvers<void> = Promise.withResolvers()
  b.onData = (bytes, start, end) => {
    got.push(Buffer.from(bytes.subarray(start, end)))
    length += end - start
    if (length === data.length) arrived.resolve()
  }
  b.start()
  await arrived.promise
  assert.ok(Buffer.concat(got).equals(data))
  a.close()
  await Promise.all([d.closed, l.closed])
})

test('pipe, before the step is through or twice, is a TypeError', async () => {
  const { d, l } = await channels()
  assert.throws(() => d.toPipe(), TypeError)
  assert.throws(() => l.toPipe(), TypeError)
  await preface(d, l)
  d.toPipe()
  assert.throws(() => d.toPipe(), TypeError)
  assert.throws(() => d.send(utf8('x')), TypeError)
  await assert.rejects(d.receive(), TypeError)
  const gone = l.closed
  d.close()
  await Promise.all([gone, l.close(), d.closed])
})

test('send, beyond the preface limit or like a message of the step, is refused', async () => {
  const { d, l } = await channels()
  assert.throws(() => d.send(Buffer.alloc(PREFACE_BYTES + 1)), code('MESSAGE_TOO_LARGE'))
  assert.throws(() => d.send(Uint8Array.of(0x4b, 0x03, 0x01)), TypeError)
  assert.throws(() => d.send('x' as unknown as Uint8Array), TypeError)
  d.send(Buffer.alloc(20_000))
  assert.equal((await l.receive()).length, 20_000)
  assert.throws(() => d.send(Buffer.alloc(13_000)), code('MESSAGE_TOO_LARGE'))
  await Promise.all([d.close(), l.close()])
  assert.throws(() => d.send(utf8('x')), code('CLOSED'))
  await assert.rejects(d.receive(), code('CLOSED'))
})

test('claim, of the wrong role, a small limit or a stream in use, is a TypeError', async () => {
  const { dialer, listener } = await streams()
  assert.throws(() => postQuantumListener(dialer), TypeError)
  assert.throws(() => postQuantumDialer(listener), TypeError)
  const d = postQuantumDialer(dialer)
  assert.throws(() => postQuantumDialer(dialer), TypeError)
  const small = await connect(duplexPair(), { dialing: { maxMessageBytes: 65_535 }, listening: { maxMessageBytes: 65_535 } })
  assert.throws(() => postQuantumDialer(small.dialer), TypeError)
  await Promise.all([small.dialer.close(), small.listener.close(), d.close(), listener.close()])
})

test('receive, the other side gone, is a lost link', async () => {
  const { d, l } = await channels()
  const waiting = d.receive()
  l.close()
  await assert.rejects(waiting, code('LINK_LOST'))
  await Promise.all([d.close(), l.closed])
})

test('receive, an abort, rejects with the reason and loses nothing', async () => {
  const { d, l } = await channels()
  const abort = new AbortController()
  const waiting = l.receive({ signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  d.send(utf8('later'))
  assert.equal(text(await l.receive()), 'later')
  await Promise.all([d.close(), l.close()])
})

// Hostile peers that speak the encrypted stream but not the step.

const offerOf = (key: Uint8Array): Uint8Array => concat(Uint8Array.of(0x4b, 1, 1), key)

for (const [name, message] of [
  ['an ordinary message', () => utf8('hello')],
  ['an offer one byte short', () => offerOf(generateMlKem768().encapsulationKey).subarray(0, 1186)],
  ['an offer one byte long', () => concat(offerOf(generateMlKem768().encapsulationKey), Uint8Array.of(0))],
  ['an offer of another version', () => concat(Uint8Array.of(0x4b, 1, 2), generateMlKem768().encapsulationKey)],
  ['an offer whose key fails the modulus check', () => offerOf(new Uint8Array(1184).fill(0xff))],
  ['a DONE', () => concat(Uint8Array.of(0x4b, 3, 1), new Uint8Array(32))],
  ['nothing at all', () => new Uint8Array(0)],
] as const) {
  test(`listener, first ${name}, fails the step`, async () => {
    const { dialer, listener } = await streams()
    const l = postQuantumListener(listener)
    dialer.send(message())
    await assert.rejects(l.receive(), code('LINK_PQ_FAILED'))
    await Promise.all([dialer.close(), l.closed])
  })
}

test('listener, a second message before DONE, fails the step', async () => {
  const { dialer, listener } = await streams()
  const l = postQuantumListener(listener)
  dialer.sendMany([offerOf(generateMlKem768().encapsulationKey), utf8('one'), utf8('two')])
  assert.equal(text(await l.receive()), 'one')
  await assert.rejects(l.receive(), code('LINK_PQ_FAILED'))
  await Promise.all([dialer.close(), l.closed])
})

test('listener, a DONE with a wrong confirmation, fails the step', async () => {
  const { dialer, listener } = await streams()
  const l = postQuantumListener(listener)
  dialer.sendMany([offerOf(generateMlKem768().encapsulationKey), utf8('one'), concat(Uint8Array.of(0x4b, 3, 1), new Uint8Array(32))])
  assert.equal(text(await l.receive()), 'one')
  await assert.rejects(l.receive(), code('LINK_PQ_FAILED'))
  await Promise.all([dialer.close(), l.closed])
})

test('listener, too much before the pipe, fails the step', async () => {
  const { dialer, listener } = await streams()
  const l = postQuantumListener(listener)
  dialer.sendMany([offerOf(generateMlKem768().encapsulationKey), Buffer.alloc(PREFACE_BYTES - 1_000)])
  await assert.rejects(l.receive(), code('LINK_PQ_FAILED'))
  await Promise.all([dialer.close(), l.closed])
})

test('dialer, an answer with any byte wrong, fails the step', async () => {
  // A listener that answers correctly but for one byte: prefix, ciphertext (rejected implicitly) or confirmation.
  const places = [0, 1, 2, 3, 4, 500, 1_000, 1_089, 1_090, 1_091, 1_092, 1_100, 1_122]
  for (const at of [undefined, ...places]) {
    const { dialer, listener } = await streams()
    const d = postQuantumDialer(dialer)
    const offer = (await receiveRaw(listener)) as Uint8Array
    const session = EncryptedStream.session(listener)
    const summary = session.takeSummary()
    assert.ok(summary)
    const { ciphertext, sharedSecret } = encapsulate(offer.subarray(3))
    const head = concat(Uint8Array.of(0x4b, 2, 1), ciphertext)
    const schedule = sharedSecret.use((bytes) => postQuantumSchedule(summary.bytes, offer, head, bytes))
    sharedSecret.wipe()
    summary.release()
    const answer = concat(head, schedule.confirmationL2d)
    if (at !== undefined) answer[at] = (answer[at] as number) ^ 0x10
    session.sender.message(answer)
    session.rekeySending(schedule.keyL2d)
    session.sender.message(utf8('hello'))
    schedule.keyD2l.release()
    if (at === undefined) assert.equal(text(await d.receive()), 'hello')
    else await assert.rejects(d.receive(), code('LINK_PQ_FAILED'), `byte ${at}`)
    session.destroy(null)
    d.close()
    await d.closed
  }
})

const receiveRaw = (stream: EncryptedStream): Promise<Uint8Array | undefined> => stream.receive()

for (const [name, message] of [
  ['an ordinary message', utf8('hello')],
  ['an answer cut short', concat(Uint8Array.of(0x4b, 2, 1), new Uint8Array(1119))],
  ['an offer', concat(Uint8Array.of(0x4b, 1, 1), new Uint8Array(1184))],
] as const) {
  test(`dialer, ${name} in place of the answer, fails the step`, async () => {
    const { dialer, listener } = await streams()
    const d = postQuantumDialer(dialer)
    listener.send(message)
    await assert.rejects(d.receive(), code('LINK_PQ_FAILED'))
    await Promise.all([listener.close(), d.closed])
  })
}

test('man in the middle, bytes of the step flipped, are noticed', { timeout: 60_000 }, () => flipStep(23))

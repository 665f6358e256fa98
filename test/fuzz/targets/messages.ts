import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { equal } from '../../../src/core/bytes.ts'
import { encode } from '../../../src/core/codec.ts'
import { KithError } from '../../../src/core/errors.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { decodeEnvelope, type Envelope, type EnvelopeFields, signEnvelope } from '../../../src/mesh/messages/envelope.ts'
import { Inbound } from '../../../src/mesh/messages/inbound.ts'
import { framed } from '../../../src/mesh/messages/live-frames.ts'
import { askPapers, papersAnswer, papersRequest, servePapers } from '../../../src/mesh/messages/papers-protocol.ts'
import { NOW } from '../../mesh/fixtures.ts'
import { codeOf, envelopeOf, knownTo, linkTogether, outcome, type Station, station } from '../../messages/messages-support.ts'
import { settledWithin } from '../conversation.ts'
import { FakeStream } from '../fake-stream.ts'
import type { FuzzTarget } from '../mutate.ts'

const TURNS = 12
const KINDS = ['live', 'stored', 'record'] as const
const ann = await station('ann', { mldsa: true })
const ben = await station('ben')
await knownTo(ben, ann)
const session = linkTogether(ann, ben)
const valid = KINDS.map((kind) => envelopeOf(ann, ben, kind))
const hybrid = envelopeOf(ann, ben, 'record', { suite: 'hybrid' })

function fieldsOfDecoded(envelope: Envelope): EnvelopeFields {
  const { suite, from, device, timeMs, type, payload, to, topic, name, epoch, seq, expiresMs } = envelope
  const common = { suite, from, device, timeMs, type, payload }
  if (envelope.class === 'record') return { ...common, class: 'record', topic, epoch, seq }
  return envelope.class === 'live' ? { ...common, class: 'live', to, session: name, seq } : { ...common, class: 'stored', to, msgId: name, expiresMs }
}

/** Whatever decodes is the one encoding of what it says. */
const envelopes: FuzzTarget = {
  name: 'envelope',
  seeds: [...valid, hybrid],
  codes: ['WIRE_MALFORMED', 'VERSION_UNSUPPORTED'],
  run(input) {
    const envelope = decodeEnvelope(input)
    const { linkSigner, mldsaSigner } = ann.node.device
    const again = signEnvelope(fieldsOfDecoded(envelope), { ed25519: linkSigner, mldsa: mldsaSigner })
    assert.ok(equal(again.subarray(0, envelope.bodyLength), envelope.body))
    return `${envelope.class} ${envelope.suite}`
  },
  iterations: 15_000,
  maxBytes: 4_096,
}

async function verify(at: Station, bytes: Uint8Array): Promise<string> {
  const carrier = { peer: ann.did, device: ann.device }
  const arrival = { carrier, suite: 'ed25519', protocol: 'fuzz' } as const
  const envelope = decodeEnvelope(bytes)
  if (envelope.class === 'record') {
    await outcome(() => at.verifier.record(bytes, 'test:topic', arrival))
  } else if (envelope.class === 'live') {
    await outcome(() => at.verifier.live(at.verifier.decode(bytes, 'live'), { ...arrival, session }))
  } else {
    const check = await outcome(() => at.verifier.stored(bytes, arrival))
    check.release()
  }
  return envelope.class
}

/** Nothing but what was signed is accepted, and what was not costs the signer nothing. */
const verifier: FuzzTarget = {
  name: 'envelope-verifier',
  seeds: [...valid, hybrid],
  codes: ['WIRE_MALFORMED', 'VERSION_UNSUPPORTED', 'DEVICE_UNKNOWN', 'SIGNATURE_INVALID', 'BINDING_EXPIRED', 'NOT_FOR_US', 'REPLAYED', 'RATE_LIMITED'],
  reason: (error) => error.code,
  async run(input) {
    const before = ben.rates.left(ann.did)
    const signed = [...valid, hybrid].some((bytes) => equal(bytes, input))
    const code = await codeOf(() => verify(ben, input))
    if (code === 'none') assert.ok(signed, 'something was accepted that nobody signed')
    else if (!signed) assert.equal(ben.rates.left(ann.did), before, 'the victim paid for it')
    ben.conduct.reports.length = 0
    if (signed && code === 'none') return 'accepted'
    return await verify(ben, input)
  },
  iterations: 4_000,
  maxBytes: 4_096,
}

/** Frames in pieces of any size are the frames that were sent. */
const liveStream: FuzzTarget = {
  name: 'live-stream',
  seeds: [
    Buffer.concat([Uint8Array.of(1), framed(valid)]),
    Buffer.concat([Uint8Array.of(7), framed([hybrid, ...valid])]),
    Buffer.concat([Uint8Array.of(255), framed([new Uint8Array(0), valid[0] as Uint8Array])]),
  ],
  codes: [],
  run(input) {
    const stream = new FakeStream()
    const frames: Uint8Array[] = []
    let malformed = 0
    const inbound = new Inbound(stream, {
      limit: () => 8_192,
      deliver: (frame, done) => {
        frames.push(frame)
        done()
        done()
      },
      onMalformed: () => void malformed++,
      onClose: () => undefined,
    })
    const body = input.subarray(1)
    stream.feed(body, (input[0] ?? 0) + 1)
    stream.close()
    stream.onClose()
    assert.ok(equal(framed(frames), body.subarray(0, framed(frames).length)), 'a frame was changed')
    assert.ok(malformed <= 1)
    if (stream.resetNumber === undefined) assert.equal(framed(frames).length, body.length)
    inbound.reset(new KithError('CLOSED'))
    assert.ok(stream.resetNumber !== new KithError('CLOSED').number, 'it was reset after its end')
    return `${Math.min(frames.length, 3)} ${stream.resetNumber ?? 'end'} ${malformed}`
  },
  iterations: 8_000,
}

/** A stream on which the other side says just this. */
function said(input: Uint8Array): { stream: Duplex; written: Buffer[] } {
  const written: Buffer[] = []
  const stream = new Duplex({
    read() {
      this.push(Buffer.from(input))
      this.push(null)
    },
    write(chunk, _encoding, done) {
      written.push(Buffer.from(chunk))
      done()
    },
  })
  return { stream, written }
}

const annPapers = ann.papers()
const request = encode(papersRequest, { _version: undefined, did: ann.node.device.didKey, device: ann.device, haveIndex: 0xffff_ffff })
const papersRequests: FuzzTarget = {
  name: 'papers-request',
  seeds: [request],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID'],
  async run(input) {
    const clock = manualClock(NOW)
    const { stream, written } = said(input)
    const serving = servePapers(stream, { clock, papersOf: async (did, device) => (did === ann.did && equal(device, ann.device) ? annPapers : undefined) })
    assert.ok(await settledWithin(serving, TURNS), 'it goes on without need')
    assert.equal(clock.pending, 0)
    await serving
    return String(Buffer.concat(written).length)
  },
  iterations: 3_000,
}

const papersAnswers: FuzzTarget = {
  name: 'papers-answer',
  seeds: [
    encode(papersAnswer, { _version: undefined, binding: ben.papers().binding, chain: ben.papers().chain }),
    encode(papersAnswer, { _version: undefined, binding: new Uint8Array(0), chain: new Uint8Array(0) }),
  ],
  codes: ['WIRE_MALFORMED', 'BINDING_INVALID', 'BINDING_EXPIRED', 'BINDING_STALE', 'CHAIN_INVALID', 'CHAIN_STALE', 'CHAIN_FORKED'],
  async run(input) {
    const clock = manualClock(NOW)
    const { stream } = said(input)
    const asking = askPapers(stream, { did: ben.did, device: ben.device, haveIndex: undefined, clock })
    assert.ok(await settledWithin(asking, TURNS), 'it goes on without need')
    assert.equal(clock.pending, 0)
    const papers = await asking
    if (papers === undefined) return 'nothing'
    const learned = await ann.directory.learn(papers)
    assert.equal(learned.did, ben.did)
    return 'learned'
  },
  iterations: 2_000,
}

export const messageTargets: readonly FuzzTarget[] = [envelopes, verifier, liveStream, papersRequests, papersAnswers]

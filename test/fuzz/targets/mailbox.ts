import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { equal } from '../../../src/core/bytes.ts'
import { xwingPublicKey } from '../../../src/core/crypto/xwing.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'
import { createMemoryStore } from '../../../src/core/store/memory.ts'
import { didPublicKey } from '../../../src/identity/did.ts'
import { DEFAULT_CONSTRAINTS } from '../../../src/mesh/constraints.ts'
import { Hosted } from '../../../src/mesh/mailbox/hosted.ts'
import { mailMetrics } from '../../../src/mesh/mailbox/mail-metrics.ts'
import { MAILBOX_LIMITS } from '../../../src/mesh/mailbox/quotas.ts'
import { MailboxServer } from '../../../src/mesh/mailbox/server.ts'
import {
  decodeDeleteAnswer,
  decodeGetAnswer,
  decodeListAnswer,
  decodePutAnswer,
  decodeRecordAnswer,
  decodeRecordRequest,
  decodeRequest,
  encodeDeleteAnswer,
  encodeListAnswer,
  encodePutAnswer,
  encodeRecordAnswer,
  encodeRecordRequest,
  encodeRequest,
} from '../../../src/mesh/mailbox/wire.ts'
import { decodePeerRecord, encodePeerRecord } from '../../../src/mesh/sealed/peer-record-codec.ts'
import { kidOf, signPrekey, verifyPrekey } from '../../../src/mesh/sealed/prekey-codec.ts'
import { decodeSealed, joinSealed } from '../../../src/mesh/sealed/sealed-codec.ts'
import { openMessage, sealMessage } from '../../../src/mesh/sealed/sealing.ts'
import { NOW, testIdentity } from '../../mesh/fixtures.ts'
import { machine, message } from '../../sealed/make.ts'
import type { FuzzTarget } from '../mutate.ts'

const random = seededRandom('mailbox fuzz')
const ann = machine('ann')
const benIdentity = testIdentity('ben')
const ben = machine('ben', benIdentity)
const phone = machine('phone', benIdentity)
const { envelope, head } = message(ann, ben.did, new Uint8Array(20))
const sealed = sealMessage(envelope, head, [ben.target], random)
const sealedToTwo = sealMessage(envelope, head, [phone.target, ben.target], random)

/** What comes out of a sealed message is exactly what went in: no change of any byte opens to something else. */
const sealedMessage: FuzzTarget = {
  name: 'sealed-message',
  seeds: [sealed, sealedToTwo],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID', 'NOT_FOR_US', 'NEED_PREKEY', 'SEALED_INVALID'],
  async run(input) {
    const { encodedHeader, encodedBlocks, ciphertext } = decodeSealed(input)
    assert.ok(equal(joinSealed(encodedHeader, encodedBlocks, ciphertext), input), 'one encoding')
    const opened = await openMessage(input, ben.did, ben.keys)
    assert.ok(equal(opened.envelope, envelope), 'a changed message opened')
    return 'opened'
  },
  iterations: 6_000,
}

/** What an honest-looking seal may hold inside: whoever has our public key can seal anything. */
const sealedInside: FuzzTarget = {
  name: 'sealed-inside',
  seeds: [envelope],
  codes: ['WIRE_MALFORMED', 'MESSAGE_TOO_LARGE'],
  async run(input) {
    const opened = await openMessage(sealMessage(input, head, [ben.target], random), ben.did, ben.keys)
    assert.ok(opened.envelope.length <= Math.max(256, 2 * input.length))
    return 'opened'
  },
  iterations: 3_000,
}

using seed = Secret.take(new Uint8Array(32).fill(3))
const key = xwingPublicKey(seed)
const signer = { ed25519: ann.device.linkSigner, mldsa: undefined }
const prekeyBytes = signPrekey({ did: ann.did, device: ann.linkKey, kid: kidOf(key), key, notBeforeMs: NOW, notAfterMs: NOW + 86_400_000 }, signer)

const prekey: FuzzTarget = {
  name: 'prekey',
  seeds: [prekeyBytes],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID', 'SIGNATURE_INVALID'],
  run(input) {
    const { kid } = verifyPrekey(input, { ed25519: ann.linkKey, mldsa: undefined })
    assert.ok(equal(kid, kidOf(key)), 'a prekey that nobody signed')
    return 'signed'
  },
}

const peerRecord: FuzzTarget = {
  name: 'peer-record',
  seeds: [
    encodePeerRecord({ prekey: prekeyBytes, hosts: [ann.did, ben.did], expiresMs: NOW }),
    encodePeerRecord({ prekey: undefined, hosts: [], expiresMs: NOW }),
  ],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID'],
  run(input) {
    const record = decodePeerRecord(input)
    assert.ok(equal(encodePeerRecord(record), input), 'one encoding')
    return `${record.hosts.length} hosts`
  },
}

/** The decoders of a host's answers, chosen by the first byte. */
const mailboxAnswer: FuzzTarget = {
  name: 'mailbox-answer',
  seeds: [
    Uint8Array.of(0, ...encodePutAnswer({ kept: 'mailbox' })),
    Uint8Array.of(0, ...encodePutAnswer({ record: new Uint8Array(30) })),
    Uint8Array.of(1, ...encodeListAnswer({ messages: [{ msgId: head.msgId, expiresMs: NOW, bytes: 5 }], more: true })),
    Uint8Array.of(2, 1, 0, 5),
    Uint8Array.of(3, ...encodeDeleteAnswer(3)),
    Uint8Array.of(4, ...encodeRecordAnswer([new Uint8Array(3), new Uint8Array(0)])),
    Uint8Array.of(5, ...encodeRecordRequest(didPublicKey(ann.did))),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const bytes = input.subarray(1)
    switch ((input[0] ?? 0) % 6) {
      case 0:
        return 'kept' in decodePutAnswer(bytes) ? 'kept' : 'record'
      case 1:
        return `list ${decodeListAnswer(bytes).messages.length > 0}`
      case 2:
        return `get ${decodeGetAnswer(bytes).length > 0}`
      case 3:
        return `delete ${decodeDeleteAnswer(bytes) > 0}`
      case 4:
        return `records ${decodeRecordAnswer(bytes).length}`
      default:
        return `request ${decodeRecordRequest(bytes).length}`
    }
  },
}

/** A whole request to a host, in one piece or in two, as any authenticated peer may send it. */
const mailboxRequest: FuzzTarget = {
  name: 'mailbox-request',
  seeds: [
    Uint8Array.of(0, ...encodeRequest({ op: 'put', sealed })),
    Uint8Array.of(70, ...encodeRequest({ op: 'put', sealed: sealedToTwo })),
    Uint8Array.of(0, ...encodeRequest({ op: 'list', after: head.msgId, limit: 9 })),
    Uint8Array.of(1, ...encodeRequest({ op: 'list', after: undefined, limit: 256 })),
    Uint8Array.of(0, ...encodeRequest({ op: 'delete', msgIds: [head.msgId, new Uint8Array(16)] })),
  ],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID', 'MESSAGE_EXPIRED', 'MESSAGE_EARLY', 'MESSAGE_TOO_LARGE', 'MAILBOX_REFUSED', 'MAILBOX_FULL', 'NOT_FOUND'],
  async run(input) {
    const clock = manualClock(NOW)
    const hosted = await Hosted.open({ store: createMemoryStore(), clock, limits: MAILBOX_LIMITS })
    const server = new MailboxServer({
      own: () => ann.did,
      intake: { accept: async () => 'new' },
      hosted,
      policy: {
        classOf: () => 'known',
        constraints: () => DEFAULT_CONSTRAINTS.known,
        decide: ({ peer }) => ({ allowed: peer === ben.did, rule: '', next: '' }),
      },
      clock,
      metrics: mailMetrics(),
      ownRecord: async () => new Uint8Array(10),
      recordsOf: async () => [],
    })
    const cut = input[0] ?? 0
    const { stream, answer } = oneQuestion([input.subarray(1, 1 + cut), input.subarray(1 + cut)])
    const path = { scheme: 'memory', address: '', direct: true }
    await server.mailbox(stream, { peer: ben.did, linkKey: ben.linkKey, path, signal: new AbortController().signal })
    const got = await answer
    assert.equal(clock.pending, 0)
    const { messages, bytes } = hosted.usage
    assert.ok(messages === 0 || bytes === input.length - 3, 'kept is what came')
    if (messages > 0) decodeSealed(input.subarray(3))
    return `${decodeRequest(input.subarray(1)).op} ${got.length > 3}`
  },
  iterations: 6_000,
}

/** The asked side of a stream whose other side has written these pieces and ended. */
function oneQuestion(pieces: readonly Uint8Array[]): { stream: Duplex; answer: Promise<Uint8Array> } {
  const written: Uint8Array[] = []
  let settle: { resolve(bytes: Uint8Array): void; reject(error: Error): void }
  const answer = new Promise<Uint8Array>((resolve, reject) => {
    settle = { resolve, reject }
  })
  const left = pieces.filter(({ length }) => length > 0)
  const stream = new Duplex({
    read() {
      this.push(left.shift() ?? null)
    },
    write(chunk: Uint8Array, _encoding, done) {
      written.push(chunk)
      done()
    },
    final(done) {
      done()
      settle.resolve(Buffer.concat(written))
    },
    destroy(error, done) {
      if (error !== null) settle.reject(error)
      done(null)
    },
  })
  return { stream, answer }
}

export const mailboxTargets: readonly FuzzTarget[] = [sealedMessage, sealedInside, prekey, peerRecord, mailboxAnswer, mailboxRequest]

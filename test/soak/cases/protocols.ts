/** Bytes that are none of the protocol’s, messages that are false, and requests without end. */
import { concat } from '../../../src/core/bytes.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { BLOB_PROTOCOL, encodeGet, encodeOpen, encodeTop } from '../../../src/gossip/blobs/wire.ts'
import { GOSSIP_PROTOCOL } from '../../../src/gossip/wire.ts'
import { didPublicKey } from '../../../src/identity/did.ts'
import { CHAIN_PROTOCOL } from '../../../src/mesh/chain-protocol.ts'
import { LINK_PROTOCOL } from '../../../src/mesh/link-control.ts'
import { encodeRequest, MAILBOX_PROTOCOL, RECORD_PROTOCOL } from '../../../src/mesh/mailbox/wire.ts'
import { type EnvelopeFields, signEnvelope } from '../../../src/mesh/messages/envelope.ts'
import { framed, LIVE_PROTOCOL } from '../../../src/mesh/messages/live-frames.ts'
import { PAPERS_PROTOCOL } from '../../../src/mesh/messages/papers-protocol.ts'
import { PING_PROTOCOL } from '../../../src/mesh/ping.ts'
import { encodeHeader, sealedSize } from '../../../src/mesh/sealed/sealed-codec.ts'
import type { Line } from '../abuser.ts'
import { blob, type Case, live, put, stream, turn, violation } from '../case.ts'

const BANS = 'kith_bans_total{cause="violations"}'
/** Requests of one round, and how many of them at once. */
const ROUND = 200
const AT_ONCE = 24

/** What each protocol must not be told: truncated, oversized, of the wrong type, or nothing at all. */
const GARBAGE: readonly (readonly [string, readonly Uint8Array[]])[] = [
  [
    GOSSIP_PROTOCOL,
    [Uint8Array.of(0), Uint8Array.of(2, 99, 0), Uint8Array.of(0x80, 0x80, 0x80, 0x10, 3), Uint8Array.of(2, 5, 0x80), Uint8Array.of(0x80, 0x80, 0x80, 0x80, 1)],
  ],
  [LIVE_PROTOCOL, [Uint8Array.of(0xff, 0xff, 0xff, 0xff), framed([new Uint8Array(300)]), framed([Uint8Array.of(1)]), Uint8Array.of(0, 0, 1)]],
  [
    MAILBOX_PROTOCOL,
    [Uint8Array.of(9, 1), Uint8Array.of(1, 9), concat(Uint8Array.of(1, 1), new Uint8Array(63)), concat(Uint8Array.of(1, 4), Uint8Array.of(200))],
  ],
  [RECORD_PROTOCOL, [new Uint8Array(33), new Uint8Array(2), new Uint8Array(500)]],
  [PAPERS_PROTOCOL, [new Uint8Array(69), Uint8Array.of(1), new Uint8Array(1_000)]],
  [CHAIN_PROTOCOL, [new Uint8Array(37), Uint8Array.of(1), new Uint8Array(1_000)]],
  [BLOB_PROTOCOL, [Uint8Array.of(1, 0xff, 0xff, 0xff, 0xff), Uint8Array.of(9, 0, 0, 0, 1), concat(Uint8Array.of(1, 0, 0, 0, 80), new Uint8Array(80))]],
  [LINK_PROTOCOL, [Uint8Array.of(0)]],
]

const malformed: Case = {
  name: 'malformed frames of every protocol',
  as: 'stranger',
  expects: [[stream('WIRE_MALFORMED')], [violation('malformed-frame')], [BANS]],
  async run({ line }) {
    for (const [protocol, all] of GARBAGE) {
      for (const bytes of all) {
        const said = await line.open(protocol)
        await said.say(bytes)
        said.end()
        await Promise.race([said.over(), turn().then(turn)])
      }
    }
  },
}

const falseMessages: Case = {
  name: 'live messages: forged, replayed, out of time',
  as: 'stranger',
  expects: [
    [live('SIGNATURE_INVALID')],
    [live('REPLAYED')],
    [live('NOT_FOR_US')],
    [live('MESSAGE_STALE')],
    [live('SEQUENCE_INVALID')],
    [live('SESSION_UNKNOWN')],
    [violation('invalid-signature')],
  ],
  async run({ line, abuser, aim }) {
    const said = await line.open(LIVE_PROTOCOL)
    const [honest] = aim.honest
    const sign = (changes: Partial<Extract<EnvelopeFields, { class: 'live' }>>): Uint8Array =>
      signEnvelope(
        {
          class: 'live',
          suite: 'ed25519',
          from: abuser.device.didKey,
          device: abuser.device.linkSigner.publicKey,
          to: didPublicKey(aim.did),
          session: line.link.session,
          seq: 1,
          timeMs: Date.now(),
          type: 0x9001,
          payload: new Uint8Array(64),
          ...changes,
        },
        { ed25519: abuser.device.linkSigner, mldsa: undefined },
      )
    const replayed = sign({ seq: 7 })
    for (let i = 0; i < 20 && said.open; i++) {
      const bent = sign({ seq: 10_000 + i })
      bent[bent.length - 1] = (bent[bent.length - 1] as number) ^ 1
      await said.say(
        framed([
          replayed,
          replayed,
          sign({ seq: 100 + i, timeMs: Date.now() + 3_600_000 }),
          sign({ seq: 200 + i, timeMs: 0 }),
          sign({ seq: 0 }),
          sign({ seq: Number.MAX_SAFE_INTEGER }),
          sign({ seq: 300 + i, session: systemRandom.bytes(16) }),
          ...(honest === undefined
            ? []
            : [
                sign({ seq: 400 + i, from: honest.didKey }),
                sign({ seq: 500 + i, to: honest.didKey }),
                sign({ seq: 600 + i, from: honest.didKey, device: honest.linkKey }),
              ]),
        ]),
      )
      if (i === 19) await said.say(framed([bent]))
      await turn()
    }
  },
}

const putFlood: Case = {
  name: 'mailbox: floods of PUT',
  as: 'known',
  expects: [[put('RATE_LIMITED')], [put('MAILBOX_REFUSED'), put('NEED_PREKEY')], [put('MESSAGE_EXPIRED')], [put('MESSAGE_EARLY')]],
  async run({ line, aim, abuser, signal }) {
    const now = Date.now()
    const header = (to: typeof aim.did, expiresMs: number, bucket = 256): Uint8Array => encodeHeader({ to, msgId: systemRandom.bytes(16), expiresMs, bucket })
    const body = new Uint8Array(sealedSize(256, 1) - 63)
    const requests = [
      header(aim.did, now + 60_000),
      header(abuser.did, now + 60_000),
      header(aim.did, now - 1),
      header(aim.did, now + 365 * 86_400_000),
      header(aim.did, now + 60_000, 1_048_576),
    ]
    await many(signal, ROUND, (i) =>
      once(line, MAILBOX_PROTOCOL, encodeRequest({ op: 'put', sealed: concat(requests[i % requests.length] as Uint8Array, body) })),
    )
  },
}

const requestFlood: Case = {
  name: 'papers, chains, records, boxes and pings asked without end',
  as: 'known',
  expects: [[stream('RATE_LIMITED')]],
  async run({ line, aim, signal }) {
    const did = didPublicKey(aim.did)
    const asks: readonly (readonly [string, Uint8Array])[] = [
      [PAPERS_PROTOCOL, concat(Uint8Array.of(1), did, aim.linkKey, Uint8Array.of(255, 255, 255, 255))],
      [PAPERS_PROTOCOL, concat(Uint8Array.of(1), aim.honest[0]?.didKey ?? did, aim.honest[0]?.linkKey ?? did, Uint8Array.of(255, 255, 255, 255))],
      [CHAIN_PROTOCOL, concat(Uint8Array.of(1), did, Uint8Array.of(255, 255, 255, 255))],
      [RECORD_PROTOCOL, concat(Uint8Array.of(1), did)],
      [MAILBOX_PROTOCOL, encodeRequest({ op: 'list', after: undefined, limit: 256 })],
      [MAILBOX_PROTOCOL, encodeRequest({ op: 'get', msgId: systemRandom.bytes(16) })],
      [PING_PROTOCOL, new Uint8Array(64)],
    ]
    await many(signal, ROUND, (i) => once(line, ...(asks[i % asks.length] as (typeof asks)[number])))
  },
}

const blobFlood: Case = {
  name: 'blobs: questions and chunks without end',
  as: 'known',
  expects: [[blob('BLOB_UNKNOWN')], [blob('BUDGET_EXCEEDED')]],
  async run({ line, signal }) {
    await many(signal, ROUND, async () => {
      const ref = { root: systemRandom.bytes(32), size: 10 * 2 ** 20 }
      const said = await line.open(BLOB_PROTOCOL)
      await said.say(
        concat(
          encodeOpen({ ...ref, nonce: systemRandom.bytes(16), grant: undefined, papers: undefined }),
          encodeTop(),
          encodeGet({ id: 0, first: 0, count: 16 }),
          systemRandom.bytes(4_096),
        ),
      )
      await said.over()
    })
  },
}

const streamFlood: Case = {
  name: 'streams of protocols nobody serves',
  as: 'stranger',
  expects: [[stream('PROTOCOL_UNKNOWN')], [stream('BUDGET_EXCEEDED')]],
  async run({ line, signal }) {
    await many(signal, ROUND, () => once(line, 'acme/none/1', new Uint8Array(10)))
  },
}

/** So many of them, some at once, while it makes sense. */
async function many(signal: AbortSignal, count: number, run: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count && !signal.aborted) await run(next++)
    }),
  )
}

async function once(line: Line, protocol: string, request: Uint8Array): Promise<void> {
  const said = await line.open(protocol)
  await said.say(request)
  said.end()
  await said.over()
}

export const PROTOCOL_CASES: readonly Case[] = [malformed, falseMessages, putFlood, requestFlood, blobFlood, streamFlood]

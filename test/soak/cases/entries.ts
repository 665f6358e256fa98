/** Entries that no honest author signs, or too many of them. */
import { zstdCompressSync } from 'node:zlib'
import { bytes, bytesN, constant, encode, list, struct, u8, uint53, varint } from '../../../src/core/codec.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { type Case, gossip, turn, violation } from '../case.ts'
import { MEMBERS, NEWS } from '../topics.ts'

const BANS = 'kith_bans_total{cause="violations"}'
const DAY_MS = 86_400_000
const BOMB = zstdCompressSync(Buffer.alloc(64 * 2 ** 20))
const payloadCodec = struct({
  _version: constant(1),
  form: u8,
  length: varint,
  references: list(struct({ timeMs: uint53, id: bytesN(32) }), 8),
  data: bytes(1_000_000),
})

/** A payload as nobody encodes it: what it says about itself is up to the caller. */
function payload(form: number, length: number, data: Uint8Array): Uint8Array {
  return encode(payloadCodec, { _version: undefined, form, length, references: [], data })
}

const forged: Case = {
  name: 'entries in others’ names',
  as: 'known',
  expects: [[gossip('signature')], [gossip('unknown_device'), gossip('device')], [violation('invalid-signature')], [BANS]],
  async run({ line, abuser, aim }) {
    const talk = await line.gossip(NEWS)
    for (let i = 0; i < 50 && talk.open; i++) {
      for (const { didKey, linkKey } of aim.honest) {
        await talk.frame({ kind: 'push', envelope: abuser.craft({ from: didKey }) })
        await talk.frame({ kind: 'push', envelope: abuser.craft({ from: didKey, device: linkKey }) })
      }
      for (const honest of line.recorded.slice(-2)) {
        const bent = Uint8Array.from(honest)
        bent[bent.length - 1] = (bent[bent.length - 1] as number) ^ 1
        await talk.frame({ kind: 'push', envelope: bent })
      }
      await turn()
    }
  },
}

const unknownTopics: Case = {
  name: 'unknown topics',
  as: 'stranger',
  expects: [[gossip('unknown_topic')], [gossip('reserved')]],
  async run({ line, abuser }) {
    const talk = await line.gossip(NEWS)
    for (let i = 0; i < 200 && talk.open; i++) {
      await talk.frame({ kind: 'push', envelope: abuser.craft({ topic: `nowhere:${i}` }) })
      await talk.frame({ kind: 'push', envelope: abuser.craft({ topic: 'network:candidates' }) })
      await talk.frame({ kind: 'subscribe', topics: [{ handle: 1_000 + i, topic: systemRandom.bytes(32) }] })
    }
    await turn()
  },
}

const bombs: Case = {
  name: 'compression bombs',
  as: 'known',
  expects: [[gossip('payload')], [gossip('too_large')]],
  async run({ line, abuser }) {
    const talk = await line.gossip(NEWS)
    const all = [
      payload(1, 60_000, BOMB),
      payload(1, 240_000, BOMB),
      payload(1, 1_000_000, BOMB),
      payload(1, 64 * 2 ** 20, BOMB),
      payload(1, 300_000, zstdCompressSync(Buffer.alloc(300_000))),
    ]
    for (let i = 0; i < 20 && talk.open; i++) for (const bomb of all) await talk.frame({ kind: 'push', envelope: abuser.craft({ payload: bomb }) })
    await turn()
  },
}

const hugeClocks: Case = {
  name: 'huge clocks and references',
  as: 'known',
  expects: [[gossip('too_early')], [gossip('too_old')], [gossip('device')], ['kith_gossip_gaps_total']],
  async run({ line, abuser }) {
    const talk = await line.gossip(NEWS)
    const end = Number.MAX_SAFE_INTEGER
    for (let i = 0; i < 20 && talk.open; i++) {
      const references = Array.from({ length: 8 }, (_, at) => ({ timeMs: end - at, id: systemRandom.bytes(32) }))
      for (const fields of [{ timeMs: end }, { timeMs: Date.now() + DAY_MS }, { timeMs: 0 }, { timeMs: Date.now() - 40 * DAY_MS }, { seq: 0 }, { references }])
        await talk.frame({ kind: 'push', envelope: abuser.craft(fields) })
      await talk.frame({ kind: 'push', envelope: abuser.craft({ seq: end - i, epoch: end - Math.floor(Math.random() * 1e9) }) })
    }
    await turn()
  },
}

const entryFlood: Case = {
  name: 'good entries without end',
  as: 'known',
  expects: [[gossip('author_rate'), gossip('verifier_busy')]],
  async run({ line, abuser }) {
    const talk = await line.gossip(NEWS, MEMBERS)
    for (let i = 0; i < 500 && talk.open; i++) await talk.frame({ kind: 'push', envelope: abuser.craft({ data: systemRandom.bytes(500) }) })
    await turn()
  },
}

const replays: Case = {
  name: 'replays of honest entries',
  as: 'stranger',
  expects: [['kith_gossip_duplicates_total']],
  async run({ line, signal }) {
    const talk = await line.gossip(NEWS)
    while (line.recorded.length === 0 && talk.open && !signal.aborted) await turn()
    for (let i = 0; i < 20 && talk.open; i++) for (const honest of line.recorded.slice(-50)) await talk.frame({ kind: 'push', envelope: honest })
    await turn()
  },
}

const contradictions: Case = {
  name: 'two entries of one number',
  as: 'known',
  expects: [[gossip('equivocation')], [violation('equivocation')], ['kith_evidence_total{outcome="proved"}']],
  async run({ line, abuser }) {
    const talk = await line.gossip(NEWS)
    for (let i = 0; i < 20 && talk.open; i++) {
      const seq = 1_000_000 + Math.floor(Math.random() * 1e9)
      await talk.frame({ kind: 'push', envelope: abuser.craft({ seq }) })
      await talk.frame({ kind: 'push', envelope: abuser.craft({ seq }) })
      await turn()
    }
  },
}

export const ENTRY_CASES: readonly Case[] = [forged, unknownTopics, bombs, hugeClocks, entryFlood, replays, contradictions]

/** Gossip frames that ask, tell or promise too much. */
import { systemRandom } from '../../../src/core/random.ts'
import { END, START } from '../../../src/gossip/topic-index.ts'
import { topicHash } from '../../../src/gossip/wire.ts'
import { type Case, gossip, turn } from '../case.ts'
import { MEMBERS, NEWS, OTHERS } from '../topics.ts'

const LIE = { upper: END, mode: 'fingerprint', count: 40, fingerprint: new Uint8Array(16) } as const
const ALL = { from: START, to: END, maxBytes: 0xffff_ffff } as const

const digests: Case = {
  name: 'digest storms',
  as: 'known',
  expects: [[gossip('digest_storm')], [gossip('digest_budget')]],
  async run({ line }) {
    const talk = await line.gossip(NEWS, MEMBERS)
    for (let i = 0; i < 100 && talk.open; i++) {
      await talk.frame({ kind: 'digest', nonce: i, handle: 1, round: 0, from: START, ranges: [LIE] })
      await talk.frame({ kind: 'digest', nonce: i, handle: 2, round: 0, from: START, ranges: [LIE] })
      for (const round of [1, 1, 2, 30]) await talk.frame({ kind: 'digest', nonce: 0, handle: 1, round, from: START, ranges: [LIE] })
    }
    await turn()
  },
}

const subscriptions: Case = {
  name: 'subscription floods',
  as: 'stranger',
  expects: [[gossip('subscription_limit')], [gossip('unknown_topic')]],
  async run({ line }) {
    const talk = await line.gossip(NEWS, ...OTHERS)
    for (let i = 0; i < 50 && talk.open; i++) {
      await talk.frame({ kind: 'subscribe', topics: Array.from({ length: 200 }, (_, at) => ({ handle: 1_000 + at, topic: systemRandom.bytes(32) })) })
      await talk.frame({ kind: 'unsubscribe', handles: Array.from({ length: 15 }, (_, at) => at + 1) })
      await talk.frame({ kind: 'subscribe', topics: [NEWS, ...OTHERS].map((name, at) => ({ handle: at + 1, topic: topicHash(name) })) })
    }
    await turn()
  },
}

const ghosts: Case = {
  name: 'announces of what does not exist',
  as: 'known',
  expects: [[gossip('missing_limit')], [gossip('request_timeout')]],
  async run({ line, signal }) {
    const talk = await line.gossip(NEWS)
    for (let i = 0; i < 200 && talk.open && !signal.aborted; i++) {
      await talk.frame({ kind: 'announce', handle: 1, urgent: i % 2 === 0, ids: Array.from({ length: 1_000 }, () => systemRandom.bytes(32)) })
      await turn()
    }
  },
}

const cursors: Case = {
  name: 'cursors of nobody, pulls without end',
  as: 'known',
  expects: [[gossip('cursor')], [gossip('request_limit'), gossip('answer_budget')]],
  async run({ line }) {
    const talk = await line.gossip(NEWS, MEMBERS)
    for (let i = 0; i < 200 && talk.open; i++) {
      await talk.frame({ kind: 'pull', nonce: i, handle: 1, ...ALL, cursor: i % 2 === 0 ? systemRandom.bytes(64) : undefined })
      await talk.frame({ kind: 'pull', nonce: i, handle: 2, ...ALL, cursor: undefined })
    }
    await turn()
  },
}

const unsolicited: Case = {
  name: 'answers nobody asked for',
  as: 'stranger',
  expects: [[gossip('unsolicited')], [gossip('not_subscribed')]],
  async run({ line, abuser }) {
    const talk = await line.gossip(NEWS)
    for (let i = 0; i < 100 && talk.open; i++) {
      await talk.frame({ kind: 'entries', nonce: i, state: 'more', cursor: undefined, entries: [abuser.craft(), abuser.craft()] })
      await talk.frame({ kind: 'request', nonce: i, handle: 77, graft: true, ids: [systemRandom.bytes(32)] })
      await talk.frame({ kind: 'announce', handle: 77, urgent: true, ids: [systemRandom.bytes(32)] })
    }
    await turn()
  },
}

const deaf: Case = {
  name: 'asking for everything, reading nothing',
  as: 'known',
  expects: [[gossip('slow_neighbour'), gossip('request_limit'), gossip('answer_budget')]],
  async run({ line }) {
    line.deaf = true
    const talk = await line.gossip(NEWS, MEMBERS)
    for (let i = 0; i < 500 && talk.open; i++) {
      await talk.frame({ kind: 'pull', nonce: i, handle: 1 + (i % 2), ...ALL, cursor: undefined })
      if (i % 50 === 0) await turn()
    }
    await turn()
  },
}

export const QUESTION_CASES: readonly Case[] = [digests, subscriptions, ghosts, cursors, unsolicited, deaf]

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Background } from '../../src/assembly/background.ts'
import { TopicIntake } from '../../src/assembly/topic-intake.ts'
import { utf8 } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import type { Gossip, GossipEntry } from '../../src/gossip/types.ts'

/** A topic whose entries are numbers. */
function board(): { readonly gossip: Pick<Gossip, 'listen' | 'entries'>; add(count: number): void } {
  const kept: GossipEntry[] = []
  let listener: (entry: GossipEntry) => void = () => undefined
  return {
    gossip: {
      listen: (_topic, told) => {
        listener = told
        for (const entry of kept) told(entry)
        return () => {
          listener = () => undefined
        }
      },
      entries: async (_topic, { after, limit = 100 } = {}) => {
        const from = after === undefined ? 0 : kept.findIndex(({ id }) => id === after) + 1
        return kept.slice(from, from + limit)
      },
    },
    add(count) {
      for (let i = 0; i < count; i++) {
        const text = utf8(String(kept.length))
        const entry = { id: text, data: text } as unknown as GossipEntry
        kept.push(entry)
        listener(entry)
      }
    },
  }
}

const number = ({ data }: GossipEntry): number => Number(Buffer.from(data).toString())
const settle = async (): Promise<void> => {
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
}

test('topic intake, more entries than may wait, are all taken within the hour', async () => {
  const clock = manualClock()
  const background = new Background(silentLogger)
  const { gossip, add } = board()
  const taken = new Set<number>()
  const intake = new TopicIntake({
    gossip,
    topic: 'test',
    clock,
    background,
    failure: 'test',
    take: async (entry) => {
      taken.add(number(entry))
      return 'done'
    },
  })
  intake.start()
  add(1_500)
  await settle()
  assert.ok(taken.size >= 1_000 && taken.size < 1_500, String(taken.size))
  await clock.run(3_600_000)
  await settle()
  assert.equal(taken.size, 1_500)
  intake.close()
  await background.close()
})

test('topic intake, an entry for later or that failed, is offered again, and those behind it are not held up', async () => {
  const clock = manualClock()
  const background = new Background(silentLogger)
  const { gossip, add } = board()
  const offered: number[] = []
  let ready = false
  const intake = new TopicIntake({
    gossip,
    topic: 'test',
    clock,
    background,
    failure: 'test',
    take: async (entry) => {
      offered.push(number(entry))
      if (ready || number(entry) === 2) return 'done'
      if (number(entry) === 0) return 'later'
      throw new KithError('STORE_FAILED')
    },
  })
  add(1)
  intake.start()
  add(2)
  await settle()
  assert.deepEqual(offered, [0, 1, 2])
  ready = true
  await clock.run(3_600_000)
  await settle()
  assert.deepEqual(offered, [0, 1, 2, 0, 1, 2])
  await clock.run(7_200_000)
  await settle()
  assert.equal(offered.length, 6, 'nothing is left to offer')
  intake.close()
  await background.close()
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { defineOperation } from '../../src/call/define.ts'
import { createReplayLog } from '../../src/call/replay-log.ts'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { callPair, localWorld, owner } from './support.ts'

const logOf = (size: number, seed = 'log') => createReplayLog<number>({ size, random: seededRandom(seed) })

async function take(iterator: AsyncIterator<{ value: number; id: string }>, count: number): Promise<number[]> {
  const seen: number[] = []
  while (seen.length < count) {
    const { done, value } = await iterator.next()
    if (done === true) break
    seen.push(value.value)
  }
  return seen
}

describe('replay log', () => {
  it('goes on behind the last event seen, without a gap or a repetition', async () => {
    const log = logOf(10)
    const events = [0, 1, 2, 3].map((n) => log.push(n))
    const iterator = log.subscribe({ lastEventId: events[1]?.id })
    assert.deepEqual(await take(iterator, 2), [2, 3])
    const next = take(iterator, 2)
    log.push(4)
    log.push(5)
    assert.deepEqual(await next, [4, 5])
  })
  it('without an id begins now', async () => {
    const log = logOf(10)
    log.push(0)
    const iterator = log.subscribe()
    const next = iterator.next()
    log.push(1)
    assert.equal((await next).value?.value, 1)
  })
  it('keeps so many events and no more', async () => {
    const log = logOf(3)
    const events = Array.from({ length: 10 }, (_, i) => log.push(i))
    assert.deepEqual(await take(log.subscribe({ lastEventId: events[6]?.id }), 3), [7, 8, 9])
    await assert.rejects(log.subscribe({ lastEventId: events[5]?.id }).next(), (error) => isKithError(error, 'CALL_RESUME'))
  })
  for (const [name, id] of [
    ['of a log before a restart', logOf(3, 'other').push(1).id],
    ['that never was', 'x.1'],
    ['that is none', 'nonsense'],
    ['of the future', logOf(3).push(1).id.replace('.0', '.99')],
    ['with a sign', logOf(3).push(1).id.replace('.0', '.-1')],
  ] as const) {
    it(`an id ${name} is refused`, async () => {
      const log = logOf(3)
      log.push(0)
      await assert.rejects(log.subscribe({ lastEventId: id }).next(), (error) => isKithError(error, 'CALL_RESUME'))
    })
  }
  it('a reader that falls behind takes no memory, and falls out', async () => {
    const log = logOf(3)
    log.push(0)
    const iterator = log.subscribe()
    const first = iterator.next()
    log.push(1)
    assert.equal((await first).value?.value, 1)
    for (let i = 0; i < 5; i++) log.push(i)
    await assert.rejects(iterator.next(), (error) => isKithError(error, 'CALL_RESUME'))
  })
  it('ends when it is closed, or the signal aborts', async () => {
    const log = logOf(3)
    const abort = new AbortController()
    const ended = [log.subscribe({ signal: abort.signal }).next(), log.subscribe().next()]
    abort.abort()
    assert.equal((await ended[0])?.done, true)
    log.close()
    assert.equal((await ended[1])?.done, true)
  })
  it('serves a subscription that is taken up again over a link', async (t) => {
    const log = logOf(100)
    const feed = defineOperation({
      name: 'feed/ticks',
      kind: 'subscription',
      access: 'everyone',
      resumable: true,
      input: z.object({}),
      output: z.number(),
      handler: (_input, { lastEventId, signal }) => log.subscribe({ lastEventId, signal }),
    })
    const pair = await callPair([feed])
    t.after(() => pair.close())
    const first = log.push(0)
    log.push(1)
    let last: string | undefined = first.id
    const seen: unknown[] = []
    for (let round = 0; round < 3; round++) {
      await pair.world.settle(
        (async () => {
          for await (const item of pair.client.stream('far', '/feed/ticks', {}, last === undefined ? {} : { lastEventId: last })) {
            seen.push(item.value)
            last = item.id
            break
          }
        })(),
      )
      log.push(2 + round)
    }
    assert.deepEqual(seen, [1, 2, 3])
    const { callee } = localWorld([feed])
    await assert.rejects(callee.stream({ caller: owner, path: '/feed/ticks', input: {}, lastEventId: 'gone.1' }).next(), (error) =>
      isKithError(error, 'CALL_RESUME'),
    )
  })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { Event } from '../../src/call/define.ts'
import { CallError } from '../../src/call/errors.ts'
import { manualClock } from '../../src/core/clock.ts'
import { ask, codeOf, defineOperation, openWorld, TOKEN, type World } from './support.ts'

let produced = 0
let ended: (() => void) | undefined
const clock = manualClock()

const operations = [
  defineOperation({
    name: 'feed/count',
    kind: 'subscription',
    input: { type: 'object', properties: { to: { type: 'integer', maximum: 100 } }, required: ['to'] },
    output: true,
    access: 'everyone',
    resumable: true,
    async *handler(input, { lastEventId }) {
      const { to } = input as { to: number }
      for (let i = Number(lastEventId ?? 0) + 1; i <= to; i++) yield new Event({ i, text: 'a\nb' }, String(i))
    },
  }),
  defineOperation({
    name: 'feed/broken',
    kind: 'subscription',
    input: true,
    output: true,
    access: 'everyone',
    errors: { DRY: true },
    async *handler(input) {
      if (input === 'at once') throw new CallError('DRY', 'There is nothing.')
      yield 1
      throw new CallError('DRY', 'There is nothing more.')
    },
  }),
  defineOperation({
    name: 'feed/endless',
    kind: 'subscription',
    input: true,
    output: true,
    access: 'everyone',
    async *handler() {
      try {
        for (;;) {
          produced += 1
          yield 'x'.repeat(10_000)
        }
      } finally {
        ended?.()
      }
    },
  }),
  defineOperation({
    name: 'feed/silent',
    kind: 'subscription',
    input: true,
    output: true,
    access: 'everyone',
    async *handler(_input, { signal }) {
      await once(signal, 'abort')
      yield 0
    },
  }),
]

let world: World
before(async () => {
  world = await openWorld(operations, { clock, limits: { streamsPerCaller: 2 } })
})
after(() => world.close())

const events = { accept: 'text/event-stream' }

function open(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port: world.port, path, agent: false, headers: { ...events, authorization: `Bearer ${TOKEN}`, ...headers } },
      resolve,
    )
    sent.on('error', reject)
    sent.end()
  })
}

test('a subscription, asked for as events, comes item by item with ids and ends by name', async () => {
  for (const asking of [{ headers: events }, { headers: events, body: { to: 2 } }]) {
    const answer = await ask(world.port, `/v1/feed/count${'body' in asking ? '' : '?to=2'}`, asking)
    assert.equal(answer.headers['content-type'], 'text/event-stream')
    const item = (i: number): string => `id: ${i}\ndata: {"i":${i},"text":"a\\nb"}\n\n`
    assert.equal(answer.text, `${item(1)}${item(2)}event: completed\ndata: {}\n\n`)
  }
})

test('a subscription, taken up behind an event, goes on with the next', async () => {
  const answer = await ask(world.port, '/v1/feed/count?to=3', { headers: { ...events, 'last-event-id': '2' } })
  assert.match(answer.text, /^id: 3\n/)
  assert.equal((await ask(world.port, '/v1/feed/count?to=3', { headers: { ...events, 'last-event-id': 'x'.repeat(300) } })).status, 400)
})

test('a subscription, that fails before its first item, is an ordinary answer, and later an event', async () => {
  const first = await ask(world.port, '/v1/feed/broken', { headers: events, body: 'at once' })
  assert.equal(first.status, 422)
  assert.equal(codeOf(first), 'DRY')
  const later = await ask(world.port, '/v1/feed/broken', { headers: events, body: 'later' })
  assert.equal(later.text, 'data: 1\n\nevent: error\ndata: {"error":{"code":"DRY","message":"There is nothing more.","details":{}}}\n\n')
})

test('a subscription, asked for by GET without events, is refused', async () => {
  assert.equal((await ask(world.port, '/v1/feed/count?to=1')).status, 400)
})

test('a stream with nothing to say, after 15 s, says that it lives', async () => {
  const opening = open('/v1/feed/silent')
  while (world.gateway.inFlight === 0) await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  clock.advance(15_000)
  const answer = await opening
  assert.equal(String((await once(answer, 'data'))[0]), ':\n\n')
  answer.destroy()
})

test('streams, more than a caller may have, are refused until one ends', async () => {
  while (world.gateway.inFlight > 0) await new Promise((resolve) => setImmediate(resolve))
  const opening = [open('/v1/feed/silent'), open('/v1/feed/silent')]
  while (world.gateway.inFlight < 2) await new Promise((resolve) => setImmediate(resolve))
  const third = await ask(world.port, '/v1/feed/count?to=1', { headers: events })
  assert.equal(third.status, 429)
  assert.equal(third.headers['retry-after'], '1')
  clock.advance(15_000)
  for (const answer of await Promise.all(opening)) answer.destroy()
  while (world.gateway.inFlight > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await ask(world.port, '/v1/feed/count?to=1', { headers: events })).status, 200)
})

test('a reader that never reads, holds the handler back and is let go after a while', async () => {
  produced = 0
  const over = new Promise<void>((resolve) => {
    ended = resolve
  })
  const socket = connect(world.port, '127.0.0.1')
  socket.pause()
  socket.on('error', () => undefined)
  socket.write(`GET /v1/feed/endless HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`)
  let before = -1
  // Until what the system buffers is full.
  while (produced === 0 || produced !== before) {
    before = produced
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(produced < 2_000, `${produced} items were made for nobody`)
  clock.advance(60_000)
  await over
  socket.destroy()
})

test('a reader that goes away, in the middle of a stream, ends the handler', async () => {
  const over = new Promise<void>((resolve) => {
    ended = resolve
  })
  const answer = await open('/v1/feed/endless')
  await once(answer, 'data')
  answer.destroy()
  await over
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Duplex, duplexPair } from 'node:stream'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { defineOperation, Event } from '../../src/call/define.ts'
import { type Envelope, EnvelopeReader, encodeEnvelope, MAX_ENVELOPE_BYTES } from '../../src/call/envelope.ts'
import { createEnvelopeClient } from '../../src/call/envelope-client.ts'
import { createEnvelopeSession, type EnvelopeLimits } from '../../src/call/envelope-session.ts'
import { CallError } from '../../src/call/errors.ts'
import { isKithError } from '../../src/core/errors.ts'
import { localWorld, testCaller } from './support.ts'

let stopped = 0
let made = 0
const operations = [
  defineOperation({
    name: 'echo/say',
    kind: 'query',
    access: 'everyone',
    input: z.object({ text: z.string() }),
    output: z.object({ text: z.string(), by: z.string() }),
    handler: ({ text }, { caller }) => ({ text, by: caller.id }),
  }),
  defineOperation({
    name: 'feed/count',
    kind: 'subscription',
    access: 'everyone',
    resumable: true,
    input: z.object({}),
    output: z.string(),
    handler: async function* (_input, { lastEventId }) {
      try {
        for (let i = lastEventId === undefined ? 0 : Number(lastEventId) + 1; ; i++) {
          made++
          yield new Event(String(i).padEnd(1_000, '.'), String(i))
        }
      } finally {
        stopped++
      }
    },
  }),
  defineOperation({
    name: 'slow/wait',
    kind: 'query',
    access: 'everyone',
    input: z.object({}),
    output: z.null(),
    handler: (_input, { signal }) => new Promise<null>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
  }),
  defineOperation({
    name: 'shop/buy',
    kind: 'mutation',
    access: 'everyone',
    input: z.object({}),
    output: z.null(),
    errors: { OUT_OF_STOCK: z.object({ left: z.number() }) },
    handler: () => {
      throw new CallError('OUT_OF_STOCK', 'none left', { data: { left: 0 } })
    },
  }),
  defineOperation({
    name: 'sum/all',
    kind: 'query',
    access: 'everyone',
    clientStream: true,
    input: z.object({ n: z.number() }),
    output: z.array(z.number()),
    handler: async (_input, { inputs }) => {
      const seen: number[] = []
      for await (const { n } of inputs) seen.push(n)
      return seen
    },
  }),
  defineOperation({ name: 'secret/read', kind: 'query', access: { all: ['secret'] }, input: z.object({}), output: z.null(), handler: () => null }),
]

function door(limits: EnvelopeLimits = {}): { outside: Duplex; world: ReturnType<typeof localWorld>; session: ReturnType<typeof createEnvelopeSession> } {
  const [outside, inside] = duplexPair()
  const world = localWorld(operations)
  const session = createEnvelopeSession(inside, { callee: world.callee, caller: testCaller('key:test'), clock: world.clock, limits })
  return { outside, world, session }
}

/** The next envelopes that come out of the door. */
function answers(outside: Duplex): { next(): Promise<Envelope> } {
  const reader = new EnvelopeReader()
  const waiting: Envelope[] = []
  const wake: ((envelope: Envelope) => void)[] = []
  outside.on('data', (chunk: Buffer) =>
    reader.push(chunk, (envelope) => {
      const first = wake.shift()
      if (first === undefined) waiting.push(envelope)
      else first(envelope)
    }),
  )
  return {
    next: () => {
      const first = waiting.shift()
      return first === undefined ? new Promise((resolve) => wake.push(resolve)) : Promise.resolve(first)
    },
  }
}

function frame(text: string): Buffer {
  const body = Buffer.from(text)
  const head = Buffer.alloc(4)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

describe('open form, frames', () => {
  it('reads what was written, however it is cut', () => {
    const envelope = fc.record({
      type: fc.constantFrom('call.requested', 'call.responded', 'call.completed', 'call.aborted', 'call.error'),
      id: fc.string({ minLength: 1, maxLength: 40 }),
      payload: fc.jsonValue({ maxDepth: 4 }),
    })
    fc.assert(
      fc.property(fc.array(envelope as fc.Arbitrary<Envelope>, { maxLength: 5 }), fc.infiniteStream(fc.integer({ min: 1, max: 50 })), (envelopes, cuts) => {
        // What would be a prototype is refused, not carried.
        fc.pre(!JSON.stringify(envelopes).includes('__proto__'))
        const bytes = Buffer.concat(envelopes.map((one) => encodeEnvelope(one)))
        const reader = new EnvelopeReader()
        const seen: Envelope[] = []
        for (let at = 0; at < bytes.length; ) {
          const size = cuts.next().value as number
          reader.push(bytes.subarray(at, at + size), (one) => seen.push(one))
          at += size
        }
        assert.equal(JSON.stringify(seen), JSON.stringify(envelopes))
        assert.equal(reader.open, false)
      }),
      { numRuns: 100 },
    )
  })

  for (const [name, bytes, code] of [
    ['of no length', Buffer.alloc(4), 'WIRE_MALFORMED'],
    ['longer than the limit', Buffer.from([0, 0, 1, 1]), 'MESSAGE_TOO_LARGE'],
    ['of 4 GiB', Buffer.from([255, 255, 255, 255]), 'MESSAGE_TOO_LARGE'],
    ['that is no JSON', frame('{"type":'), 'WIRE_MALFORMED'],
    ['that is no UTF-8', Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from([0x22, 0xff, 0x22])]), 'WIRE_MALFORMED'],
    ['that is no object', frame('[]'), 'WIRE_MALFORMED'],
    ['of an unknown type', frame('{"type":"call.other","id":"1","payload":{}}'), 'WIRE_MALFORMED'],
    ['without an id', frame('{"type":"call.aborted","id":"","payload":{}}'), 'WIRE_MALFORMED'],
    ['nested too deeply', frame(`{"type":"call.requested","id":"1","payload":${'['.repeat(80)}${']'.repeat(80)}}`), 'WIRE_MALFORMED'],
    ['with a prototype in it', frame('{"type":"call.requested","id":"1","payload":{"__proto__":{"a":1}}}'), 'WIRE_MALFORMED'],
    ['with an escaped prototype in it', frame('{"type":"call.requested","id":"1","payload":{"\\u005f_proto__":{"a":1}}}'), 'WIRE_MALFORMED'],
  ] as const) {
    it(`a frame ${name} is refused with ${code}`, () => {
      assert.throws(
        () => new EnvelopeReader(256).push(bytes, () => undefined),
        (error) => isKithError(error, code),
      )
    })
  }

  it('holds no more of an announced frame than came', () => {
    const reader = new EnvelopeReader(MAX_ENVELOPE_BYTES)
    const before = process.memoryUsage().arrayBuffers
    const head = Buffer.alloc(5)
    head.writeUInt32BE(MAX_ENVELOPE_BYTES)
    reader.push(head, () => undefined)
    assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024)
    assert.equal(reader.open, true)
  })
})

describe('open form, sessions', () => {
  it('answers a query with its output, then its end', async () => {
    const { outside } = door()
    const out = answers(outside)
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/echo/say', input: { text: 'hi' } } }))
    assert.deepEqual(await out.next(), { type: 'call.responded', id: 'a', payload: { output: { text: 'hi', by: 'key:test' } } })
    assert.deepEqual(await out.next(), { type: 'call.completed', id: 'a', payload: {} })
  })

  it('gives an operation that takes a stream of inputs the one of the request, and its end', async () => {
    const { outside } = door()
    const out = answers(outside)
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/sum/all', input: { n: 1 } } }))
    assert.deepEqual((await out.next()).payload, { output: [1] })
    await out.next()
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'b', payload: { operationId: '/sum/all' } }))
    assert.deepEqual((await out.next()).payload, { output: [] })
  })

  it('ignores an identity in the payload', async () => {
    const { outside } = door()
    const out = answers(outside)
    const payload = { operationId: '/echo/say', input: { text: 'hi' }, identity: { id: 'local', scopes: ['secret'] }, caller: 'local', parentRequestId: 'x' }
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload }))
    assert.deepEqual((await out.next()).payload, { output: { text: 'hi', by: 'key:test' } })
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'b', payload: { ...payload, operationId: '/secret/read', input: {} } }))
    await out.next()
    assert.equal(((await out.next()).payload as { code: string }).code, 'NOT_FOUND')
  })

  it('answers what is hidden and what does not exist with the same bytes', async () => {
    const { outside } = door()
    const out = answers(outside)
    const ask = async (operationId: string): Promise<string> => {
      outside.write(encodeEnvelope({ type: 'call.requested', id: 'x', payload: { operationId, input: {} } }))
      return JSON.stringify(await out.next())
    }
    assert.equal(await ask('/secret/read'), await ask('/nothing/here'))
  })

  for (const [name, payload, code] of [
    ['an input that does not fit', { operationId: '/echo/say', input: { text: 1 } }, 'INVALID_INPUT'],
    ['no input', { operationId: '/echo/say' }, 'INVALID_INPUT'],
    ['no operation', {}, 'NOT_FOUND'],
    ['a payload that is no object', 'x', 'INVALID_INPUT'],
    ['a deadline that is no number', { operationId: '/echo/say', input: { text: '' }, deadline: 'soon' }, 'INVALID_INPUT'],
    ['a deadline in the past', { operationId: '/echo/say', input: { text: '' }, deadline: 1 }, 'TIMEOUT'],
    ['a declared error', { operationId: '/shop/buy', input: {} }, 'OUT_OF_STOCK'],
  ] as const) {
    it(`answers ${name} with ${code}`, async () => {
      const { outside } = door()
      const out = answers(outside)
      outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload }))
      const answer = await out.next()
      assert.equal(answer.type, 'call.error')
      const error = answer.payload as { code: string; retryable: boolean; message: string; details?: unknown }
      assert.equal(error.code, code)
      assert.equal(error.retryable, code === 'TIMEOUT')
      if (code === 'OUT_OF_STOCK') assert.deepEqual(error.details, { left: 0 })
    })
  }

  it('ends a call on call.aborted, and ignores one for an unknown id', async () => {
    const { outside, session } = door()
    const out = answers(outside)
    outside.write(encodeEnvelope({ type: 'call.aborted', id: 'nobody', payload: null }))
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/slow/wait', input: {} } }))
    outside.write(encodeEnvelope({ type: 'call.aborted', id: 'a', payload: {} }))
    assert.deepEqual(await out.next(), { type: 'call.aborted', id: 'a', payload: {} })
    assert.equal(session.running, 0)
  })

  it('answers a call whose deadline passes with TIMEOUT', async () => {
    const { outside, world } = door()
    const out = answers(outside)
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/slow/wait', input: {}, deadline: world.clock.now() + 500 } }))
    await new Promise(setImmediate)
    await world.clock.run(500)
    assert.equal(((await out.next()).payload as { code: string }).code, 'TIMEOUT')
  })

  it('holds a handler back while nobody reads', async () => {
    const { outside, session } = door()
    const before = made
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/feed/count', input: {} } }))
    for (let i = 0; i < 200; i++) await new Promise(setImmediate)
    assert.ok(made - before > 0 && made - before < 200, `${made - before} items made for nobody`)
    assert.equal(session.running, 1)
    const stops = stopped
    session.close()
    await new Promise(setImmediate)
    assert.equal(stopped, stops + 1)
  })

  it('refuses more calls than it may have under way, and goes on', async () => {
    const { outside } = door({ calls: 1 })
    const out = answers(outside)
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/slow/wait', input: {} } }))
    outside.write(encodeEnvelope({ type: 'call.requested', id: 'b', payload: { operationId: '/echo/say', input: { text: 'x' } } }))
    const answer = await out.next()
    assert.deepEqual([answer.id, (answer.payload as { code: string }).code], ['b', 'RESOURCE_EXHAUSTED'])
  })

  it('ends the connection when two calls under way have one id', async () => {
    const { outside, session } = door()
    const request = encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/slow/wait', input: {} } })
    outside.resume().write(Buffer.concat([request, request]))
    assert.equal((await session.closed)?.code, 'WIRE_MALFORMED')
  })

  it('ends when the other side ends inside a frame', async () => {
    const { outside, session } = door()
    outside.resume().end(Buffer.from([0, 0, 0, 9, 0x7b]))
    assert.equal((await session.closed)?.code, 'WIRE_MALFORMED')
  })

  it('answers what is under way after the other side ended, then ends', async () => {
    const { outside, session } = door()
    const out = answers(outside)
    outside.end(encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/echo/say', input: { text: 'last' } } }))
    assert.equal((await out.next()).type, 'call.responded')
    assert.equal(await session.closed, undefined)
  })
})

describe('open form, client', () => {
  const client = (limits: EnvelopeLimits = {}) => {
    const { outside, world, session } = door(limits)
    return { client: createEnvelopeClient(outside, { clock: world.clock }), world, session, outside }
  }

  it('calls, streams and resumes', async () => {
    const { client: calls } = client()
    assert.deepEqual(await calls.call('/echo/say', { text: 'hi' }), { text: 'hi', by: 'key:test' })
    const ids: (string | undefined)[] = []
    for await (const { id } of calls.stream('/feed/count', {}, { lastEventId: '41' })) if (ids.push(id) === 3) break
    assert.deepEqual(ids, ['42', '43', '44'])
    calls.close()
  })

  it('meets errors as what they are, marked remote', async () => {
    const { client: calls } = client()
    await assert.rejects(calls.call('/nothing/here', {}), (error) => isKithError(error, 'CALL_UNKNOWN') && error.remote)
    await assert.rejects(calls.call('/shop/buy', {}), (error) => error instanceof CallError && error.reason === 'OUT_OF_STOCK' && error.remote)
    calls.close()
  })

  it('a call without an answer ends at its deadline, and the other side is told', async () => {
    const { client: calls, world, session } = client()
    const call = calls.call('/slow/wait', {}, { deadlineMs: 100 })
    const ended = assert.rejects(call, (error) => isKithError(error, 'CALL_TIMEOUT'))
    await world.clock.run(100)
    await ended
    for (let i = 0; i < 5; i++) await new Promise(setImmediate)
    assert.equal(session.running, 0)
  })

  it('an abort ends the call on both sides', async () => {
    const { client: calls, session } = client()
    const abort = new AbortController()
    const call = calls.call('/slow/wait', {}, { signal: abort.signal })
    for (let i = 0; i < 3; i++) await new Promise(setImmediate)
    assert.equal(session.running, 1)
    abort.abort()
    await assert.rejects(call, (error) => isKithError(error, 'ABORTED'))
    for (let i = 0; i < 5; i++) await new Promise(setImmediate)
    assert.equal(session.running, 0)
  })

  it('the end of the connection ends every call in LINK_LOST', async () => {
    const { client: calls, outside } = client()
    const two = [calls.call('/slow/wait', {}), calls.call('/slow/wait', {})].map((call) =>
      assert.rejects(call, (error) => isKithError(error, 'LINK_LOST') && error.retryable),
    )
    outside.destroy()
    await once(outside, 'close')
    await Promise.all(two)
  })
})

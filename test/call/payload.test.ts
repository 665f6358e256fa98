import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { errorOfForm, isCallError } from '../../src/call/errors.ts'
import { FrameReader } from '../../src/call/frame-reader.ts'
import { Cursor, KIND_REQUEST, type RequestFields, readRequest, requestBytes, writeRequest } from '../../src/call/frames.ts'
import { Outbox } from '../../src/call/outbox.ts'
import { decodePayload, encodePayload, FORM_JSON, MAX_DEPTH } from '../../src/call/payload.ts'
import { Sending } from '../../src/call/sending.ts'
import { decode, encode, struct, text, u8, u32 } from '../../src/core/codec.ts'
import { isKithError } from '../../src/core/errors.ts'
import { FakeStream } from '../fuzz/fake-stream.ts'

describe('values on the wire', () => {
  for (const encoding of ['json', 'cbor'] as const) {
    it(`any JSON value comes back from ${encoding} as it was`, () => {
      fc.assert(
        fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
          const plain = JSON.parse(JSON.stringify(value)) as unknown
          fc.pre(!JSON.stringify(plain).includes('__proto__'))
          const { form, bytes } = encodePayload(plain, encoding)
          assert.deepEqual(decodePayload(form, Buffer.from(bytes), 0, bytes.length), plain)
        }),
        { numRuns: 200 },
      )
    })
  }
  it('nesting is bounded exactly, brackets in texts do not count', () => {
    const read = (text: string): unknown => decodePayload(FORM_JSON, Buffer.from(text), 0, Buffer.byteLength(text))
    assert.ok(read('['.repeat(MAX_DEPTH) + ']'.repeat(MAX_DEPTH)))
    assert.throws(
      () => read('['.repeat(MAX_DEPTH + 1) + ']'.repeat(MAX_DEPTH + 1)),
      (error) => isKithError(error, 'WIRE_MALFORMED'),
    )
    assert.ok(read(JSON.stringify('[{"\\'.repeat(500))))
    assert.ok(read(`[${'{"a":[]},'.repeat(200)}1]`))
  })
})

describe('errors from elsewhere', () => {
  it('are remote, known by their code, and safe to print', () => {
    const error = errorOfForm({ code: 'CALL_DENIED', message: `no\u001b[2J\u0007\nway\u202e${'x'.repeat(2_000)}`, details: { a: 1 } })
    assert.deepEqual([error.code, error.remote, error.details], ['CALL_DENIED', true, { a: 1 }])
    assert.match(error.message, /^no \[2J {2} ?way x+\.\.\.$/)
    assert.ok(error.message.length < 1_100)
    assert.ok(isCallError(errorOfForm({ code: 'OUT_OF_STOCK', message: 'gone', details: { left: 0 } }), 'OUT_OF_STOCK'))
    assert.equal(errorOfForm({ code: 'no code at all', message: '' }).code, 'REMOTE_ERROR')
    assert.equal(errorOfForm({ code: '__proto__', message: '' }).code, 'REMOTE_ERROR')
    assert.deepEqual(errorOfForm({ code: 'CALL_FAILED', message: '', details: ['x'] }).details, {})
  })
})

describe('headers of requests', () => {
  const fields: fc.Arbitrary<RequestFields> = fc.record({
    path: fc.stringMatching(/^[!-~]{1,255}$/),
    traceId: fc.option(fc.stringMatching(/^[0-9a-f]{32}$/), { nil: undefined }),
    parentId: fc.option(fc.stringMatching(/^[0-9a-f]{16}$/), { nil: undefined }),
    deadlineMs: fc.option(fc.nat(0xffff_ffff), { nil: undefined }),
    lastEventId: fc.option(fc.stringMatching(/^[!-~]{1,128}$/), { nil: undefined }),
    statement: fc.option(fc.uint8Array({ minLength: 1, maxLength: 300 }), { nil: undefined }),
    repeated: fc.boolean(),
    items: fc.boolean(),
    inputs: fc.constant(false),
  })
  it('are read as they were written, and end where they end', () => {
    fc.assert(
      fc.property(fields, (given) => {
        const bytes = Buffer.alloc(requestBytes(given))
        const end = writeRequest(bytes, 0, given, FORM_JSON)
        const head = readRequest(new Cursor().set(bytes, 0, end))
        assert.equal(head.at, end)
        for (const name of ['path', 'traceId', 'parentId', 'deadlineMs', 'lastEventId', 'statement'] as const) assert.deepEqual(head[name], given[name])
        assert.equal((head.flags & 64) !== 0, given.repeated)
        // Every cut before the end is noticed.
        for (let cut = 0; cut < end; cut += 1 + (end >> 3)) {
          assert.throws(
            () => readRequest(new Cursor().set(bytes, 0, cut)),
            (error) => isKithError(error, 'WIRE_MALFORMED'),
          )
        }
      }),
      { numRuns: 200 },
    )
  })
  it('are what the canonical codec makes of the same fields', () => {
    const plain = struct<{ length: number; kind: number; call: number; flags: number; form: number; path: string }>({
      length: u32,
      kind: u8,
      call: u32,
      flags: u8,
      form: u8,
      path: text(255),
    })
    const bytes = Buffer.alloc(64)
    const end = writeRequest(bytes, 9, { path: '/echo/say', items: true, inputs: false }, FORM_JSON)
    bytes.writeUInt32BE(end - 4)
    bytes[4] = KIND_REQUEST
    bytes.writeUInt32BE(7, 5)
    assert.deepEqual(decode(plain, bytes.subarray(0, end)), { length: end - 4, kind: 1, call: 7, flags: 1, form: 1, path: '/echo/say' })
    assert.deepEqual(Buffer.from(encode(plain, { length: end - 4, kind: 1, call: 7, flags: 1, form: 1, path: '/echo/say' })), bytes.subarray(0, end))
  })
})

describe('frames', () => {
  it('of one turn leave in one write, and come back however they are cut', async () => {
    const stream = new FakeStream()
    const outbox = new Outbox(stream)
    for (let call = 1; call <= 50; call++) new Sending(outbox, call).end({ call, text: 'ä'.repeat(call) }, 'json')
    await new Promise(setImmediate)
    assert.equal(stream.written.length, 1)
    const bytes = stream.said
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), (step) => {
        const seen: number[] = []
        const reader = new FrameReader((_kind, call, data, at, end) => {
          assert.deepEqual(decodePayload(FORM_JSON, data, at + 1, end), { call, text: 'ä'.repeat(call) })
          seen.push(call)
        })
        for (let at = 0; at < bytes.length; at += step) reader.push(bytes, at, Math.min(bytes.length, at + step))
        assert.deepEqual(
          seen,
          Array.from({ length: 50 }, (_, i) => i + 1),
        )
        assert.equal(reader.open, false)
      }),
      { numRuns: 50 },
    )
  })
  it('wait while the stream is full, and no long payload is begun', async () => {
    const stream = new FakeStream()
    let full = true
    const inner = stream.write.bind(stream)
    stream.write = (data, start, end) => {
      inner(data, start, end)
      return !full
    }
    const outbox = new Outbox(stream)
    const long = new Sending(outbox, 1)
    long.item('x'.repeat(60_000), 'json')
    await new Promise(setImmediate)
    const first = stream.said.length
    new Sending(outbox, 2).end(1, 'json')
    await new Promise(setImmediate)
    assert.equal(stream.said.length, first)
    full = false
    stream.onDrain()
    await new Promise(setImmediate)
    assert.ok(stream.said.length > first)
  })
})

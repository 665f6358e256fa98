import assert from 'node:assert/strict'
import { z } from 'zod'
import { Deadlines } from '../../../src/call/deadlines.ts'
import { defineOperation } from '../../../src/call/define.ts'
import { EnvelopeReader, encodeEnvelope } from '../../../src/call/envelope.ts'
import { ClientLink } from '../../../src/call/link-client.ts'
import { ServerLink } from '../../../src/call/link-server.ts'
import { parseCallPath } from '../../../src/call/names.ts'
import { decodePayload, encodePayload, FORM_CBOR, FORM_JSON } from '../../../src/call/payload.ts'
import { compileSchema, jsonSchema } from '../../../src/call/schema.ts'
import { codeOfNumber, isKithError, KithError } from '../../../src/core/errors.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { localWorld, testCaller } from '../../call/support.ts'
import { FakeStream } from '../fake-stream.ts'
import type { FuzzTarget } from '../mutate.ts'

const anything = jsonSchema<unknown>(true)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

// ---- icn/call/1

const world = localWorld([
  defineOperation({ name: 'e/c', kind: 'query', access: 'everyone', input: anything, output: anything, handler: (input) => input ?? null }),
  defineOperation({
    name: 'e/s',
    kind: 'subscription',
    access: 'everyone',
    clientStream: true,
    input: z.number(),
    output: z.number(),
    handler: async function* (_input, { inputs }) {
      for await (const one of inputs) yield one
    },
  }),
])
const caller = testCaller('did:fuzz')

function frame(kind: number, call: number, ...body: readonly (Uint8Array | string | readonly number[])[]): Buffer {
  const rest = Buffer.concat(body.map((part) => (typeof part === 'string' ? Buffer.from(part) : Uint8Array.from(part))))
  const bytes = Buffer.alloc(9 + rest.length)
  bytes.writeUInt32BE(5 + rest.length)
  bytes[4] = kind
  bytes.writeUInt32BE(call, 5)
  rest.copy(bytes, 9)
  return bytes
}

const ask = (call: number, flags: number, form: number, path: string, ...rest: readonly (string | readonly number[])[]): Buffer =>
  frame(1, call, [flags, form, path.length], path, ...rest)

/** Whatever comes: answers, or one reset; afterwards nothing runs and nothing is owed. */
const acceptor: FuzzTarget = {
  name: 'call-acceptor',
  seeds: [
    ask(1, 0, 1, '/e/c', '{"a":[1]}'),
    Buffer.concat([ask(1, 3, 0, '/e/s'), frame(2, 1, [1], '1'), frame(6, 1, [0, 0, 1, 0]), frame(3, 1, [0])]),
    Buffer.concat([ask(1, 0, 5, '/e/c', [0, 0, 0, 4], '"a'), frame(7, 1, [1], 'b'), frame(7, 1, [0], '"'), frame(5, 1, [0])]),
    ask(1, 4 + 8 + 16 + 32 + 64, 2, 'e/c', 'tttttttttttttttt', 'pppppppp', [0, 0, 1, 0], [3], '1.2', [0x81, 1]),
    ask(1, 128, 3, '/e/c', [0, 3, 1, 2, 3], 'raw'),
  ],
  codes: ['WIRE_MALFORMED'],
  maxBytes: 2_048,
  iterations: 8_000,
  async run(input) {
    const stream = new FakeStream()
    let running = 0
    const link = new ServerLink(stream, {
      callee: world.callee,
      callerOf: () => caller,
      limits: () => ({ calls: 4, waiting: 4, waitingBytes: 1_024, payloadBytes: 4_096, budgetBytes: 8_192 }),
      refusal: () => undefined,
      onViolation: () => undefined,
      onCount: (change) => {
        running += change
      },
      onClose: () => undefined,
    })
    stream.feed(input, 1 + (input.length % 37))
    await turn()
    const reset = stream.resetNumber
    link.reset(new KithError('LINK_LOST'))
    await turn()
    assert.equal(running, 0)
    assert.equal(link.calls, 0)
    if (reset !== undefined) throw new KithError(codeOfNumber(reset))
    return `answered ${Math.min(3, stream.said.length >> 4)}`
  },
}

const clock = manualClock()

/** Two calls and a stream of ours; the other side says what it likes. Each ends once, in an answer or an error. */
const opener: FuzzTarget = {
  name: 'call-opener',
  seeds: [
    Buffer.concat([frame(3, 1, [1], '{"a":1}'), frame(4, 2, [1, 4], 'GONE', [0, 2], 'so', '{"n":1}'), frame(2, 3, [9, 1], 'i', '1'), frame(3, 3, [0])]),
    Buffer.concat([frame(3, 1, [5, 0, 0, 0, 4], '"a'), frame(7, 1, [0], 'b"'), frame(6, 2, [0, 0, 1, 0])]),
    frame(4, 1, [0, 12], 'CALL_UNKNOWN', [0, 0]),
  ],
  codes: ['WIRE_MALFORMED'],
  maxBytes: 1_024,
  iterations: 8_000,
  async run(input) {
    const stream = new FakeStream()
    const link = new ClientLink(stream, {
      clock,
      deadlines: new Deadlines(clock),
      payloadBytes: 4_096,
      budgetBytes: 8_192,
      onRetired: () => undefined,
      onOver: () => undefined,
    })
    const calls = [link.call('/a/b', 1, {}), link.call('/a/b', { x: 1 }, { encoding: 'cbor' })]
    const items = link.stream('/a/c', 1, {})
    const all = Promise.allSettled([
      ...calls,
      (async () => {
        for await (const _item of items);
      })(),
    ])
    stream.feed(input, 1 + (input.length % 37))
    await turn()
    const reset = stream.resetNumber
    link.close(new KithError('CLOSED'))
    for (const result of await all) assert.ok(result.status === 'fulfilled' || isKithError(result.reason))
    if (reset !== undefined) throw new KithError(codeOfNumber(reset))
    return 'heard'
  },
}

// ---- open form

const envelopes: FuzzTarget = {
  name: 'call-envelope',
  seeds: [
    encodeEnvelope({ type: 'call.requested', id: 'a', payload: { operationId: '/dev1/fs/read', input: { path: 'x' } } }),
    encodeEnvelope({ type: 'call.responded', id: 'a', payload: { output: [1, 'ä', null] } }),
    Buffer.concat([encodeEnvelope({ type: 'call.completed', id: 'a', payload: {} }), encodeEnvelope({ type: 'call.aborted', id: 'b', payload: null })]),
    encodeEnvelope({ type: 'call.error', id: 'a', payload: { code: 'NOT_FOUND', message: 'no', retryable: false } }),
  ],
  codes: ['WIRE_MALFORMED', 'MESSAGE_TOO_LARGE'],
  tokens: [Buffer.from('"__proto__":'), Buffer.from('\\u005f'), Buffer.from('[[[[[[[['), Buffer.from([0, 0, 0, 0])],
  run(input) {
    const reader = new EnvelopeReader(8_192)
    let count = 0
    const bytes = Buffer.from(input)
    const step = 1 + (input.length % 23)
    for (let at = 0; at < bytes.length; at += step) {
      reader.push(bytes.subarray(at, at + step), (envelope) => {
        count++
        assert.deepEqual(JSON.parse(encodeEnvelope(envelope).toString('utf8', 4)), JSON.parse(JSON.stringify(envelope)))
      })
    }
    return `${Math.min(count, 3)} ${reader.open}`
  },
}

// ---- values

const payloads: FuzzTarget = {
  name: 'call-payload',
  seeds: [
    Buffer.concat([Buffer.of(FORM_JSON), Buffer.from('{"a":[1,2.5,"ä",null,true]}')]),
    Buffer.concat([Buffer.of(FORM_CBOR), encodePayload({ a: [1, -2, 3.5, 'x', null, Uint8Array.of(1)] }, 'cbor').bytes]),
    Buffer.of(0),
    Buffer.of(3, 1, 2, 3),
  ],
  codes: ['WIRE_MALFORMED'],
  tokens: [Buffer.from('"__proto__":1'), Buffer.from('\\u005f'), Buffer.from('['.repeat(40)), Buffer.alloc(40, 0x81), Buffer.of(0x9f), Buffer.of(0xbf)],
  run(input) {
    const data = Buffer.from(input)
    const form = (data[0] ?? 0) & 3
    const value = decodePayload(form, data, Math.min(1, data.length), data.length)
    assert.equal(Object.getPrototypeOf({}), Object.prototype)
    // What was read can be said again.
    if (form === FORM_JSON) assert.deepEqual(JSON.parse(JSON.stringify(value)), value)
    if (form === FORM_CBOR) encodePayload(value, 'cbor')
    return `${form} ${typeof value}`
  },
}

// ---- schemas and paths

const schemas: FuzzTarget = {
  name: 'call-schema',
  seeds: [
    '{"type":"object","properties":{"a":{"type":"string","pattern":"^[a-z]+$"}},"required":["a"],"additionalProperties":false}',
    '{"$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}}}},"$ref":"#/$defs/n"}',
    '{"type":"array","items":{"anyOf":[{"type":"number","minimum":1},{"enum":["a",null]}]},"maxItems":3,"uniqueItems":true}',
    '{"if":{"const":1},"then":{"type":"integer"},"else":{"not":{"type":"null"}}}',
  ].map((text) => Buffer.from(text)),
  codes: ['CALL_SCHEMA', 'WIRE_MALFORMED'],
  tokens: ['"allOf":[', '"$ref":"#"', '"pattern":"(a+)+"', '"$ref":"http://x/"', '"uniqueItems":true', '"$id":"x"', '"format":"email"', '"$async":true'].map(
    (text) => Buffer.from(text),
  ),
  iterations: 3_000,
  reason: (error) => error.code,
  run(input) {
    const data = Buffer.from(input)
    const schema = decodePayload(FORM_JSON, data, 0, data.length)
    const checker = compileSchema(schema as Parameters<typeof compileSchema>[0], 'input')
    for (const value of [null, 1, 'a', [1, 1], { a: 'x', next: {} }]) {
      const checked = checker.check(value)
      assert.ok(checked.ok || checked.misfit.problem.length > 0)
    }
    return 'compiled'
  },
}

const paths: FuzzTarget = {
  name: 'call-path',
  seeds: ['/dev1/fs/readFile', 'fs/readFile', '/did:icn:abc/vault/sign', '/services/list'].map((text) => Buffer.from(text)),
  codes: [],
  run(input) {
    const text = Buffer.from(input).toString('latin1')
    const parsed = parseCallPath(text)
    if (parsed === undefined) return 'none'
    const again = parsed.node === '' ? [`/${parsed.name}`, parsed.name] : [`/${parsed.node}/${parsed.name}`]
    assert.ok(again.includes(text))
    return parsed.node === '' ? 'here' : 'there'
  },
}

export const callTargets: readonly FuzzTarget[] = [acceptor, opener, envelopes, payloads, schemas, paths]

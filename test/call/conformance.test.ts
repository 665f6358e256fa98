import { encodeEnvelope } from '../../src/call/envelope.ts'
import { requestBytes, writeRequest } from '../../src/call/frames.ts'
import { Outbox } from '../../src/call/outbox.ts'
import { Sending } from '../../src/call/sending.ts'
import { conformance } from '../conformance.ts'
import { FakeStream } from '../fuzz/fake-stream.ts'

/** What one side says of a call, as it leaves. */
function said(say: (sending: Sending) => void): Uint8Array {
  const stream = new FakeStream()
  const outbox = new Outbox(stream)
  say(new Sending(outbox, 0x0102_0304))
  outbox.end()
  return stream.said
}

const ENCODINGS = ['json', 'cbor'] as const

conformance('icn/call/1 header of a request', (g) => {
  const fields = {
    path: `/${g.pick(['dev1', 'a'])}/fs/read${g.integer(1_000)}`,
    traceId: g.option(() => Buffer.from(g.bytes(16)).toString('hex')),
    parentId: g.option(() => Buffer.from(g.bytes(8)).toString('hex')),
    deadlineMs: g.option(() => g.integer(2 ** 32)),
    lastEventId: g.option(() => `e${g.integer(1_000)}`),
    statement: g.option(() => g.bytes(1 + g.integer(40))),
    repeated: g.integer(2) === 1,
    items: g.integer(2) === 1,
    inputs: false,
  }
  const bytes = Buffer.alloc(requestBytes(fields))
  return bytes.subarray(0, writeRequest(bytes, 0, fields, 1))
})
conformance('icn/call/1 request', (g) =>
  said((sending) => sending.request({ path: '/a/b', items: false, inputs: false }, { n: g.integer(1_000), t: g.text(20) }, g.pick(ENCODINGS))),
)
conformance('icn/call/1 item', (g) =>
  said((sending) =>
    sending.item(
      { n: g.integer(1_000) },
      g.pick(ENCODINGS),
      g.option(() => `e${g.integer(9)}`),
    ),
  ),
)
conformance('icn/call/1 end', (g) =>
  said((sending) =>
    sending.end(
      g.option(() => g.bytesUpTo(40)),
      'json',
    ),
  ),
)
conformance('icn/call/1 error', (g) =>
  said((sending) => {
    const details = g.option(() => ({ n: g.integer(100) }))
    sending.error({ code: g.pick(['CALL_UNKNOWN', 'OUT_OF_STOCK']), message: g.text(30), ...(details === undefined ? {} : { details }) })
  }),
)
conformance('open form of calls', (g) =>
  encodeEnvelope({ type: g.pick(['call.requested', 'call.responded', 'call.error']), id: `i${g.integer(100)}`, payload: { n: g.integer(100), t: g.text(20) } }),
)

import assert from 'node:assert/strict'
import { codeOfNumber, KithError } from '../../src/core/errors.ts'
import { ACK, credit, data, FIN, frame, RST, STOP, SYN, scripted } from '../transport/script-pipe.ts'
import { echo } from '../transport/support.ts'
import { fuzz } from './mutate.ts'

const seeds = [
  Buffer.concat([data(SYN, 1, 'hello'), credit(0, 1, 70_000), data(0, 1, 'world'), credit(FIN, 1, 0)]),
  Buffer.concat([data(SYN, 1, 'x'), data(SYN, 3, 'y'), credit(RST, 1, 412), credit(STOP, 3, 413), data(FIN, 3, 'end')]),
  Buffer.concat([credit(SYN, 1, 0), data(0, 1, Buffer.alloc(300, 7)), data(FIN, 1, '')]),
  Buffer.concat([frame(2, SYN, 0, 9), frame(2, ACK, 0, 1), frame(3, 0, 0, 0), data(SYN, 1, 'x')]),
  Buffer.concat([data(ACK, 2, 'answer'), credit(ACK, 4, 100), credit(RST, 4, 0), data(FIN, 2, 'last')]),
  Buffer.concat([data(SYN, 1, 'x'), frame(3, FIN, 0, 0)]),
]

fuzz({
  name: 'mux',
  seeds,
  codes: ['MUX_PROTOCOL', 'MUX_LIMIT'],
  iterations: 8_000,
  async run(input) {
    const { pipe, mux, clock } = scripted('listener')
    mux.onStream = echo
    const own = await Promise.all([mux.open(), mux.open()])
    for (const stream of own) {
      stream.onData = (_data, start, end) => stream.consume(end - start)
      stream.write(Buffer.from('question'))
    }
    const bytes = Buffer.from(input)
    const step = 1 + ((input[0] ?? 0) % 37)
    for (let at = 0; at < bytes.length; at += step) pipe.feed(bytes.subarray(at, at + step))
    await new Promise(setImmediate)
    assert.ok(mux.streamCount <= 102)
    const end = pipe.take().find(({ type, flags }) => type === 3 && flags === FIN)
    pipe.destroyed(null)
    clock.advance(1000)
    const { error } = await mux.closed
    assert.equal(clock.pending, 0, 'no timer is left')
    if (end === undefined) return
    assert.equal(error?.code, codeOfNumber(end.length))
    throw new KithError(error?.code ?? 'INTERNAL', error?.message)
  },
})

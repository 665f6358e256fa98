import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { ErrorCode } from '../../src/core/errors.ts'
import { FrameReader, frame, writePrefix } from '../../src/stream/frame.ts'
import { liveBufferBytes } from '../support/collect.ts'

interface Run {
  frames: Buffer[]
  error: ErrorCode | undefined
  reader: FrameReader
  paused: boolean
}

function run(limit = 1 << 20, take: (payload: Buffer) => boolean = () => true): Run {
  const out: Run = { frames: [], error: undefined, reader: new FrameReader(), paused: false }
  out.reader.limit = limit
  out.reader.onFrame = (buffer, start, end) => {
    out.frames.push(Buffer.from(buffer.subarray(start, end)))
    // The payload is the reader's to overwrite: opening in place does so.
    const more = take(buffer.subarray(start, end))
    buffer.fill(0xee, start, end)
    return more
  }
  out.reader.onViolation = (error) => {
    out.error = error.code
  }
  out.reader.onPause = (paused) => {
    out.paused = paused
  }
  return out
}

/** Feeds as a socket does that reads into the memory it was given. */
function feedInPlace(reader: FrameReader, bytes: Buffer, sizes: () => number, state: { target: Buffer }): void {
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(sizes(), bytes.length - at, state.target.length)
    bytes.copy(state.target, 0, at, at + length)
    reader.feed(state.target, 0, length)
    state.target = reader.target()
    at += length
  }
}

const payloads = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.integer({ min: 100, max: 90_000 }).map((n) => new Uint8Array(n).fill(n & 255)),
  ),
  {
    maxLength: 12,
  },
)
const cuts = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 20 })

test('frames, any payloads in any pieces, come out whole and in order', () => {
  fc.assert(
    fc.property(payloads, cuts, fc.boolean(), (all, pieces, inPlace) => {
      const wire = Buffer.concat(all.map((payload) => frame(payload)))
      const out = run()
      let turn = 0
      const size = (): number => pieces[turn++ % pieces.length] as number
      if (inPlace) feedInPlace(out.reader, wire, size, { target: out.reader.target() })
      else
        for (let at = 0; at < wire.length; ) {
          const length = Math.min(size(), wire.length - at)
          const chunk = Buffer.from(wire.subarray(at, at + length))
          out.reader.feed(chunk, 0, length)
          chunk.fill(0xdd)
          at += length
        }
      assert.equal(out.error, undefined)
      assert.equal(out.frames.length, all.length)
      all.forEach((payload, i) => {
        assert.ok(out.frames[i]?.equals(payload), `frame ${i}`)
      })
      assert.equal(out.reader.partial, false)
    }),
    { numRuns: 150 },
  )
})

test('frames, held and resumed at any time, are neither lost nor doubled', () => {
  fc.assert(
    fc.property(payloads, cuts, fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), fc.boolean(), (all, pieces, holds, inPlace) => {
      const wire = Buffer.concat(all.map((payload) => frame(payload)))
      let turn = 0
      const size = (): number => pieces[turn++ % pieces.length] as number
      let taken = 0
      const out = run(1 << 20, () => holds[taken++ % holds.length] as boolean)
      const state = { target: out.reader.target() }
      for (let at = 0; at < wire.length; ) {
        // A source that was asked to pause stops reading until it is asked to go on.
        while (out.paused) out.reader.resume()
        const piece = wire.subarray(at, Math.min(wire.length, at + size()))
        if (inPlace) feedInPlace(out.reader, piece, () => 1 << 20, state)
        else out.reader.feed(Buffer.from(piece), 0, piece.length)
        at += piece.length
        if (turn % 3 === 0) out.reader.resume()
      }
      for (let i = 0; i <= all.length; i++) out.reader.resume()
      assert.deepEqual(
        out.frames.map((payload) => payload.length),
        all.map((payload) => payload.length),
      )
      all.forEach((payload, i) => {
        assert.ok(out.frames[i]?.equals(payload), `frame ${i}`)
      })
    }),
    { numRuns: 150 },
  )
})

test('frames, any bytes, end in frames within the limit or one violation, never a throw', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), fc.integer({ min: 0, max: 200 }), (chunks, limit) => {
      const out = run(limit)
      for (const chunk of chunks) out.reader.feed(Buffer.from(chunk), 0, chunk.length)
      for (const payload of out.frames) assert.ok(payload.length <= limit)
      assert.ok(out.error === undefined || out.error === 'FRAME_TOO_LARGE' || out.error === 'STREAM_CORRUPT')
    }),
    { numRuns: 500 },
  )
})

test('lengths, every width, are canonical and read back', () => {
  for (const [value, hex] of [
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [136, '8801'],
    [300, 'ac02'],
    [1_024, '8008'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [0xffff_ffff, 'ffffffff0f'],
  ] as const) {
    const bytes = Buffer.alloc(5)
    assert.equal(bytes.subarray(0, writePrefix(bytes, 0, value)).toString('hex'), hex)
  }
})

for (const [name, bytes, expected] of [
  ['overlong zero', '8000', 'STREAM_CORRUPT'],
  ['overlong in the third byte', 'ff8000', 'STREAM_CORRUPT'],
  ['beyond 32 bits', 'ffffffff10', 'STREAM_CORRUPT'],
  ['a sixth byte', 'ffffffff8f', 'STREAM_CORRUPT'],
  ['larger than the limit', '65', 'FRAME_TOO_LARGE'],
  ['the largest length', 'ffffffff0f', 'FRAME_TOO_LARGE'],
] as const) {
  test(`lengths, ${name}, is refused without waiting for a payload`, () => {
    const out = run(100)
    for (const byte of Buffer.from(bytes, 'hex')) out.reader.feed(Buffer.of(byte), 0, 1)
    assert.equal(out.error, expected)
    out.reader.feed(frame(new Uint8Array(1)), 0, 2)
    assert.deepEqual(out.frames, [])
  })
}

test('reader, a source that calls from within a payload, keeps the order', () => {
  const out = run()
  const inner = frame(Buffer.from('three'))
  const wire = Buffer.concat([frame(Buffer.from('one')), frame(Buffer.from('two'))])
  const push = out.reader.onFrame
  let fed = false
  out.reader.onFrame = (buffer, start, end) => {
    if (!fed) {
      fed = true
      out.reader.feed(inner, 0, inner.length)
    }
    return push(buffer, start, end)
  }
  out.reader.feed(wire, 0, wire.length)
  assert.deepEqual(out.frames.map(String), ['one', 'two', 'three'])
})

test('reader, stopped within a payload, hands out nothing more', () => {
  const out = run()
  const wire = Buffer.concat([frame(Buffer.from('one')), frame(Buffer.from('two'))])
  const push = out.reader.onFrame
  out.reader.onFrame = (buffer, start, end) => {
    out.reader.stop()
    return push(buffer, start, end)
  }
  out.reader.feed(wire, 0, wire.length)
  out.reader.feed(wire, 0, wire.length)
  assert.equal(out.frames.length, 1)
})

test('reader, a frame announced large, takes memory only as it arrives', () => {
  const out = run(1 << 30)
  const head = Buffer.alloc(5)
  const end = writePrefix(head, 0, 1 << 29)
  const before = liveBufferBytes()
  out.reader.feed(head, 0, end)
  let target = out.reader.target()
  for (let i = 0; i < 40; i++) {
    const length = Math.min(target.length, 65_536)
    out.reader.feed(target, 0, length)
    target = out.reader.target()
  }
  assert.ok(liveBufferBytes() - before < 16 << 20)
})

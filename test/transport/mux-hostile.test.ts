import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { liveBufferBytes } from '../support/collect.ts'
import { ACK, credit, data, FIN, frame, RST, type Scripted, STOP, SYN, scripted } from './script-pipe.ts'
import { echo } from './support.ts'

const KIB = 1024
const LIMIT = new KithError('MUX_LIMIT').number
const PROTOCOL = new KithError('MUX_PROTOCOL').number

/** The number the connection was ended with, as the peer learns it; undefined while it is open. */
function told({ pipe }: Scripted): number | undefined {
  return pipe.take().find(({ type, flags }) => type === 3 && flags === FIN)?.length
}

async function ended(scene: Scripted, number: number): Promise<void> {
  assert.equal(told(scene), number)
  scene.clock.advance(1000)
  assert.equal((await scene.mux.closed).error?.number, number)
}

const listener = (): Scripted => {
  const scene = scripted('listener')
  scene.mux.onStream = (stream) => {
    stream.onData = () => {}
  }
  return scene
}

const violations: readonly [string, Buffer][] = [
  ['version', Buffer.from([1, ...frame(0, SYN, 1, 0).subarray(1)])],
  ['type', frame(4, 0, 0, 0)],
  ['flags of data', frame(0, STOP, 1, 0)],
  ['flags of credit', frame(1, 0x20, 1, 0)],
  ['flags of a ping', frame(2, 0, 0, 0)],
  ['both flags of a ping', frame(2, SYN | ACK, 0, 0)],
  ['flags of a go-away', frame(3, RST, 0, 0)],
  ['data on stream 0', frame(0, SYN, 0, 0)],
  ['credit on stream 0', frame(1, 0, 0, 5)],
  ['a ping on a stream', frame(2, SYN, 1, 0)],
  ['a go-away on a stream', frame(3, 0, 1, 0)],
  ['a stream with a number of ours', data(SYN, 2, 'x')],
  ['a stream opened twice', Buffer.concat([data(SYN, 1, 'x'), data(SYN, 1, 'x')])],
  ['a number that fell', Buffer.concat([data(SYN, 5, 'x'), data(SYN, 3, 'x')])],
  ['data for a stream that was never opened', data(0, 7, 'x')],
  ['data for a stream of ours that was never opened', data(0, 2, 'x')],
  ['data after the end', Buffer.concat([data(SYN | FIN, 1, 'x'), data(0, 1, 'x')])],
  ['a second end', Buffer.concat([data(SYN | FIN, 1, 'x'), credit(FIN, 1, 0)])],
  ['more than the window in one frame', frame(0, SYN, 1, 256 * KIB + 1)],
  ['more than the window in many frames', Buffer.concat([data(SYN, 1, Buffer.alloc(256 * KIB)), data(0, 1, 'x')])],
  ['credit beyond 32 bits', Buffer.concat([credit(SYN, 1, 0xffff_ffff), credit(0, 1, 1)])],
]

/** What no correct peer sends whatever we did; the rest depends on streams and windows of both sides and accuses nobody. */
const malformed: ReadonlySet<string> = new Set(violations.slice(0, 11).map(([what]) => what))
const contradictory: ReadonlySet<string> = new Set([
  'data for a stream that was never opened',
  'data for a stream of ours that was never opened',
  'data after the end',
  'a second end',
])

test('a breach of the rules, is held against the peer only where no race of ours explains it', async () => {
  for (const [what, bytes] of violations) {
    const scene = listener()
    scene.pipe.feed(bytes)
    scene.clock.advance(1000)
    const { error, remote } = await scene.mux.closed
    assert.equal(remote, false)
    assert.equal(error?.details.breach, malformed.has(what) ? 'malformed-frame' : contradictory.has(what) ? 'protocol-state' : undefined, what)
  }
})

for (const [what, bytes] of violations) {
  test(`${what}: the connection ends with MUX_PROTOCOL`, async () => {
    const scene = listener()
    scene.pipe.feed(bytes)
    await ended(scene, PROTOCOL)
  })
}

test('one stream more than allowed, MUX_LIMIT', async () => {
  const scene = listener()
  for (let id = 1; id <= 199; id += 2) scene.pipe.feed(data(SYN, id, 'x'))
  assert.equal(told(scene), undefined)
  assert.equal(scene.mux.streamCount, 100)
  scene.pipe.feed(data(SYN, 201, 'x'))
  await ended(scene, LIMIT)
})

test('streams opened and reset without end, MUX_LIMIT; at 150 a second, none', async () => {
  const scene = listener()
  let id = 1
  const openAndReset = (count: number): void => {
    for (let index = 0; index < count; index++, id += 2) scene.pipe.feed(data(SYN, id, 'x'), credit(RST, id, 1))
  }
  for (let second = 0; second < 20; second++) {
    openAndReset(150)
    scene.clock.advance(1000)
  }
  assert.equal(told(scene), undefined)
  openAndReset(1000)
  assert.ok(id < 2 * (20 * 150 + 1001))
  assert.equal(scene.mux.streamCount, 0)
  await ended(scene, LIMIT)
})

const floods: readonly [string, Buffer][] = [
  ['pings', frame(2, SYN, 0, 1)],
  ['answers to pings nobody sent', frame(2, ACK, 0, 77)],
  ['empty data', frame(0, 0, 1, 0)],
  ['empty credit', credit(0, 1, 0)],
  ['credit for a stream that is over', credit(0, 3, 5)],
  ['resets of a stream that is over', credit(RST, 3, 5)],
  ['empty data for a stream that is over', frame(0, 0, 3, 0)],
]

for (const [what, flood] of floods) {
  test(`${what} without end, MUX_LIMIT with little written`, async () => {
    const scene = listener()
    scene.pipe.feed(data(SYN, 1, 'x'), data(SYN, 3, 'x'), credit(RST, 3, 0))
    let fed = 0
    let written = 0
    let end: number | undefined
    while (end === undefined && fed < 100_000) {
      scene.pipe.feed(flood)
      fed++
      for (const { type, flags, length } of scene.pipe.take()) {
        written++
        if (type === 3 && flags === FIN) end = length
      }
    }
    assert.equal(end, LIMIT)
    assert.ok(fed <= 4000 && written <= 4000, `${fed} frames in, ${written} out`)
    scene.clock.advance(1000)
    assert.equal((await scene.mux.closed).error?.code, 'MUX_LIMIT')
  })
}

test('pings while we cannot write, a few answers wait and then MUX_LIMIT', async () => {
  const scene = listener()
  scene.pipe.blocked = true
  for (let index = 0; index < 64; index++) scene.pipe.feed(frame(2, SYN, 0, index))
  assert.deepEqual(scene.pipe.take(), [])
  scene.pipe.feed(frame(2, SYN, 0, 64))
  await ended(scene, LIMIT)
})

test('a peer that never reads while we echo to it, stops at its window and holds no more than that', async () => {
  const scene = scripted('listener')
  scene.mux.onStream = echo
  scene.pipe.blocked = true
  scene.pipe.feed(data(SYN, 1, Buffer.alloc(100 * KIB)))
  scene.pipe.feed(data(0, 1, Buffer.alloc(156 * KIB)))
  assert.equal(told(scene), undefined)
  scene.pipe.feed(data(0, 1, Buffer.alloc(256 * KIB)))
  await ended(scene, PROTOCOL)
})

test('a peer whose stop never comes to an end, counts as one stream and holds no memory', async () => {
  const scene = scripted('listener')
  scene.mux.onStream = (stream) => {
    stream.onData = () => {}
    stream.stop(5)
    stream.end()
  }
  scene.pipe.feed(data(SYN, 1, 'x'))
  const before = liveBufferBytes()
  for (let index = 0; index < 500; index++) {
    scene.pipe.feed(data(0, 1, Buffer.alloc(64 * KIB)))
    await new Promise(setImmediate)
  }
  assert.equal(told(scene), undefined)
  assert.equal(scene.mux.streamCount, 1)
  assert.ok(liveBufferBytes() - before < 40 * KIB * KIB)
})

test('an owner that writes on and on without waiting, loses the stream and not the memory', async () => {
  const { pipe, mux } = scripted('dialer')
  const stream = await mux.open()
  const errors: string[] = []
  stream.onError = (error) => errors.push(error.code)
  pipe.blocked = true
  for (let index = 0; index < 300; index++) stream.write(Buffer.alloc(64 * KIB))
  assert.deepEqual(errors, ['MUX_LIMIT'])
  assert.equal(mux.streamCount, 0)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { FLAG_STOP, TYPE_GO_AWAY, TYPE_WINDOW_UPDATE } from '../../src/transport/mux/frames.ts'
import { UNREAD_CONTROL_BYTES } from '../../src/transport/mux/limits.ts'
import { attacker, linkTo, startNode } from '../hostile/support.ts'
import { NOW } from '../mesh/fixtures.ts'
import { credit, data, FIN, SYN, scripted } from '../transport/script-pipe.ts'
import { within } from '../transport/support.ts'

test('a header that never ends on a stream whose other direction the peer has stopped, TIMEOUT', async (t) => {
  const clock = manualClock(NOW)
  const node = await startNode(t, 'node', { clock })
  const { mux } = await linkTo(t, node, await attacker('stopper', clock))
  const stream = await mux.open()
  const reset = new Promise<string>((resolve) => {
    stream.onData = () => {}
    stream.onError = (error) => resolve(error.code)
  })
  stream.write(Uint8Array.of(11, 0x69))
  await within('a ping of the link', mux.ping())
  mux.outbox.control(TYPE_WINDOW_UPDATE, FLAG_STOP, stream.id, 1)
  for (let round = 0; round < 2; round++) {
    await within('a ping of the link', mux.ping())
    clock.advance(10_000)
  }
  assert.equal(await within('the end of the stream', reset), 'TIMEOUT')
})

test('a peer that makes us answer and never reads, MUX_LIMIT before the answers are many', async () => {
  const scene = scripted('listener')
  scene.mux.onStream = (stream) => {
    stream.onData = () => {}
    stream.onEnd = () => stream.end()
  }
  scene.pipe.blocked = true
  let written = 0
  let told: number | undefined
  for (let id = 1; id < 400_000 && told === undefined; ) {
    const round: Buffer[] = []
    for (let index = 0; index < 1_000; index++, id += 2) round.push(data(SYN, id, 'x'), credit(FIN, id, 0))
    scene.pipe.feed(...round)
    await new Promise(setImmediate)
    const frames = scene.pipe.take()
    written += 12 * frames.length
    told = frames.find(({ type, flags }) => type === TYPE_GO_AWAY && flags === FIN)?.length
  }
  assert.equal(told, new KithError('MUX_LIMIT').number)
  assert.ok(written <= UNREAD_CONTROL_BYTES + 64 * 1024, `${written} bytes`)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/manual-clock.ts'
import { NativeMemory } from '../../src/transport/quic/native-memory.ts'
import type { LinkMemory, LinkStream } from '../../src/transport/types.ts'
import { channels } from '../transport/quic-support.ts'
import { within } from '../transport/support.ts'

const MIB = 1024 * 1024

/** A budget of its own for one connection, and the most that was ever charged to it. */
function budget(limit: number): LinkMemory & { readonly held: number; readonly most: number; refused: number } {
  let held = 0
  let most = 0
  return {
    refused: 0,
    get held() {
      return held
    },
    get most() {
      return most
    },
    reserve(bytes) {
      if (held + bytes > limit) {
        this.refused++
        return false
      }
      held += bytes
      most = Math.max(most, held)
      return true
    },
    free(bytes) {
      held -= bytes
      assert.ok(held >= 0)
    },
    touch() {},
  }
}

test('a peer that fills the windows of many streams which nobody reads, loses them by the budget, also for what the library keeps', async (t) => {
  const pair = await channels(t)
  pair.dialer.send(Buffer.from('hello'))
  await pair.listener.receive()
  pair.listener.send(Buffer.from('verdict'))
  await pair.dialer.receive()
  const memory = budget(10 * MIB)
  const dialer = pair.dialer.multiplex()
  const listener = pair.listener.multiplex({ memory })
  t.after(() => Promise.all([dialer.close(), listener.close()]))
  listener.onStream = (stream: LinkStream) => {
    stream.onData = () => {}
  }
  let lost = 0
  const refused = Promise.withResolvers<void>()
  void dialer.closed.then(() => refused.resolve())
  for (let index = 0; index < 24; index++) {
    const stream = await dialer.open()
    stream.onError = () => {
      if (++lost === 8) refused.resolve()
    }
    stream.onData = () => {}
    // Fewer than are read ahead of their owner: what is left stays in the library.
    stream.write(Buffer.alloc(MIB + 200 * 1024))
  }
  await within('the budget to be enforced', refused.promise)
  assert.ok(memory.refused > 0)
  assert.ok(memory.most <= 10 * MIB)
})

test('an honest connection that carries much over QUIC, is charged for little and ends with nothing', async (t) => {
  const pair = await channels(t)
  pair.dialer.send(Buffer.from('hello'))
  await pair.listener.receive()
  pair.listener.send(Buffer.from('verdict'))
  await pair.dialer.receive()
  const memory = budget(8 * MIB)
  const dialer = pair.dialer.multiplex()
  const listener = pair.listener.multiplex({ memory })
  t.after(() => Promise.all([dialer.close(), listener.close()]))
  const done = Promise.withResolvers<number>()
  listener.onStream = (stream) => {
    let length = 0
    stream.onData = (_data, start, end) => {
      length += end - start
      stream.consume(end - start)
    }
    stream.onEnd = () => {
      stream.end()
      done.resolve(length)
    }
  }
  const stream = await dialer.open()
  const chunk = Buffer.alloc(256 * 1024)
  for (let sent = 0; sent < 48; sent++) {
    if (!stream.write(chunk)) {
      await new Promise<void>((resolve) => {
        stream.onDrain = resolve
      })
    }
  }
  stream.end()
  assert.equal(await within('everything', done.promise), 12 * MIB)
  assert.equal(memory.refused, 0)
  await listener.close()
  assert.equal(memory.held, 0)
})

test('what the library keeps, is reckoned from packets and payload and forgiven slowly', () => {
  const clock = manualClock()
  const counts = { udp: 5_000, received: 0, sent: 0 }
  let held = 0
  const memory = new NativeMemory({
    clock,
    counts: () => ({ ...counts }),
    onChange: (bytes) => {
      held += bytes
    },
  })
  // Honest: headers, acknowledgements and some repeats.
  for (let tick = 0; tick < 100; tick++) {
    counts.udp += 1_060_000
    counts.received += MIB
    counts.sent += MIB / 4
    clock.advance(250)
  }
  assert.equal(held, 0)
  // Hostile: packets and no payload.
  counts.udp += 20 * MIB
  clock.advance(250)
  assert.ok(held > 19 * MIB)
  for (let cut = 0; cut < 10; cut++) memory.forgive(MIB)
  assert.ok(held > 9 * MIB && held < 10 * MIB)
  clock.advance(20_000)
  assert.ok(held < 9 * MIB && held > 7 * MIB)
  memory.end()
  clock.advance(10_000)
  assert.equal(clock.next, undefined)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { duplexPair } from '../stream/duplex-pair.ts'
import { connect } from '../stream/fixtures.ts'

test('messages of no bytes that nobody receives, hold the sender back like any others', async () => {
  const { dialer, listener } = await connect(duplexPair())
  const batch = Array.from({ length: 1_000 }, () => new Uint8Array(0))
  // Reading ahead begins with the first message that somebody asked for.
  await dialer.send(new Uint8Array(0))
  await listener.receive()
  let sent = 0
  const flood = async (): Promise<string> => {
    for (; sent < 200_000; sent += batch.length) await dialer.sendMany(batch)
    return 'never held back'
  }
  const quiet = async (): Promise<string> => {
    for (let before = -1; before !== sent; ) {
      before = sent
      for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
    }
    return 'held back'
  }
  assert.equal(await Promise.race([flood().catch(() => 'ended'), quiet()]), 'held back')
  assert.ok(sent < 100_000)
  for (let count = 0; count < 5_000; count++) assert.equal((await listener.receive())?.length, 0)
  await Promise.all([dialer.close(), listener.close()])
})

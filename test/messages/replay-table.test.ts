import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store, StoreOp } from '../../src/core/store/types.ts'
import { ReplayTable, type StoredKey } from '../../src/mesh/messages/replay-table.ts'
import { NOW } from '../mesh/fixtures.ts'
import { codeOf } from './messages-support.ts'

const HOUR = 3_600_000

function key(number: number, changes: Partial<StoredKey> = {}): StoredKey {
  const msgId = new Uint8Array(16)
  new DataView(msgId.buffer).setUint32(0, number)
  return { did: new Uint8Array(32).fill(1), device: new Uint8Array(32).fill(2), msgId, expiresMs: NOW + HOUR, stranger: false, ...changes }
}

async function open(
  options: { capacity?: number; store?: Store; clock?: ManualClock } = {},
): Promise<{ table: ReplayTable; store: Store; clock: ManualClock }> {
  const store = options.store ?? createMemoryStore()
  const clock = options.clock ?? manualClock(NOW)
  return { table: await ReplayTable.open({ store, clock, ...(options.capacity === undefined ? {} : { capacity: options.capacity }) }), store, clock }
}

async function take(table: ReplayTable, store: Store, stored: StoredKey): Promise<void> {
  const claim = await table.claim(stored)
  await store.batch(claim.operations)
  claim.commit()
}

test('replay table, full, refuses new messages and forgets none', async () => {
  const { table, store } = await open({ capacity: 32 })
  for (let i = 0; i < 32; i++) await take(table, store, key(i, { did: new Uint8Array(32).fill(i) }))
  assert.equal(await codeOf(() => table.claim(key(99, { did: new Uint8Array(32).fill(99) }))), 'REPLAY_FULL')
  for (let i = 0; i < 32; i++) assert.equal(await codeOf(() => table.claim(key(i, { did: new Uint8Array(32).fill(i) }))), 'REPLAYED')
})

test('replay table, one identity, has a sixteenth of it', async () => {
  const { table, store } = await open({ capacity: 64 })
  for (let i = 0; i < 4; i++) await take(table, store, key(i))
  assert.equal(await codeOf(() => table.claim(key(5))), 'REPLAY_FULL')
  await take(table, store, key(6, { did: new Uint8Array(32).fill(9) }))
})

test('replay table, strangers together, have a quarter of it', async () => {
  const { table, store } = await open({ capacity: 64 })
  const stranger = (i: number): StoredKey => key(i, { did: new Uint8Array(32).fill(i + 1), stranger: true })
  for (let i = 0; i < 16; i++) await take(table, store, stranger(i))
  assert.equal(await codeOf(() => table.claim(stranger(20))), 'REPLAY_FULL')
  await take(table, store, key(30))
})

test('replay table, reservations that are open, count as taken', async () => {
  const { table } = await open({ capacity: 16 })
  const claims = await Promise.all([table.claim(key(1))])
  assert.equal(await codeOf(() => table.claim(key(2))), 'REPLAY_FULL')
  claims[0]?.release()
  await table.claim(key(2))
})

test('replay table, what has ended, makes room and is refused for its date', async () => {
  const { table, store, clock } = await open({ capacity: 16 })
  await take(table, store, key(1))
  assert.equal(await codeOf(() => table.claim(key(2))), 'REPLAY_FULL')
  clock.advance(HOUR + 600_000 - 1)
  assert.equal(await codeOf(() => table.claim(key(1))), 'REPLAYED')
  clock.advance(60_000)
  assert.equal(await codeOf(() => table.claim(key(1))), 'MESSAGE_EXPIRED')
  assert.equal(table.size, 0)
  await take(table, store, key(2, { expiresMs: NOW + 3 * HOUR }))
})

test('replay table, clock that jumped ahead and back, accepts nothing again', async () => {
  const { store, clock } = await open()
  const wall = { offset: 0 }
  const jumping = { now: () => clock.now() + wall.offset, monotonic: () => clock.monotonic(), after: clock.after.bind(clock) }
  const table = await ReplayTable.open({ store, clock: jumping })
  await take(table, store, key(1))
  wall.offset = 10 * HOUR
  clock.advance(60_000)
  assert.equal(await codeOf(() => table.claim(key(2))), 'MESSAGE_EXPIRED')
  wall.offset = 0
  assert.equal(await codeOf(() => table.claim(key(1))), 'MESSAGE_EXPIRED')
  // Not even after a restart.
  const again = await ReplayTable.open({ store, clock })
  assert.equal(await codeOf(() => again.claim(key(1))), 'MESSAGE_EXPIRED')
  await again.claim(key(3, { expiresMs: NOW + 2 * HOUR }))
})

test('replay table, counts after a restart, are those of before', async () => {
  const { table, store } = await open({ capacity: 64 })
  for (let i = 0; i < 4; i++) await take(table, store, key(i))
  const { table: again } = await open({ capacity: 64, store })
  assert.equal(again.size, 4)
  assert.equal(await codeOf(() => again.claim(key(5))), 'REPLAY_FULL')
})

test('replay table, store that fails, keeps no place and may be asked again', async () => {
  const { store, clock } = await open()
  let failing = true
  const fragile: Store = {
    ...store,
    get: (ns, id) => (failing && ns === 'mesh/replay' ? Promise.reject(new Error('disk')) : store.get(ns, id)),
    put: store.put.bind(store),
    delete: store.delete.bind(store),
    scan: store.scan.bind(store),
    batch: store.batch.bind(store),
    close: store.close.bind(store),
  }
  const table = await ReplayTable.open({ store: fragile, clock })
  await assert.rejects(table.claim(key(1)), { message: 'disk' })
  assert.equal(table.size, 0)
  failing = false
  await table.claim(key(1))
})

test('replay table, crash at every step of taking messages in, gives each to its inbox exactly once', async () => {
  // The inbox row and the mark are one batch: whichever write the crash comes before, the next run finds both or neither.
  for (let crashAt = 0; crashAt < 8; crashAt++) {
    const store = createMemoryStore()
    let writes = 0
    const crashing: Store = {
      get: store.get.bind(store),
      put: store.put.bind(store),
      delete: store.delete.bind(store),
      scan: store.scan.bind(store),
      close: store.close.bind(store),
      batch: (operations: readonly StoreOp[], options) => (writes++ === crashAt ? Promise.reject(new Error('power')) : store.batch(operations, options)),
    }
    const deliver = async (at: Store, table: ReplayTable, number: number): Promise<void> => {
      const claim = await table.claim(key(number))
      const row = { type: 'put', ns: 'test/inbox', key: Uint8Array.of(number), value: Uint8Array.of(1) } as const
      await at.batch([...claim.operations, row])
      claim.commit()
    }
    const { table } = await open({ store: crashing, capacity: 1_024 })
    let number = 0
    try {
      for (; number < 6; number++) await deliver(crashing, table, number)
    } catch {
      // The machine is gone; its peer sends everything again after the restart.
    }
    const { table: again } = await open({ store, capacity: 1_024 })
    const taken: number[] = []
    for (let i = 0; i < 6; i++) if ((await codeOf(() => deliver(store, again, i))) === 'none') taken.push(i)
    assert.deepEqual(
      taken,
      [0, 1, 2, 3, 4, 5].filter((i) => i >= crashAt),
    )
    let rows = 0
    for await (const _ of store.scan('test/inbox')) rows++
    assert.equal(rows, 6)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../../src/core/bytes.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Store } from '../../src/core/store/types.ts'
import { Disk, type Loss } from '../../src/testing/disk.ts'
import { Scheduler } from '../../src/testing/scheduler.ts'
import { storeCompliance } from '../core/store-compliance.ts'

const NS = 'test'
const random = seededRandom('disk')

storeCompliance('simulated disk', async () => ({ store: await new Disk(new Scheduler()).open(), release: async () => undefined }))

function put(store: Store, key: string, durable: boolean): Promise<void> {
  return store.put(NS, utf8(key), utf8(key), { durable })
}

async function keys(store: Store): Promise<string> {
  const found: string[] = []
  for await (const { key } of store.scan(NS)) found.push(Buffer.from(key).toString())
  return found.join('')
}

test('a torn disk, any history of writes, keeps exactly what the last durable write covers', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 26 }), fc.constantFrom<Loss>('nothing', 'undurable', 'some'), async (history, loss) => {
      const disk = new Disk(new Scheduler())
      const store = await disk.open()
      for (const [at, durable] of history.entries()) await put(store, String.fromCharCode(97 + at), durable)
      const all = history.map((_, at) => String.fromCharCode(97 + at)).join('')
      const covered = all.slice(0, history.lastIndexOf(true) + 1)
      assert.equal(disk.undurable, all.length - covered.length)
      disk.crash(loss, random)
      const left = await keys(await disk.open())
      if (loss === 'nothing') assert.equal(left, all)
      if (loss === 'undurable') assert.equal(left, covered)
      assert.ok(all.startsWith(left) && left.startsWith(covered), `${left} of ${all}, durable ${covered}`)
      assert.equal(disk.undurable, 0)
    }),
  )
})

test('a torn disk that keeps some, over many crashes, keeps each possible part', async () => {
  const seen = new Set<string>()
  for (let round = 0; round < 100; round++) {
    const disk = new Disk(new Scheduler())
    const store = await disk.open()
    for (const key of ['a', 'b', 'c']) await put(store, key, false)
    disk.crash('some', random)
    seen.add(await keys(await disk.open()))
  }
  assert.deepEqual([...seen].sort(), ['', 'a', 'ab', 'abc'])
})

test('a batch, torn off with the rest, is kept or lost whole', async () => {
  for (let round = 0; round < 40; round++) {
    const disk = new Disk(new Scheduler())
    const store = await disk.open()
    for (const pair of ['ab', 'cd']) {
      await store.batch(
        [...pair].map((key) => ({ type: 'put', ns: NS, key: utf8(key), value: utf8(key) })),
        { durable: false },
      )
    }
    disk.crash('some', random)
    assert.ok(['', 'ab', 'abcd'].includes(await keys(await disk.open())))
  }
})

test('a delete and an overwrite that were not durable, are undone', async () => {
  const disk = new Disk(new Scheduler())
  const store = await disk.open()
  await put(store, 'a', true)
  await put(store, 'b', true)
  await store.delete(NS, utf8('a'), { durable: false })
  await store.put(NS, utf8('b'), utf8('other'), { durable: false })
  disk.crash('undurable', random)
  const after = await disk.open()
  assert.equal(await keys(after), 'ab')
  assert.deepEqual(await after.get(NS, utf8('b')), utf8('b'))
})

test('a durable write that takes its time, is done when it is on the medium, and lost before', async () => {
  const scheduler = new Scheduler()
  const disk = new Disk(scheduler, { syncMs: 5 })
  const store = await disk.open()
  let done = ''
  void put(store, 'a', true).then(() => {
    done += 'a'
  })
  await scheduler.advance(4)
  assert.equal(done, '')
  assert.equal(await keys(store), 'a', 'the node reads what it wrote')
  await scheduler.advance(6)
  assert.equal(done, 'a')
  void put(store, 'b', true).then(() => {
    done += 'b'
  })
  disk.crash('undurable', random)
  await scheduler.advance(20)
  assert.equal(done, 'a', 'a write of a dead process was answered')
  assert.equal(await keys(await disk.open()), 'a')
})

test('a store of a dead process, asked anything, never answers and writes nothing', async () => {
  const scheduler = new Scheduler()
  const disk = new Disk(scheduler)
  const old = await disk.open()
  await put(old, 'a', true)
  disk.crash('nothing', random)
  const after = await disk.open()
  let answered = 0
  const note = (): void => {
    answered++
  }
  old.get(NS, utf8('a')).then(note, note)
  put(old, 'b', true).then(note, note)
  old.scan(NS).next().then(note, note)
  await scheduler.advance(10_000)
  assert.equal(answered, 0)
  assert.equal(await keys(after), 'a')
})

test('an old copy, put back between two runs, is what the next run finds', async () => {
  const disk = new Disk(new Scheduler())
  const first = await disk.open()
  await put(first, 'a', true)
  await put(first, 'b', false)
  const copy = await disk.copy()
  await put(first, 'c', true)
  await assert.rejects(disk.restore(copy), TypeError)
  disk.crash('nothing', random)
  await disk.restore(copy)
  assert.equal(await keys(await disk.open()), 'ab')
  disk.crash('undurable', random)
  assert.equal(await keys(await disk.open()), 'ab', 'what was put back is on the medium')
})

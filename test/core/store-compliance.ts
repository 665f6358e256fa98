import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compare, utf8 } from '../../src/core/bytes.ts'
import type { ScanOptions, Store, StoreEntry } from '../../src/core/store/types.ts'

/** What every `Store` must do. `open` gives an empty one; `release` removes whatever it stood on. */
export function storeCompliance(name: string, open: () => Promise<{ store: Store; release(): Promise<void> }>): void {
  const on = (what: string, run: (store: Store) => Promise<void>): void => {
    test(`${name}, ${what}`, async () => {
      const { store, release } = await open()
      try {
        await run(store)
      } finally {
        await store.close()
        await release()
      }
    })
  }
  const key = (text: string): Uint8Array => utf8(text)

  on('value put, is what is got until it is replaced or deleted', async (store) => {
    assert.equal(await store.get('a', key('k')), undefined)
    await store.put('a', key('k'), key('one'))
    assert.deepEqual(await store.get('a', key('k')), key('one'))
    await store.put('a', key('k'), key('two'))
    assert.deepEqual(await store.get('a', key('k')), key('two'))
    await store.delete('a', key('k'))
    assert.equal(await store.get('a', key('k')), undefined)
    await store.delete('a', key('k'))
  })

  on('namespaces, same key, do not meet', async (store) => {
    await store.put('a', key('k'), key('in a'))
    await store.put('a/b', key('k'), key('in a/b'))
    assert.deepEqual(await store.get('a', key('k')), key('in a'))
    assert.deepEqual(await store.get('a/b', key('k')), key('in a/b'))
    assert.deepEqual(await keys(store, 'a', {}), ['k'])
  })

  on('empty key and empty value, are kept apart from nothing', async (store) => {
    await store.put('a', new Uint8Array(), new Uint8Array())
    assert.deepEqual(await store.get('a', new Uint8Array()), new Uint8Array())
    assert.deepEqual(await keys(store, 'a', {}), [''])
    assert.deepEqual(await keys(store, 'a', { prefix: new Uint8Array() }), [''])
  })

  on('writes not awaited, are seen by reads called after them, in order', async (store) => {
    const first = store.put('a', key('k'), key('1'))
    const second = store.put('a', key('k'), key('2'), { durable: false })
    const read = store.get('a', key('k'))
    const third = store.put('a', key('k'), key('3'))
    assert.deepEqual(await read, key('2'))
    await Promise.all([first, second, third])
    assert.deepEqual(await store.get('a', key('k')), key('3'))
  })

  on('memory of the caller, changed after the call or in a result, changes nothing', async (store) => {
    const keyBytes = key('key')
    const value = key('value')
    const writing = store.put('a', keyBytes, value)
    keyBytes.fill(0)
    value.fill(0)
    await writing
    const got = await store.get('a', key('key'))
    assert.deepEqual(got, key('value'))
    got?.fill(0)
    assert.deepEqual(await store.get('a', key('key')), key('value'))
    for await (const entry of store.scan('a')) entry.value.fill(0)
    assert.deepEqual(await store.get('a', key('key')), key('value'))
  })

  on('batch, applied, is one step in the order given', async (store) => {
    await store.put('a', key('old'), key('x'))
    await store.batch(
      [
        { type: 'put', ns: 'a', key: key('k'), value: key('1') },
        { type: 'put', ns: 'b', key: key('k'), value: key('2') },
        { type: 'delete', ns: 'a', key: key('old') },
        { type: 'delete', ns: 'a', key: key('k') },
        { type: 'put', ns: 'a', key: key('k'), value: key('3') },
      ],
      { durable: true },
    )
    assert.deepEqual(await store.get('a', key('k')), key('3'))
    assert.deepEqual(await store.get('b', key('k')), key('2'))
    assert.equal(await store.get('a', key('old')), undefined)
    await store.batch([])
  })

  on('batch with one impossible operation, changes nothing', async (store) => {
    const impossible = { type: 'put' as const, ns: 'a', key: new Uint8Array(1025), value: key('1') }
    await assert.rejects(store.batch([{ type: 'put', ns: 'a', key: key('k'), value: key('1') }, impossible]), TypeError)
    assert.equal(await store.get('a', key('k')), undefined)
  })

  on('scan, any range, gives what a sorted array gives', async (store) => {
    const bytes = fc.uint8Array({ maxLength: 3 }).map((a) => Uint8Array.from(a.map((byte) => [0, 1, 0x7f, 0xff][byte % 4] as number)))
    const all = new Map<string, Uint8Array>()
    await store.put('other', key('x'), key('x'))
    await fc.assert(
      fc.asyncProperty(
        fc.array(bytes, { maxLength: 12 }),
        fc.record({ prefix: bytes, from: bytes, to: bytes, reverse: fc.boolean(), limit: fc.nat({ max: 20 }) }, { requiredKeys: [], noNullPrototype: true }),
        async (added, options) => {
          for (const one of added) all.set(Buffer.from(one).toString('hex'), one)
          await store.batch(added.map((one) => ({ type: 'put', ns: 'a', key: one, value: one })))
          let expected = [...all.values()].sort(compare)
          const { prefix, from, to, limit } = options
          if (prefix !== undefined) expected = expected.filter((one) => Buffer.from(one.subarray(0, prefix.length)).equals(prefix))
          if (from !== undefined) expected = expected.filter((one) => compare(one, from) >= 0)
          if (to !== undefined) expected = expected.filter((one) => compare(one, to) < 0)
          if (options.reverse === true) expected.reverse()
          if (limit !== undefined) expected = expected.slice(0, limit)
          const seen: Uint8Array[] = []
          for await (const entry of store.scan('a', options)) {
            assert.deepEqual(entry.key, entry.value)
            seen.push(entry.key)
          }
          assert.deepEqual(seen, expected)
        },
      ),
      { numRuns: 120 },
    )
  })

  on('scan over thousands, both directions and cut short, sees each once in order', async (store) => {
    const count = 2000
    const name = (i: number): string => String(i).padStart(6, '0')
    await store.batch(Array.from({ length: count }, (_, i) => ({ type: 'put', ns: 'a', key: key(name(i)), value: key(name(i)) })))
    const expected = Array.from({ length: count }, (_, i) => name(i))
    assert.deepEqual(await keys(store, 'a', {}), expected)
    assert.deepEqual(await keys(store, 'a', { reverse: true }), expected.toReversed())
    assert.deepEqual(await keys(store, 'a', { limit: 300 }), expected.slice(0, 300))
    assert.deepEqual(await keys(store, 'a', { reverse: true, limit: 257 }), expected.toReversed().slice(0, 257))
    const started: StoreEntry[] = []
    for await (const entry of store.scan('a')) if (started.push(entry) === 3) break
    assert.equal(started.length, 3)
  })

  on('scan beside writes, misses nothing that is there all the time', async (store) => {
    await store.batch(Array.from({ length: 600 }, (_, i) => ({ type: 'put', ns: 'a', key: key(`k${1000 + i}`), value: key('x') })))
    const seen: string[] = []
    for await (const entry of store.scan('a')) {
      const name = Buffer.from(entry.key).toString()
      seen.push(name)
      await store.delete('a', entry.key)
      if (name.endsWith('00')) await store.put('a', key(`a${name}`), key('behind'))
    }
    assert.equal(seen.length, 600)
    assert.equal(new Set(seen).size, 600)
    assert.equal(
      (await keys(store, 'a', {})).every((name) => name.startsWith('a')),
      true,
    )
  })

  on('large values, scanned, come whole', async (store) => {
    const value = new Uint8Array(700_000).fill(7)
    for (const name of ['a', 'b', 'c', 'd']) await store.put('a', key(name), value)
    const sizes: number[] = []
    for await (const entry of store.scan('a', { reverse: true })) sizes.push(entry.value.length)
    assert.deepEqual(sizes, [700_000, 700_000, 700_000, 700_000])
  })

  on('names, keys, values and limits out of bounds, are mistakes of the caller', async (store) => {
    for (const ns of ['', 'A', '1a', 'a b', `a${'b'.repeat(64)}`, "a'"]) {
      await assert.rejects(store.get(ns, key('k')), TypeError)
      await assert.rejects(store.put(ns, key('k'), key('v')), TypeError)
      assert.throws(() => store.scan(ns), TypeError)
    }
    await assert.rejects(store.get('a', new Uint8Array(1025)), TypeError)
    await assert.rejects(store.put('a', key('k'), new Uint8Array((8 << 20) + 1)), TypeError)
    assert.throws(() => store.scan('a', { limit: -1 }), TypeError)
    assert.throws(() => store.scan('a', { limit: 1.5 }), TypeError)
  })

  on('closed store, every call, throws CLOSED and closing again is quiet', async (store) => {
    const last = store.put('a', key('k'), key('v'))
    const scanning = store.scan('a')
    await store.close()
    await last
    await store.close()
    const closed = { code: 'CLOSED' }
    await assert.rejects(store.get('a', key('k')), closed)
    await assert.rejects(store.put('a', key('k'), key('v')), closed)
    await assert.rejects(store.delete('a', key('k')), closed)
    await assert.rejects(store.batch([]), closed)
    await assert.rejects(scanning.next(), closed)
  })
}

async function keys(store: Store, ns: string, options: ScanOptions): Promise<string[]> {
  const names: string[] = []
  for await (const entry of store.scan(ns, options)) names.push(Buffer.from(entry.key).toString())
  return names
}

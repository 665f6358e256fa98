import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { follow } from '../../src/daemon/events.ts'
import { openLogFile } from '../../src/daemon/logs/file.ts'
import { createLineRing } from '../../src/daemon/logs/ring.ts'
import { createLogStore } from '../../src/daemon/logs/store.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-logs-'))
after(() => rmSync(folder, { recursive: true, force: true }))

test('log file, more lines than fit, rotates and keeps a bounded number of bounded files', () => {
  const path = join(folder, 'a', 'kith.log')
  const file = openLogFile({ path, maxBytes: 1_000, keep: 2 })
  for (let index = 0; index < 200; index++) {
    file.write(JSON.stringify({ index, text: 'x'.repeat(40) }))
    file.flush()
  }
  file.close()
  assert.deepEqual(readdirSync(join(folder, 'a')).sort(), ['kith.log', 'kith.log.1', 'kith.log.2'])
  for (const name of readdirSync(join(folder, 'a'))) assert.ok(statSync(join(folder, 'a', name)).size <= 1_000)
  assert.match(readFileSync(path, 'utf8'), /"index":199/)
  if (process.platform !== 'win32') assert.equal(statSync(path).mode & 0o777, 0o600)
})

test('log file, opened again, continues', () => {
  const path = join(folder, 'b', 'kith.log')
  for (const line of ['one', 'two']) {
    const file = openLogFile({ path, maxBytes: 1_000, keep: 0 })
    file.write(line)
    file.close()
  }
  assert.equal(readFileSync(path, 'utf8'), 'one\ntwo\n')
})

test('log file, directory gone, counts lost lines instead of throwing', () => {
  const path = join(folder, 'c', 'kith.log')
  const file = openLogFile({ path, maxBytes: 1_000, keep: 0 })
  rmSync(join(folder, 'c'), { recursive: true })
  file.write('lost')
  file.flush()
  assert.equal(file.lost, 1)
  file.close()
})

test('ring, more lines or bytes than it holds, drops the oldest', () => {
  const ring = createLineRing(3, 100)
  for (const line of ['a', 'b', 'c', 'd']) ring.push(line)
  assert.deepEqual(ring.last(10), ['b', 'c', 'd'])
  assert.deepEqual(ring.last(2), ['c', 'd'])
  ring.push('x'.repeat(99))
  assert.deepEqual(ring.last(10), ['d', 'x'.repeat(99)])
  ring.push('y'.repeat(500))
  assert.deepEqual(ring.last(10), ['y'.repeat(500)])
})

test('log store, followed, gives old and new records, also for lines that are not JSON', () => {
  const store = createLogStore()
  store.write('{"msg":"one"}\n')
  const seen: unknown[] = []
  const stop = store.follow((record) => seen.push(record))
  store.write('{"msg":"two"}\n')
  store.write('broken\n')
  stop()
  store.write('{"msg":"late"}\n')
  assert.deepEqual(seen, [{ msg: 'two' }, { msg: 'broken' }])
  assert.deepEqual(store.recent(10), [{ msg: 'one' }, { msg: 'two' }, { msg: 'broken' }, { msg: 'late' }])
})

test('following, reader slower than writer, keeps a bounded number and ends on abort', async () => {
  const abort = new AbortController()
  let push: (value: number) => void = () => {}
  let stopped = false
  const values = follow<number>((listener) => {
    push = listener
    return () => {
      stopped = true
    }
  }, abort.signal)
  const first = values.next()
  push(0)
  assert.equal((await first).value, 0)
  for (let index = 1; index <= 5_000; index++) push(index)
  assert.equal((await values.next()).value, 4_001)
  abort.abort()
  for await (const _ of values);
  assert.ok(stopped)
})

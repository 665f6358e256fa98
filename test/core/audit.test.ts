import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { type Audit, type AuditEvent, createAudit } from '../../src/core/observe/audit.ts'
import { auditHeadCodec, auditRowCodec } from '../../src/core/observe/audit-codec.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { openSqliteStore } from '../../src/core/store/sqlite.ts'
import type { Store, StoreEntry } from '../../src/core/store/types.ts'
import { conformanceOfCodec } from '../conformance.ts'

const NS = 'audit'
const HEAD = utf8('head')
const ban = (subject: string): AuditEvent => ({ actor: 'owner', action: 'ban', subject, reason: 'sent rubbish' })

interface Log {
  readonly store: Store
  readonly clock: ManualClock
  readonly audit: Audit
}

async function log(rows: number, options: { maxRows?: number } = {}): Promise<Log> {
  const store = createMemoryStore()
  const clock = manualClock(1_800_000_000_000)
  const audit = createAudit({ store, clock, ...options })
  for (let i = 1; i <= rows; i++) await audit.append(ban(`peer ${i}`))
  return { store, clock, audit }
}

async function stored(store: Store): Promise<StoreEntry[]> {
  const rows: StoreEntry[] = []
  for await (const entry of store.scan(NS, { prefix: utf8('row/') })) rows.push(entry)
  return rows
}

test('audit log, rows appended, are listed newest first and verify', async () => {
  const { audit, clock } = await log(2)
  await clock.run(5_000)
  const row = await audit.append({ ...ban('peer 3'), details: { duration_ms: 3_600_000, automatic: false, kind: 'malformed-frame' } })
  assert.equal(row.seq, 3)
  const rows = await audit.list()
  assert.deepEqual(rows[0], row)
  assert.deepEqual(
    rows.map(({ seq, subject }) => [seq, subject]),
    [
      [3, 'peer 3'],
      [2, 'peer 2'],
      [1, 'peer 1'],
    ],
  )
  assert.equal(row.timeMs - (rows[1]?.timeMs ?? 0), 5_000)
  assert.deepEqual(await audit.verify(), { rows: 3, first: 1, last: 3, head: row.hash, brokenAt: undefined })
})

test('audit log, empty, verifies with zeros as its head', async () => {
  const { audit } = await log(0)
  assert.deepEqual(await audit.verify(), { rows: 0, first: 1, last: 0, head: '00'.repeat(32), brokenAt: undefined })
  assert.deepEqual(await audit.list(), [])
})

test('audit log, read in pages, gives every row once', async () => {
  const { audit } = await log(25)
  const seen: number[] = []
  for (let before: number | undefined; ; ) {
    const page = await audit.list({ limit: 10, ...(before === undefined ? {} : { before }) })
    if (page.length === 0) break
    seen.push(...page.map(({ seq }) => seq))
    before = page.at(-1)?.seq
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 25 }, (_, i) => 25 - i),
  )
  for (const options of [{ limit: 0 }, { limit: 1_001 }, { limit: 1.5 }, { before: -1 }]) await assert.rejects(audit.list(options), TypeError)
})

test('audit log, opened again, goes on where it ended', async () => {
  const { store, clock, audit } = await log(3)
  const again = createAudit({ store, clock })
  assert.equal((await again.append(ban('peer 4'))).seq, 4)
  const verdict = await again.verify()
  assert.equal(verdict.brokenAt, undefined)
  assert.equal(verdict.rows, 4)
  assert.equal((await audit.verify()).head, verdict.head)
})

test('audit log, many rows appended at once, keeps the order of the calls', async () => {
  const { audit } = await log(0)
  const rows = await Promise.all(Array.from({ length: 50 }, (_, i) => audit.append(ban(`peer ${i}`))))
  assert.deepEqual(
    rows.map(({ seq }) => seq),
    Array.from({ length: 50 }, (_, i) => i + 1),
  )
  assert.equal((await audit.verify()).brokenAt, undefined)
})

test('audit log, any byte of any row changed, is broken at that row', async () => {
  const { store, audit } = await log(5)
  const rows = await stored(store)
  await fc.assert(
    fc.asyncProperty(fc.nat(rows.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), async (index, at, flip) => {
      const { key, value } = rows[index] as StoreEntry
      const changed = Uint8Array.from(value)
      const place = at % changed.length
      changed[place] = (changed[place] as number) ^ flip
      await store.put(NS, key, changed)
      assert.equal((await audit.verify()).brokenAt, index + 1)
      await store.put(NS, key, value)
      assert.equal((await audit.verify()).brokenAt, undefined)
    }),
    { numRuns: 200 },
  )
})

test('audit log, a row removed, swapped, doubled or added, is broken there', async () => {
  for (const index of [0, 2, 4]) {
    const { store, audit } = await log(5)
    await store.delete(NS, (await stored(store))[index]?.key as Uint8Array)
    assert.equal((await audit.verify()).brokenAt, index + 1, `row ${index + 1} removed`)
  }
  const { store, audit } = await log(5)
  const rows = await stored(store)
  const [second, fourth] = [rows[1] as StoreEntry, rows[3] as StoreEntry]
  await store.put(NS, second.key, fourth.value)
  await store.put(NS, fourth.key, second.value)
  assert.equal((await audit.verify()).brokenAt, 2)
  await store.put(NS, second.key, second.value)
  await store.put(NS, fourth.key, second.value)
  assert.equal((await audit.verify()).brokenAt, 4)
  await store.put(NS, fourth.key, fourth.value)
  assert.equal((await audit.verify()).brokenAt, undefined)
  const added = Uint8Array.from(rows[4]?.key as Uint8Array)
  added[added.length - 1] = 6
  await store.put(NS, added, rows[4]?.value as Uint8Array)
  assert.equal((await audit.verify()).brokenAt, 6)
})

test('audit log, its end cut off, is broken where the head says more', async () => {
  const { store, audit } = await log(5)
  for (const { key } of (await stored(store)).slice(3)) await store.delete(NS, key)
  assert.equal((await audit.verify()).brokenAt, 4)
})

test('audit log, all rows cut off, is broken at the first', async () => {
  const { store, audit } = await log(2)
  for (const { key } of await stored(store)) await store.delete(NS, key)
  assert.equal((await audit.verify()).brokenAt, 1)
})

test('audit log, its head removed or damaged, stays broken also after further rows', async () => {
  for (const spoil of [(store: Store) => store.delete(NS, HEAD), (store: Store) => store.put(NS, HEAD, Uint8Array.of(7))]) {
    const { store, clock, audit } = await log(3)
    await spoil(store)
    assert.equal((await audit.verify()).brokenAt, 1)
    const again = createAudit({ store, clock })
    assert.equal((await again.append(ban('peer 4'))).seq, 4)
    assert.equal((await again.verify()).brokenAt, 4)
  }
})

test('audit log, rows and head put back together as they were, is only found out by a head noted elsewhere', async () => {
  const { store, clock, audit } = await log(3)
  const before = [...(await stored(store)), { key: HEAD, value: (await store.get(NS, HEAD)) as Uint8Array }]
  await audit.append(ban('peer 4'))
  const noted = await audit.append(ban('peer 5'))
  for (const { key } of await stored(store)) await store.delete(NS, key)
  for (const { key, value } of before) await store.put(NS, key, value)
  const after = createAudit({ store, clock })
  assert.equal((await after.verify()).brokenAt, undefined)
  assert.equal((await after.verify(noted)).brokenAt, 4)
  await after.append(ban('someone else'))
  await after.append(ban('someone else'))
  assert.equal((await after.verify()).brokenAt, undefined)
  assert.equal((await after.verify(noted)).brokenAt, 5)
})

test('audit log, beyond its number of rows, begins at an anchor and still verifies', async () => {
  const { store, clock, audit } = await log(12, { maxRows: 5 })
  const verdict = await audit.verify()
  assert.deepEqual({ ...verdict, head: '' }, { rows: 5, first: 8, last: 12, head: '', brokenAt: undefined })
  assert.equal((await audit.list()).at(-1)?.seq, 8)
  const first = (await stored(store))[0] as StoreEntry
  await store.delete(NS, first.key)
  assert.equal((await audit.verify()).brokenAt, 8)
  await store.put(NS, first.key, first.value)
  const smaller = createAudit({ store, clock, maxRows: 2 })
  await smaller.append(ban('peer 13'))
  assert.equal((await smaller.verify()).rows, 2)
  assert.equal((await smaller.verify()).brokenAt, undefined)
})

test('audit log, a row that does not fit, is refused and holds up nothing', async () => {
  const { audit } = await log(1)
  const bad: AuditEvent[] = [
    { ...ban('x'), reason: 'r'.repeat(1_025) },
    { ...ban('x'), subject: 's'.repeat(513) },
    { ...ban('x'), action: 'a'.repeat(33) },
    { ...ban('x'), reason: 'two\nlines' },
    { ...ban('x'), reason: '\u202Ebackwards' },
    { ...ban('x'), details: { value: Number.NaN } },
    { ...ban('x'), details: { text: '\u0007' } },
    { ...ban('x'), details: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`n${i}`, i])) },
  ]
  for (const event of bad) assert.throws(() => audit.append(event), TypeError)
  assert.equal((await audit.append(ban('peer 2'))).seq, 2)
})

test('audit log, a store that fails once, loses only that row', async () => {
  const inner = createMemoryStore()
  let failing = false
  const store: Store = {
    ...bound(inner),
    batch: async (operations, options) => {
      if (failing) throw new KithError('STORE_FAILED')
      await inner.batch(operations, options)
    },
  }
  const audit = createAudit({ store, clock: manualClock(0) })
  await audit.append(ban('peer 1'))
  failing = true
  await assert.rejects(audit.append(ban('peer 2')), { code: 'STORE_FAILED' })
  failing = false
  assert.equal((await audit.append(ban('peer 3'))).seq, 2)
  assert.equal((await audit.verify()).brokenAt, undefined)
})

test('audit log, appending, asks the store for one durable batch and resolves after it', async () => {
  const inner = createMemoryStore()
  const order: string[] = []
  const store: Store = {
    ...bound(inner),
    batch: async (operations, options) => {
      await inner.batch(operations, options)
      order.push(`${operations.length} ${options?.durable ?? true}`)
    },
  }
  await createAudit({ store, clock: manualClock(0) }).append(ban('peer'))
  order.push('resolved')
  assert.deepEqual(order, ['2 true', 'resolved'])
})

test('audit log in SQLite, closed without notice and opened again, verifies', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kith-audit-'))
  try {
    const store = await openSqliteStore(join(directory, 'store.db'))
    const clock = manualClock(1)
    const audit = createAudit({ store, clock })
    for (let i = 0; i < 20; i++) await audit.append({ ...ban(`peer ${i}`), details: { n: i / 3, yes: true, text: '' } })
    const { head } = await audit.verify()
    await store.close()
    const again = await openSqliteStore(join(directory, 'store.db'))
    const reopened = createAudit({ store: again, clock })
    assert.deepEqual(await reopened.verify(), { rows: 20, first: 1, last: 20, head, brokenAt: undefined })
    assert.deepEqual((await reopened.list({ limit: 1 }))[0]?.details, { n: 19 / 3, text: '', yes: true })
    await again.close()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

conformanceOfCodec('audit row', auditRowCodec, (g) => ({
  _version: undefined,
  seq: g.integer(2 ** 53),
  timeMs: g.integer(2 ** 53),
  actor: g.text(128),
  action: g.text(32),
  subject: g.text(512),
  reason: g.text(1024),
  details: ['a', 'b', 'c'].filter(() => g.bool()).map((name) => ({ name, value: g.pick([g.text(256), g.integer(1_000_000), g.bool()]) })),
}))

conformanceOfCodec('audit head', auditHeadCodec, (g) => ({
  _version: undefined,
  seq: g.integer(2 ** 53),
  hash: g.bytes(32),
  anchorSeq: g.integer(2 ** 53),
  anchorHash: g.bytes(32),
}))

function bound(store: Store): Store {
  return {
    get: (ns, key) => store.get(ns, key),
    put: (ns, key, value, options) => store.put(ns, key, value, options),
    delete: (ns, key, options) => store.delete(ns, key, options),
    scan: (ns, options) => store.scan(ns, options),
    batch: (operations, options) => store.batch(operations, options),
    close: () => store.close(),
  }
}

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { openSqliteStore } from '../../src/core/store/sqlite.ts'
import { storeCompliance } from './store-compliance.ts'

const temporary = (): { path: string; release(): void } => {
  const directory = mkdtempSync(join(tmpdir(), 'kith-store-'))
  return { path: join(directory, 'store.db'), release: () => rmSync(directory, { recursive: true, force: true }) }
}

storeCompliance('memory store', async () => ({ store: createMemoryStore(), release: async () => undefined }))

storeCompliance('sqlite store', async () => {
  const { path, release } = temporary()
  return { store: await openSqliteStore(path), release: async () => release() }
})

test('sqlite store, closed and opened again, has what was written', async () => {
  const { path, release } = temporary()
  try {
    const store = await openSqliteStore(path)
    await store.put('a', utf8('k'), utf8('durable'))
    await store.put('a', utf8('l'), utf8('not synced'), { durable: false })
    await store.close()
    const again = await openSqliteStore(path)
    assert.deepEqual(await again.get('a', utf8('k')), utf8('durable'))
    assert.deepEqual(await again.get('a', utf8('l')), utf8('not synced'))
    await again.close()
    if (process.platform !== 'win32') assert.equal(statSync(path).mode & 0o777, 0o600)
  } finally {
    release()
  }
})

test('sqlite store, a value that was deleted or replaced, is found in none of its files', async () => {
  const { path, release } = temporary()
  try {
    const store = await openSqliteStore(path)
    const secret = (n: number): Uint8Array => utf8(`a key that must be gone ${n} `.repeat(40))
    for (let n = 0; n < 50; n++) await store.put('keys', utf8(`k${n}`), secret(n))
    for (let n = 0; n < 3_000; n++) await store.put('other', utf8(`o${n}`), new Uint8Array(500), { durable: false })
    for (let n = 0; n < 49; n++) await (n % 2 === 0 ? store.delete('keys', utf8(`k${n}`)) : store.put('keys', utf8(`k${n}`), new Uint8Array(3)))
    // The log begins anew after a checkpoint, and has shrunk by then.
    for (let n = 0; n < 6_000; n++) await store.put('other', utf8(`o${n}`), new Uint8Array(500).fill(1), { durable: false })
    const found = (file: string): number => (existsSync(file) ? readFileSync(file).toString('latin1').split('a key that must be gone').length - 1 : 0)
    assert.ok(found(path) + found(`${path}-wal`) <= 40, 'no more than the one value that is left')
    await store.close()
    assert.equal(existsSync(`${path}-wal`), false)
    assert.equal(found(path), 40)
  } finally {
    release()
  }
})

test('sqlite store, opened twice in one process, is locked until closed', async () => {
  const { path, release } = temporary()
  try {
    const store = await openSqliteStore(path)
    await assert.rejects(openSqliteStore(path), { code: 'STORE_LOCKED' })
    await store.put('a', utf8('k'), utf8('v'))
    await store.close()
    await (await openSqliteStore(path)).close()
  } finally {
    release()
  }
})

test('sqlite store, foreign, newer or impossible file, is refused and left alone', async () => {
  const { path, release } = temporary()
  try {
    writeFileSync(path, 'this is not a database, and long enough to be looked at '.repeat(100))
    await assert.rejects(openSqliteStore(path), { code: 'STORE_FAILED' })
    assert.match(String(statSync(path).size), /^5/)
    await assert.rejects(openSqliteStore(join(path, 'below-a-file')), { code: 'STORE_FAILED' })

    const newer = `${path}.newer`
    const { DatabaseSync } = await import('node:sqlite')
    const database = new DatabaseSync(newer)
    database.exec('PRAGMA user_version=99')
    database.close()
    await assert.rejects(openSqliteStore(newer), { code: 'STORE_FAILED', message: /version 99/ })
  } finally {
    release()
  }
})

test('sqlite store, pages damaged on disk, says so and does not invent values', async () => {
  const { path, release } = temporary()
  try {
    const store = await openSqliteStore(path)
    for (let i = 0; i < 200; i++) await store.put('a', utf8(`key ${i}`), new Uint8Array(500).fill(i))
    await store.close()
    const file = readFileSync(path)
    file.fill(0xff, 4096 * 2)
    writeFileSync(path, file)
    const damaged = await openSqliteStore(path)
    const reading = async (): Promise<void> => {
      for await (const entry of damaged.scan('a')) assert.equal(entry.value.length, 500)
    }
    await assert.rejects(reading, { code: 'STORE_FAILED' })
    await damaged.close()
  } finally {
    release()
  }
})

/** Writes until the disk (a limit on the size of files) is full, then reports what was promised and what is read back. */
const FILL = `
  const store = await openSqliteStore(process.argv[1])
  let promised = 0
  let failure = 'none'
  while (failure === 'none' && promised < 1000) {
    const value = Buffer.alloc(20_000, promised)
    const batch = [{ type: 'put', ns: 'a', key: Buffer.from('k' + promised), value }, { type: 'put', ns: 'b', key: Buffer.from('k' + promised), value }]
    await store.batch(batch).then(() => promised++, (error) => { failure = error.code })
  }
  let a = 0
  let b = 0
  for await (const entry of store.scan('a')) a++
  for await (const entry of store.scan('b')) b++
  await store.close().catch(() => undefined)
  console.log(JSON.stringify({ promised, failure, a, b }))`

test('sqlite store, disk full in the middle of a batch, fails that batch whole and keeps the others', { skip: process.platform === 'win32' }, async () => {
  const { path, release } = temporary()
  try {
    const child = run(FILL, path, ['sh', '-c', 'trap \'\' XFSZ; ulimit -f 2048; exec "$@"', 'sh'])
    let output = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    await once(child, 'close')
    const { promised, failure, a, b } = JSON.parse(output) as { promised: number; failure: string; a: number; b: number }
    assert.equal(failure, 'STORE_FAILED')
    assert.ok(promised > 0)
    assert.deepEqual([a, b], [promised, promised])
    const store = await openSqliteStore(path)
    for (let i = 0; i < promised; i++) assert.equal((await store.get('a', utf8(`k${i}`)))?.length, 20_000)
    assert.equal(await store.get('a', utf8(`k${promised}`)), undefined)
    await store.put('a', utf8('room again'), utf8('yes'))
    await store.close()
  } finally {
    release()
  }
})

/** Opens the store and then counts up, printing a number only after it was written durably. */
const COUNT = `
  const store = await openSqliteStore(process.argv[1])
  for (let n = 1; ; n++) {
    const value = Buffer.from(String(n))
    await store.batch([{ type: 'put', ns: 'a', key: Buffer.from('x'), value }, { type: 'put', ns: 'b', key: Buffer.from('x'), value }])
    await new Promise((resolve) => process.stdout.write(n + '\\n', resolve))
  }`

/** Runs a script over the store at `path` in a process of its own, `before` in front of the command. */
function run(script: string, path: string, before: readonly string[] = []): ChildProcess {
  const url = new URL('../../src/core/store/sqlite.ts', import.meta.url).href
  const flags = process.execArgv.filter((flag) => !flag.startsWith('--test'))
  const source = `import { openSqliteStore } from ${JSON.stringify(url)}\n${script}`
  const [command, ...args] = [...before, process.execPath, ...flags, '--input-type=module', '-e', source, path]
  return spawn(command as string, args, { stdio: ['ignore', 'pipe', 'inherit'] })
}

test('sqlite store, process killed while writing, keeps what was promised, whole, and its lock is gone', { timeout: 60_000 }, async () => {
  const { path, release } = temporary()
  const child = run(COUNT, path)
  try {
    assert.ok(child.stdout !== null)
    let promised = 0
    for await (const line of createInterface(child.stdout)) {
      promised = Number(line)
      if (promised === 20) await assert.rejects(openSqliteStore(path), { code: 'STORE_LOCKED' })
      if (promised === 60) child.kill('SIGKILL')
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    assert.ok(promised >= 60)
    const store = await openSqliteStore(path)
    const a = Number(Buffer.from((await store.get('a', utf8('x'))) ?? []).toString())
    const b = Number(Buffer.from((await store.get('b', utf8('x'))) ?? []).toString())
    assert.ok(a >= promised, `${a} >= ${promised}`)
    assert.equal(a, b)
    await store.close()
  } finally {
    child.kill('SIGKILL')
    release()
  }
})

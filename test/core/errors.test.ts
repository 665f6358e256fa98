import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ERROR_TABLE, type ErrorCode, errorRow } from '../../src/core/error-table.ts'
import { asKithError, codeOfNumber, isKithError, KithError, remoteError } from '../../src/core/errors.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const DOCUMENT = join(ROOT, 'docs', 'errors.md')
const codes = Object.keys(ERROR_TABLE) as ErrorCode[]

/** Codes that no source file uses yet. Only ever gets shorter: a code that is used must be taken off (`KITH_ERRORS=update` does it). */
const UNUSED_FILE = join(ROOT, 'test', 'core', 'unused-codes.json')

test('error table, every row, has a number of its own that fits the wire', () => {
  const numbers = codes.map((code) => errorRow(code).number)
  assert.equal(new Set(numbers).size, numbers.length)
  for (const number of numbers) assert.ok(Number.isInteger(number) && number > 0 && number <= 0xffff, String(number))
  for (const code of codes) {
    assert.match(code, /^[A-Z][A-Z0-9_]*$/)
    assert.match(errorRow(code).meaning, /^[A-Z].*\.$/)
  }
})

/** docs/errors.md, made from the table: `KITH_ERRORS=update npm test` writes it. */
function documentOf(): string {
  const rows = codes.map((code) => {
    const { number, exit, retry, meaning } = errorRow(code)
    return `| \`${code}\` | ${number} | ${exit} | ${retry ? 'yes' : 'no'} | ${meaning} |`
  })
  return `# Errors

Every failure has a stable code. The number stands for it on the wire and never changes; the exit status is that of the command line; "again" says
whether the same can succeed later without anybody changing anything. A message is one sentence; \`next\` beside it names the command or setting that
helps. A caller's mistake in a program is a \`TypeError\` instead. Made from \`src/core/error-table.ts\`, which a test compares with this page.

| code | number | exit | again | meaning |
|---|---|---|---|---|
${rows.join('\n')}

Exit statuses: 1 failed, 2 the command line or configuration is wrong, 3 not set up or not running, 4 refused, 5 ran out of time.
`
}

test('docs/errors.md, compared with the table, says the same', () => {
  if (process.env.KITH_ERRORS === 'update') writeFileSync(DOCUMENT, documentOf())
  assert.equal(readFileSync(DOCUMENT, 'utf8'), documentOf(), 'run once with KITH_ERRORS=update')
})

function sources(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('error-table.ts'))
    .map((name) => readFileSync(join(directory, name), 'utf8'))
}

test('error codes, searched in the source, are all used but those on the list, and the list has no used one', () => {
  const used = new Set(sources(join(ROOT, 'src')).flatMap((text) => text.match(/'[A-Z][A-Z0-9_]+'/g) ?? []))
  const unused: readonly string[] = codes.filter((code) => !used.has(`'${code}'`))
  const listed = JSON.parse(readFileSync(UNUSED_FILE, 'utf8')) as string[]
  const allowed = process.env.KITH_ERRORS === 'update' ? listed.filter((code) => unused.includes(code)) : listed
  if (allowed.length < listed.length) writeFileSync(UNUSED_FILE, `${JSON.stringify(allowed, null, 2)}\n`)
  assert.deepEqual(
    unused.filter((code) => !allowed.includes(code)),
    [],
    'in the table but never used: use them or take them out',
  )
  assert.deepEqual(
    allowed.filter((code) => !unused.includes(code)),
    [],
    'used or gone by now: take them off test/core/unused-codes.json',
  )
})

test('error, made without a message, says its meaning and carries its row', () => {
  const error = new KithError('TIMEOUT')
  assert.equal(error.message, ERROR_TABLE.TIMEOUT.meaning)
  assert.equal(error.number, 5)
  assert.equal(error.retryable, true)
  assert.equal(error.remote, false)
  assert.equal(error.name, 'KithError')
  assert.deepEqual(error.details, {})
  assert.ok(!Object.hasOwn(error, 'cause'))
})

test('error, with everything, crosses JSON as plain data without its cause', () => {
  const error = new KithError('POLICY_DENIED', 'No.', { details: { port: 80 }, next: 'kith allow', cause: new Error('inner') })
  assert.deepEqual(JSON.parse(JSON.stringify(error)), { code: 'POLICY_DENIED', message: 'No.', details: { port: 80 }, next: 'kith allow' })
  assert.equal((error.cause as Error).message, 'inner')
})

test('remote error, of a known and an unknown number, is marked as remote', () => {
  for (const code of codes) assert.equal(codeOfNumber(errorRow(code).number), code)
  const known = remoteError(413, 'why')
  assert.equal(known.code, 'POLICY_DENIED')
  assert.equal(known.remote, true)
  assert.deepEqual(known.details, { number: 413, detail: 'why' })
  const unknown = remoteError(65_535)
  assert.equal(unknown.code, 'REMOTE_ERROR')
  assert.deepEqual(unknown.details, { number: 65_535 })
})

test('anything thrown, wrapped, is a KithError with its cause', () => {
  const own = new KithError('CLOSED')
  assert.equal(asKithError(own, 'INTERNAL'), own)
  const wrapped = asKithError('a string', 'STORE_FAILED')
  assert.equal(wrapped.code, 'STORE_FAILED')
  assert.equal(wrapped.cause, 'a string')
  assert.equal(isKithError(wrapped), true)
  assert.equal(isKithError(wrapped, 'CLOSED'), false)
  assert.equal(isKithError(new Error('x')), false)
})

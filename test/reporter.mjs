import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/** Between two signs of life of a run that nobody watches on a terminal. */
const QUIET_MS = 30_000

/**
 * Prints failures with their stacks, skipped tests with their reasons, and closes with the one line that counts: `N passed, N failed, N skipped`.
 * Meanwhile a terminal shows what has been counted, and anything else gets a line now and then. With `TEST_TIMES=1` the files that took longest stand before the last line.
 * The files of which a test failed are left in `TEST_FAILED_LIST`, so that they can be run again alone (`--failed`).
 */
export default async function* reporter(source) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const terminal = process.stdout.isTTY === true
  const away = terminal ? '\r\x1b[K' : ''
  let told = Date.now()
  const times = new Map()
  const failed = new Set()
  for await (const event of source) {
    if (event.type === 'test:stderr' && process.env.KITH_TEST_STDERR === '1') yield `${away}${event.data.message}`
    if (event.type === 'test:stdout' && process.env.SIM_REPORT === '1') yield `${away}${event.data.message}`
    if ((event.type !== 'test:pass' && event.type !== 'test:fail') || event.data.details?.type === 'suite') continue
    const { name, file, nesting, skip, todo, details } = event.data
    if (nesting === 0) times.set(file, (times.get(file) ?? 0) + (details.duration_ms ?? 0))
    if (skip !== undefined || todo !== undefined) {
      counts.skipped++
      yield `${away}skipped: ${name}${typeof skip === 'string' ? ` (${skip})` : ''}\n`
    } else if (event.type === 'test:pass') {
      counts.passed++
    } else {
      counts.failed++
      if (file !== undefined) failed.add(file)
      const error = details.error?.cause ?? details.error
      yield `${away}\nFAILED: ${name}\n  in ${file ?? 'an unknown file'}\n${error?.stack ?? error?.message ?? String(error)}\n\n`
    }
    const now = Date.now()
    if (terminal) yield `\r${said(counts)}, running\x1b[K`
    else if (now - told > QUIET_MS) yield `running: ${said(counts)} so far\n`
    if (now - told > QUIET_MS) told = now
  }
  leave(failed)
  if (process.env.TEST_TIMES === '1') yield `${away}${slowest(times)}\n`
  yield `${away}${said(counts)}\n`
}

function leave(failed) {
  const list = process.env.TEST_FAILED_LIST
  if (list === undefined) return
  mkdirSync(dirname(list), { recursive: true })
  writeFileSync(list, JSON.stringify([...failed].sort()))
}

function slowest(times) {
  const most = [...times].sort((a, b) => b[1] - a[1]).slice(0, 40)
  return most.map(([file, ms]) => `${(ms / 1_000).toFixed(1).padStart(7)} s  ${file}`).join('\n')
}

function said({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

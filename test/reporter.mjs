/** Between two signs of life of a run that nobody watches on a terminal. */
const QUIET_MS = 30_000

/**
 * Prints failures with their stacks, skipped tests with their reasons, and closes with the one line that counts: `N passed, N failed, N skipped`.
 * Meanwhile a terminal shows what has been counted, and anything else gets a line now and then. With `TEST_TIMES=1` the files that took longest stand before the last line.
 */
export default async function* reporter(source) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const terminal = process.stdout.isTTY === true
  const away = terminal ? '\r\x1b[K' : ''
  let told = Date.now()
  const times = new Map()
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
      const error = details.error?.cause ?? details.error
      yield `${away}\nFAILED: ${name}\n  in ${file ?? 'an unknown file'}\n${error?.stack ?? error?.message ?? String(error)}\n\n`
    }
    const now = Date.now()
    if (terminal) yield `\r${said(counts)}, running\x1b[K`
    else if (now - told > QUIET_MS) yield `running: ${said(counts)} so far\n`
    if (now - told > QUIET_MS) told = now
  }
  if (process.env.TEST_TIMES === '1') yield `${away}${slowest(times)}\n`
  yield `${away}${said(counts)}\n`
}

function slowest(times) {
  const most = [...times].sort((a, b) => b[1] - a[1]).slice(0, 40)
  return most.map(([file, ms]) => `${(ms / 1_000).toFixed(1).padStart(7)} s  ${file}`).join('\n')
}

function said({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

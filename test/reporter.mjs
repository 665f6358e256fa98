/** Prints failures with their stacks, skipped tests with their reasons, and closes with the one line that counts: `N passed, N failed, N skipped`. */
export default async function* reporter(source) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  for await (const event of source) {
    if (event.type === 'test:stderr' && process.env.KITH_TEST_STDERR === '1') yield event.data.message
    if ((event.type !== 'test:pass' && event.type !== 'test:fail') || event.data.details?.type === 'suite') continue
    const { name, file, skip, todo, details } = event.data
    if (skip !== undefined || todo !== undefined) {
      counts.skipped++
      yield `skipped: ${name}${typeof skip === 'string' ? ` (${skip})` : ''}\n`
    } else if (event.type === 'test:pass') {
      counts.passed++
    } else {
      counts.failed++
      const error = details.error?.cause ?? details.error
      yield `\nFAILED: ${name}\n  in ${file ?? 'an unknown file'}\n${error?.stack ?? error?.message ?? String(error)}\n\n`
    }
  }
  yield `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`
}

// Run by home.test.ts: takes the home named in its argument, tells how that went, and stays.
import { isKithError } from '../../src/core/errors.ts'
import { openHome } from '../../src/identity/home.ts'

try {
  await openHome(process.argv[2] as string)
  process.send?.('held')
} catch (error) {
  process.send?.(isKithError(error) ? `${error.code} ${error.details.pid}` : String(error))
}
// The channel to the parent keeps this process alive; when the parent is gone, so is this.
process.on('disconnect', () => process.exit())

// Run by bad-key-files.test.ts: changes the passphrase of a home and tells how it went.
import { isKithError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'

const [home = '', current = '', next = ''] = process.argv.slice(2)
const secret = (text: string): Secret => Secret.take(Buffer.from(text))
const told = await changePassphrase(home, secret(current), secret(next), { environment: {}, workFactor: 1 }).then(
  () => 'changed',
  (error: unknown) => (isKithError(error) ? error.code : String(error)),
)
process.send?.(told, () => process.disconnect())

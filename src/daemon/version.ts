import { readFileSync } from 'node:fs'

/** The version of this package: `package.json` stands two directories above, in a checkout and when installed. */
export function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return (manifest as { version: string }).version
}

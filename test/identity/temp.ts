import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Secret } from '../../src/core/secret.ts'

/** A directory of the test's own, removed after it. */
export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'kith-identity-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export const secret = (text: string): Secret => Secret.take(Buffer.from(text))
export const textOf = (value: Secret): string => value.use((bytes) => bytes.toString('utf8'))

/** Cheap scrypt for tests. */
export const WORK_FACTOR = 4

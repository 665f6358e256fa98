import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Figures } from './restarts/play.ts'

/** `SIM_MESSAGES=10000000` plays as many as the promise is made for. */
const MESSAGES = Number(process.env.SIM_MESSAGES ?? 200_000)
const run = promisify(execFile)

test(`${MESSAGES} messages of all classes through restarts and torn stores of both sides, each taken in once, none lost, nobody to blame`, async () => {
  const { stdout } = await run(process.execPath, ['--conditions=kith-source', join(import.meta.dirname, 'restarts', 'main.ts'), String(MESSAGES)])
  process.stdout.write(stdout)
  const { live, stored, records, restarts, checks } = JSON.parse(stdout) as Figures & { readonly checks: number }
  assert.ok(restarts > MESSAGES / 10_000, `only ${restarts} restarts`)
  assert.ok(live > MESSAGES / 50 && stored > MESSAGES / 100 && records > MESSAGES / 100, 'a class of messages is missing')
  assert.ok(checks >= live + stored + records, 'signatures were not checked')
})

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { within } from '../transport/support.ts'

export interface Flood {
  readonly child: ChildProcess
  /** When every connection was opened or refused. */
  readonly up: Promise<{ readonly connected: number; readonly failed: number }>
  stop(): Promise<void>
}

/** Half-open connections from another process, whose turns of the loop are its own. */
export function flood(t: TestContext, port: number, count: number, manner: 'silent' | 'byte', limitMs = 60_000): Flood {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'flood-child.ts'), String(port), String(count), manner], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const up = within('the flood', once(lines, 'line'), limitMs).then(([line]) => JSON.parse(String(line)) as { connected: number; failed: number })
  up.catch(() => {})
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.stdin?.end()
    await within('the end of the flood', once(child, 'exit'))
    assert.equal(child.exitCode, 0)
  }
  t.after(() => {
    child.kill('SIGKILL')
  })
  return { child, up, stop }
}

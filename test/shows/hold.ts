import { once } from 'node:events'
import { readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Stage } from '../cli/support.ts'

/** Preloaded into a command: at its end it stands still, its memory as it is, until it is killed. It tells its pid in a file. */
const PRELOAD = `
import { renameSync, writeFileSync } from 'node:fs'
process.once('exit', () => {
  writeFileSync(process.env.HOLD_FILE + '.new', String(process.pid))
  renameSync(process.env.HOLD_FILE + '.new', process.env.HOLD_FILE)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300_000)
})
`
const HELD = 'held'

/** The environment that makes a command stand still at its end, and the wait for that moment. */
export function hold(stage: Stage): { readonly env: Readonly<Record<string, string>>; pid(): Promise<number> } {
  const preload = join(stage.folder, 'hold.mjs')
  rmSync(join(stage.folder, HELD), { force: true })
  writeFileSync(preload, PRELOAD)
  const watcher = watch(stage.folder)
  const path = join(stage.folder, HELD)
  return {
    env: { NODE_OPTIONS: `--import ${pathToFileURL(preload)}`, HOLD_FILE: path },
    async pid() {
      try {
        for (;;) {
          const pid = pidIn(path)
          if (pid !== undefined) return pid
          await once(watcher, 'change', { signal: AbortSignal.timeout(60_000) })
        }
      } finally {
        watcher.close()
      }
    },
  }
}

function pidIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'latin1'))
  } catch {
    return undefined
  }
}

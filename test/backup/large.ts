import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, openSync, readSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'

const MAX_RSS_MIB = 300

/** One large home out and in again, in a process of its own whose memory is watched. */
export async function backUpLarge(t: TestContext, bytes: number): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'kith-large-'))
  t.after(() => rmSync(base, { recursive: true, force: true }))
  const { bavail, bsize } = statfsSync(base)
  if (bavail * bsize < 3 * bytes) return t.skip(`needs ${Math.ceil((3 * bytes) / 2 ** 30)} GiB of room`)
  const child = join(import.meta.dirname, 'large-child.ts')
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=kith-source', child, base, String(bytes)])
  const said = JSON.parse(stdout) as { bytes: number; content: number; maxRssMiB: number; seconds: Record<string, number> }
  t.diagnostic(`${bytes / 2 ** 30} GiB: ${said.maxRssMiB} MiB of memory at most; seconds: ${JSON.stringify(said.seconds)}`)
  assert.ok(said.content > bytes && said.bytes > said.content)
  assert.ok(said.maxRssMiB < MAX_RSS_MIB, `${said.maxRssMiB} MiB`)
  const restored = join(base, 'again', 'inbox', 'large.bin')
  assert.equal(statSync(restored).size, bytes)
  const begin = Buffer.alloc(16)
  readSync(openSync(restored, 'r'), begin)
  assert.equal(begin.toString('latin1', 0, 11), 'begins here')
}

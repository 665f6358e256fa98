import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

function play(seed: number): string {
  const child = fileURLToPath(new URL('./replay-child.ts', import.meta.url))
  return execFileSync(process.execPath, ['--conditions=kith-source', child, String(seed)], { encoding: 'utf8', timeout: 60_000 })
}

test('a seed with post-quantum keys, played in two processes, has one digest', () => {
  const digest = play(4)
  assert.match(digest, /^[0-9a-f]{64}$/)
  assert.equal(play(4), digest)
})

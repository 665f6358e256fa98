import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const KITH = join(ROOT, 'bin', 'kith.mjs')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'http.md'), 'utf8')

test('the guide to HTTP, typed line by line, works', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-http-guide-'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)
    const programs = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(KITH)} "$@"; }\nnode() { ${JSON.stringify(process.execPath)} "$@"; }`
    const { stdout, stderr } = await run('bash', ['-c', `set -e\n${programs}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 100_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /\{"did":"did:icn:[^"]+","name":"desk","version":"[^"]+"\}/)
    assert.match(stdout, /"uptime_s":\d+/)
    assert.match(stdout, /\{"error":\{"code":"GATEWAY_UNAUTHORIZED",/)
    assert.match(stdout, /^\{"error":\{"code":"CALL_UNKNOWN",/m)
    assert.match(stdout, /^1$/m)
    assert.match(stdout, /^.*\bnode_about node_status\b.*\ndesk$/m)
    // By WebSocket, behind the tools.
    assert.match(stdout, /^desk\ndesk$/m)
    assert.doesNotMatch(stderr, /^error/m)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

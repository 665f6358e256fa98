import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const KITH = join(ROOT, 'bin', 'kith.mjs')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'key-files.md'), 'utf8')

test('the guide to key files, typed line by line, works', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-key-files-guide-'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)
    const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(KITH)} "$@"; }`
    const { stdout, stderr } = await run('bash', ['-c', `set -e\n${kith}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 200_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /^exported {2}did:icn:\S+ to \.\/desk\.kith$/m)
    assert.match(stdout, /^imported {2}laptop {2}did:icn:/m)
    assert.match(stdout, /^elsewhere {2}another machine changes the keys/m)
    assert.match(stdout, /^changed {2}did:icn:/m)
    assert.match(
      stdout,
      /^set {2}a second passphrase opens another identity\nno second passphrase\nset {2}a second passphrase opens another identity\nno second passphrase$/m,
    )
    assert.doesNotMatch(stderr, /^error/m)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const KITH = join(ROOT, 'bin', 'kith.mjs')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'keys.md'), 'utf8')

test('the guide to keys, typed line by line, works', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-keys-guide-'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)
    const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(KITH)} "$@"; }`
    const { stdout, stderr } = await run('bash', ['-c', `set -e\n${kith}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 200_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /^first-seen {2}only it showed its keys: at most known$/m)
    assert.match(stdout, /^alice +partner +first-seen /m)
    assert.match(stdout, /^alice vouched for: its class counts now$/m)
    assert.match(stdout, /^alice +partner +anchored /m)
    assert.match(stdout, /^1 +rotate +scheduled /m)
    assert.match(stdout, /^rotated {2}the identity is at entry 2 of its chain/m)
    assert.match(stdout, /^rotated {2}this machine's link key is /m)
    assert.match(stdout, /^kith_link_key_age_seconds \d+$/m)
    assert.match(stdout, /owner +peer\.anchor +alice/)
    assert.match(stderr, /CONFIRM_NOTHING/)
    assert.doesNotMatch(stderr, /^error(?!\[CONFIRM_NOTHING\])/m)
  } finally {
    for (const home of ['alice', 'bob'])
      if (existsSync(join(folder, home))) await run(process.execPath, [KITH, 'down', '--home', join(folder, home)], { env }).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
})

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const KITH = join(ROOT, 'bin', 'kith.mjs')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'devices.md'), 'utf8')

test('the guide to devices, typed line by line, works', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-devices-guide-'))
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)
    const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(KITH)} "$@"; }`
    const { stdout, stderr } = await run('bash', ['-c', `set -e\n${kith}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 200_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /^joined {2}phone is a machine of did:icn:z\w+$/m)
    assert.match(stdout, /^laptop +[0-9a-f]{64} +link records +\d{4}-\d\d-\d\d +this one$/m)
    assert.match(stdout, /^phone +[0-9a-f]{64} +link records +\d{4}-\d\d-\d\d +this one$/m)
    assert.match(stdout, /^the keys of this identity are on another machine$/m)
    assert.match(stdout, /^key +on another machine$/m)
    assert.match(stdout, /^renewed {2}valid until /m)
    assert.match(stdout, /^revoked {2}phone [0-9a-f]{64}$/m)
    assert.match(stdout, /^phone +[0-9a-f]{64} +revoked \d{4}-\d\d-\d\d: lost$/m)
    assert.match(stdout, /owner +device\.approve /)
    assert.match(stdout, /owner +device\.revoke .*lost/)
    assert.match(stdout, /#device-/)
    assert.match(stderr, /^error\[IDENTITY_MISSING\]/m)
    assert.match(stderr, /^next: run this on the machine that holds the identity$/m)
    assert.doesNotMatch(stderr, /^error(?!\[IDENTITY_MISSING\])/m)
  } finally {
    for (const home of ['laptop', 'phone'])
      if (existsSync(join(folder, home))) await run(process.execPath, [KITH, 'down', '--home', join(folder, home)], { env }).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
})

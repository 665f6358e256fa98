import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const KITH = join(ROOT, 'bin', 'kith.mjs')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'port-443.md'), 'utf8')
const missing = ['curl', 'openssl'].find((program) => spawnSync(program, ['--version']).error !== undefined)

test('the guide to port 443, typed line by line, works', {
  timeout: 120_000,
  skip: missing === undefined ? false : `${missing} is not installed`,
}, async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'kith-port-443-')))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)
    const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(KITH)} "$@"; }`
    const { stdout, stderr } = await run('bash', ['-c', `set -e\n${kith}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 100_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /^<h1>My garden<\/h1>$/m)
    assert.match(stdout, /<center><h1>404 Not Found<\/h1><\/center>\r?\n<hr><center>nginx\/1\.22\.1<\/center>/)
    assert.match(stdout, /wss:\/\/127\.0\.0\.1:18443/)
    assert.doesNotMatch(stderr, /^error/m)
  } finally {
    for (const home of ['server', 'laptop'])
      if (existsSync(join(folder, home))) await run(process.execPath, [KITH, 'down', '--home', join(folder, home)], { env }).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
})

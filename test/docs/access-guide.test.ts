import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const KITH = join(ROOT, 'bin', 'kith.mjs')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'access.md'), 'utf8')
const MISSING = ['curl', 'ssh-keygen'].filter((program) => spawnSync(program, ['-?']).error !== undefined)

test('the guide to access, typed line by line, works', { timeout: 120_000, skip: MISSING.length > 0 && `without ${MISSING.join(' and ')}` }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-access-guide-'))
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)
    const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(KITH)} "$@"; }`
    const { stdout, stderr } = await run('bash', ['-c', `set -e -o pipefail\n${kith}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 100_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.equal([...stdout.matchAll(/"version":/g)].length, 2, 'the key and the token are answered once each')
    assert.match(stdout, /^denied {2}by deny key:ci call node\/status --via http$/m)
    assert.match(stdout, /^refused: 404$/m)
    assert.match(stdout, /^revoked: 401$/m)
    assert.match(stdout, /again: 401$/m)
    assert.match(stdout, /^added {2}SHA256:\S{43} {2}logs in$/m)
    assert.match(stdout, /^added {2}SHA256:\S{43} {2}signs certificates$/m)
    assert.match(stdout, /^granted {2}ssh:SHA256:\S{43} {2}reports:read$/m)
    assert.match(stdout, /^SHA256:\S{43} +signs certificates for deploy +authority/m)
    assert.match(stdout, /owner +access\.key\.add +key:ci/)
    assert.match(stdout, /owner +access\.ssh\.revoke/)
    assert.doesNotMatch(stdout, /alk_[A-Za-z0-9_-]{43}/, 'no key in lists or logs')
    assert.doesNotMatch(stderr, /^error/m)
  } finally {
    if (existsSync(join(folder, 'desk'))) await run(process.execPath, [KITH, 'down', '--home', join(folder, 'desk')], { env }).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
})

import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { homePaths, viewHome } from '../../src/identity/home.ts'
import { openIdentity } from '../../src/identity/keystore.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'backup.md'), 'utf8')
const BLOCKS = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)

function missing(): string | false {
  try {
    execFileSync('age', ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'needs age'
  }
}

/** What a person has on paper. */
async function writeWords(folder: string, env: NodeJS.ProcessEnv): Promise<void> {
  const root = join(folder, 'desk')
  const home = viewHome(homePaths(root), readFileSync(join(root, 'id'), 'latin1').trim())
  const { secret } = await resolvePassphrase({ environment: { ...env }, home })
  using identity = await openIdentity(home, { passphrase: secret })
  const phrase = identity.phrase()
  phrase?.use((words) => writeFileSync(join(folder, 'words'), words, { mode: 0o600 }))
  phrase?.wipe()
  secret.wipe()
}

test('the guide to backups, typed line by line, works', { timeout: 300_000, skip: missing() }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-guide-'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(join(ROOT, 'bin', 'kith.mjs'))} "$@"; }`
  let [stdout, stderr] = ['', '']
  const type = async (blocks: readonly string[]): Promise<void> => {
    const said = await run('bash', ['-c', `set -e\n${kith}\n${blocks.join('\n')}`], { cwd: folder, env, timeout: 200_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    stdout += said.stdout
    stderr += said.stderr
  }
  try {
    await type(BLOCKS.slice(0, 1))
    await writeWords(folder, env)
    await type(BLOCKS.slice(1))
    assert.match(stdout, /^sound {2}\d+ files/m)
    const dids = [...stdout.matchAll(/did:icn:z\w+/g)].map(([did]) => did)
    assert.equal(new Set(dids).size, 1, 'one identity from the first line to the last')
    assert.match(stdout, /^kith-backup\.json$[\s\S]*^identity\.age$[\s\S]*^kith\.db$[\s\S]*^kith-manifest\.json$/m)
    assert.doesNotMatch(stdout, /^device\.age$/m)
    assert.match(stdout, /^what was here before: .*fourth\/safety\//m)
    assert.equal(readdirSync(join(folder, 'fourth', 'safety')).length, 1)
    assert.match(stdout, /^refused, as it should be$/m)
    assert.match(stderr, /BACKUP_ROLLBACK/)
    assert.match(stderr, /id device revoke [0-9a-f]{64}/)
    assert.match(stdout, /^made {2}\S+\.age/m)
    assert.match(stdout, /^nothing to remove$/m)
  } finally {
    for (const name of ['desk', 'again']) {
      if (existsSync(join(folder, name)))
        await run(process.execPath, [join(ROOT, 'bin', 'kith.mjs'), 'down', '--home', join(folder, name)], { env }).catch(() => undefined)
    }
    rmSync(folder, { recursive: true, force: true })
  }
})

test('every code of the guide to backups, is one of the table', () => {
  const codes = [...GUIDE.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map(([, code]) => code as string)
  const known = readFileSync(join(ROOT, 'docs', 'errors.md'), 'utf8')
  assert.ok(codes.length > 8)
  for (const code of codes) assert.ok(known.includes(`\`${code}\``), code)
})

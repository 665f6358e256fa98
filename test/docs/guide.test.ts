import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'messages-and-trust.md'), 'utf8')
const NAMES = ['alice', 'bob', 'carol']

function blocks(language: string): string[] {
  return [...GUIDE.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, body]) => body as string)
}

test('the guide to messages and trust, typed line by line, works', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-guide-'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(join(ROOT, 'bin', 'kith.mjs'))} "$@"; }`
    const script = `set -e\n${kith}\n${blocks('sh').join('\n')}`
    const { stdout, stderr } = await run('bash', ['-c', script], { cwd: folder, env, timeout: 200_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /alice {2}the mill is open\n/)
    assert.match(stdout, /did:icn:z\w+ {2}the mill is open\n/, 'carol does not know alice by name')
    assert.match(stdout, /^denied {2}the topic board asks for a standing of 0\.4/m)
    assert.match(stdout, /^allowed {2}by allow/m)
    assert.match(stdout, /^delivered {2}to bob$/m)
    assert.match(stdout, /^alice .* new\n {2}see you at the mill$/m)
    assert.match(stdout, /^kept by +bob$/m)
    assert.match(stdout, /^score +0\.06, from 0\.00 here and 0\.20 through others$/m)
    assert.match(stdout, /^alice +banned /m)
    assert.match(stdout, /^denied {2}banned until .*floods the topic/m)
    assert.match(stdout, /owner +pardon +alice +a loose cable/)
    assert.match(stdout, /^intact {2}\d+ rows$/m)
    assert.doesNotMatch(stderr, /^error/m)
  } finally {
    for (const home of NAMES) {
      if (existsSync(join(folder, home))) await run(process.execPath, [join(ROOT, 'bin', 'kith.mjs'), 'down', '--home', join(folder, home)], { env })
    }
    rmSync(folder, { recursive: true, force: true })
  }
})

test('the program of the guide to messages and trust, runs', { timeout: 60_000 }, async () => {
  const folder = join(ROOT, '.cache', 'guide')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'program.ts')
  writeFileSync(file, blocks('ts')[0] as string)
  try {
    const { stdout } = await run(process.execPath, ['--conditions=kith-source', file], { cwd: ROOT, timeout: 50_000 })
    assert.equal(stdout, 'true the mill is open\ndelivered see you at the mill\n2500 allowed\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

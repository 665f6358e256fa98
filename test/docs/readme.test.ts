import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')

function blocks(language: string): string[] {
  return [...README.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, body]) => body as string)
}

/** Whatever the script left running ends, and its homes are free: a test that fails leaves no node behind. */
async function stopNodes(folder: string, env: NodeJS.ProcessEnv): Promise<void> {
  for (const home of ['alice', 'bob']) {
    if (!existsSync(join(folder, home))) continue
    await run(process.execPath, [join(ROOT, 'bin', 'kith.mjs'), 'down', '--home', join(folder, home)], { env, timeout: 60_000 })
  }
}

test('the five minutes of the README, typed line by line, work', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-readme-'))
  const server = createServer((_request, response) => response.end('from alice')).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const port = (server.address() as { port: number }).port
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  try {
    const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(join(ROOT, 'bin', 'kith.mjs'))} "$@"; }`
    // Port 8000 of the README stands for whatever runs on alice's machine; here it is a server of this test.
    const script = `set -e\n${kith}\n${blocks('sh').join('\n').replaceAll(':8000', `:${port}`)}`
    const { stdout, stderr } = await run('bash', ['-c', script], { cwd: folder, env, timeout: 170_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stderr, /error\[FORWARD_DENIED\]/)
    assert.match(stderr, new RegExp(`kith allow did:icn:z\\w+ forward localhost:${port}`))
    assert.match(stdout, /127\.0\.0\.1:\d+/)
    assert.match(stdout, /ticket/)
  } finally {
    server.close()
    await stopNodes(folder, env)
    rmSync(folder, { recursive: true, force: true })
  }
})

blocks('ts').forEach((body, index) => {
  test(`the ${index === 0 ? 'first' : 'second'} program of the README runs`, { timeout: 60_000 }, async () => {
    const folder = join(ROOT, '.cache', 'readme')
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    const file = join(folder, `program-${index}.ts`)
    writeFileSync(file, body)
    try {
      const { stdout } = await run(process.execPath, ['--conditions=kith-source', file], { cwd: ROOT, timeout: 50_000 })
      assert.match(stdout, index === 0 ? /HELLO/ : /hello/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

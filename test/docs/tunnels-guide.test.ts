import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { freePort } from '../support/ports.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const LAUNCHER = join(ROOT, 'bin', 'kith.mjs')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'tunnels.md'), 'utf8')
const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)

test('the guide to tunnels, typed line by line, works', { timeout: 120_000, skip: !existsSync('/usr/bin/curl') && 'curl is not installed' }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-tunnels-guide-'))
  const env: NodeJS.ProcessEnv = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1', no_proxy: '', NO_PROXY: '' }
  const web = createServer((_request, response) => response.end('from desk\n')).listen(0, '127.0.0.1')
  await once(web, 'listening')
  const [webPort, back] = [(web.address() as AddressInfo).port, await freePort()]
  try {
    const node = JSON.stringify(process.execPath)
    const script = `set -e\nkith() { ${node} ${JSON.stringify(LAUNCHER)} "$@"; }\nnode() { ${node} "$@"; }\nWEB=${webPort} BACK=${back}\n${blocks.join('\n')}`
    const { stdout, stderr } = await run('bash', ['-c', script], { cwd: folder, env, timeout: 100_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.equal(stdout.split('from desk\n').length - 1, 6, stdout)
    assert.match(stdout, /listens on 127\.0\.0\.1:\d+/)
    assert.doesNotMatch(stderr, /^error/m)
    assert.doesNotMatch(readFileSync(join(folder, 'laptop', 'config.toml'), 'utf8'), /forward/)
  } finally {
    for (const home of ['laptop', 'desk']) {
      if (existsSync(join(folder, home))) await run(process.execPath, [LAUNCHER, 'down', '--home', join(folder, home)], { env })
    }
    web.close()
    rmSync(folder, { recursive: true, force: true })
  }
})

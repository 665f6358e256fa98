import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'ssh.md'), 'utf8')
const skip = spawnSync('ssh', ['-V']).error !== undefined || process.platform !== 'linux' ? 'needs ssh on Linux' : false

test('the guide to SSH, typed line by line, works', { timeout: 60_000, skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-ssh-guide-'))
  const env: NodeJS.ProcessEnv = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  const web = createServer((_request, response) => response.end('from the web\n')).listen(0, '127.0.0.1')
  await once(web, 'listening')
  const [webPort, port] = [(web.address() as AddressInfo).port, await freePort()]
  mkdirSync(join(folder, 'shared'))
  writeFileSync(join(folder, 'request'), 'GET / HTTP/1.0\r\n\r\n')
  // The guide's node listens for SSH alone: no other port of this machine is taken.
  const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) =>
    (body as string)
      .replace('127.0.0.1:PORT', `127.0.0.1:${port}`)
      .replace('"/FOLDER"', JSON.stringify(join(folder, 'shared')))
      .replace('[ssh]\n', 'listen = ["tcp://127.0.0.1:0"]\n[discovery]\nmdns = false\n[ssh]\n'),
  )
  const options = '-F none -i key -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=known_hosts'
  try {
    const script = `set -e\nkith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(LAUNCHER)} "$@"; }\nWEB=${webPort} PORT=${port} OPTIONS=${JSON.stringify(options)}\n${blocks.join('\n')}`
    const { stdout } = await run('bash', ['-c', script], { cwd: folder, env, timeout: 50_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /"name":"node\/about"/)
    assert.match(stdout, /from the web/)
    assert.equal(readFileSync(join(folder, 'back.txt'), 'utf8'), 'hello\n')
    assert.equal(readFileSync(join(folder, 'shared', 'hello.txt'), 'utf8'), 'hello\n')
    assert.match(stdout, new RegExp(`listens +127\\.0\\.0\\.1:${port}`))
  } finally {
    if (existsSync(join(folder, 'node'))) await run(process.execPath, [LAUNCHER, 'down', '--home', join(folder, 'node')], { env }).catch(() => {})
    web.close()
    rmSync(folder, { recursive: true, force: true })
  }
})

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'recovery.md'), 'utf8')
const NAMES = ['ann', 'bob', 'carol', 'dave', 'new', 'stolen', 'thief']
const DAY = 86_400_000

const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)

test('the runbook of recovery, typed line by line, with a calendar that is turned where it waits, works', { timeout: 400_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-runbook-'))
  const calendar = join(folder, 'calendar')
  writeFileSync(calendar, '0')
  const preload = pathToFileURL(join(import.meta.dirname, 'calendar.mjs')).href
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1', NODE_OPTIONS: `--import ${preload}`, CALENDAR_FILE: calendar }
  try {
    const functions = [
      `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(join(ROOT, 'bin', 'kith.mjs'))} "$@"; }`,
      // Only days are slept here.
      `sleep() { local days=\${1%d}; echo $(( $(cat ${JSON.stringify(calendar)}) + days * ${DAY} )) > ${JSON.stringify(calendar)}; command sleep 1; }`,
    ]
    const script = ['set -e', ...functions, ...blocks].join('\n')
    const { stdout, stderr } = await run('bash', ['-c', script], { cwd: folder, env, timeout: 300_000, maxBuffer: 1 << 24 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    assert.match(stdout, /^fixed {2}/m)
    assert.match(stdout, /^trustees {2}2 of 3: bob, carol, dave; 3d to object$/m)
    assert.match(stdout, /^ready {2}this home has a throw-away identity/m)
    assert.match(stdout, /^asked {2}call each trustee and read these four words: [a-z]+ [a-z]+ [a-z]+ [a-z]+$/m)
    assert.match(stdout, /^state +0 of 2 attested$/m)
    assert.match(stdout, /^state +takes effect here on /m)
    assert.match(stderr, /error\[RECOVERY_WAITING\] It takes effect here on \d{4}-/)
    const [, recovered] = /^recovered {2}this home is one of (did:icn:z\w+) now/m.exec(stdout) ?? []
    assert.ok(recovered !== undefined)
    assert.match(stdout, new RegExp(`^${recovered}$`, 'm'), 'id show names the old identity')
    assert.match(stderr, /Somebody who says to be ann asks for new keys of/)
    assert.match(stderr, /Call the person on a number you know from before/)
    const pings = stdout.slice(stdout.indexOf('recovered  '))
    assert.match(pings, /bob/, 'the new home reaches bob')
    assert.match(stdout, /unless you stop it/)
    assert.match(stdout, /^stopped {2}/m)
    assert.match(stderr, /error\[RECOVERY_(OVER|WAITING)\]/)
    assert.match(stdout, /^state +ended by the owner’s own keys$/m)
    const codes = [...stderr.matchAll(/^error\[(\w+)\]/gm)].map(([, code]) => code)
    assert.equal(codes.length, 3, `the three refusals of the guide, and no other: ${codes.join(' ')}`)
  } finally {
    const { NODE_OPTIONS: _, ...plain } = env
    for (const home of NAMES) {
      if (existsSync(join(folder, home)))
        await run(process.execPath, [join(ROOT, 'bin', 'kith.mjs'), 'down', '--home', join(folder, home)], { env: plain }).catch(() => undefined)
    }
    rmSync(folder, { recursive: true, force: true })
  }
})

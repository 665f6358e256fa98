import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')

test('the packed package, installed below node_modules, has its command and its libraries without the sources', { timeout: 180_000 }, async () => {
  // Inside the checkout, so that dependencies resolve as an installer would have laid them out; Node strips no types below node_modules, so only dist/ can run.
  mkdirSync(join(ROOT, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(ROOT, '.cache', 'installed-'))
  try {
    await run(process.execPath, ['scripts/build.mjs'], { cwd: ROOT })
    await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT })
    await run('tar', ['-xzf', readdirSync(folder)[0] as string], { cwd: folder })
    mkdirSync(join(folder, 'node_modules'))
    renameSync(join(folder, 'package'), join(folder, 'node_modules', 'kith'))

    const { stdout: version } = await run(process.execPath, [join(folder, 'node_modules', 'kith', 'bin', 'kith.mjs'), '--version'], { cwd: folder })
    assert.match(version, /^(kith )?\d+\.\d+\.\d+\s*$/)

    const program = join(folder, 'program.mjs')
    writeFileSync(
      program,
      `import { createNode } from 'kith'
import { parseDid } from 'kith/identity'
import { dial } from 'kith/stream'
import * as vault from 'kith/vault'
const node = await createNode({ home: './home', passphrase: 'correct horse battery', listen: ['tcp://127.0.0.1:0'], start: true })
console.log(parseDid(node.did) === node.did, node.addresses.length, typeof dial, Object.keys(vault).length > 0)
await node.close()
`,
    )
    const { stdout } = await run(process.execPath, [program], { cwd: folder, env: { ...process.env, XDG_STATE_HOME: join(folder, 'state') } })
    assert.equal(stdout.trim(), 'true 1 function true')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

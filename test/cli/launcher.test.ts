import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const BIN = join(ROOT, 'bin', 'kith.mjs')
const folder = mkdtempSync(join(tmpdir(), 'kith-launcher-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** A Node older than the one kith needs, as a machine may have it; undefined when there is none here. */
function olderNode(): string | undefined {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    const node = join(directory, 'node')
    const major = Number(/^v(\d+)\./.exec(spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? 0)
    if (major >= 20 && major < 24) return node
  }
  return undefined
}

const older = olderNode()
const skip = older === undefined ? 'no Node older than 24 on this machine' : false
const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
const start = (args: readonly string[], extra: NodeJS.ProcessEnv = {}): ChildProcess =>
  spawn(older as string, [BIN, ...args], { env: { ...env, ...extra }, stdio: ['ignore', 'pipe', 'pipe'] })

async function ready(child: ChildProcess): Promise<{ pid: number }> {
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) return JSON.parse(line)
  throw new Error('no line')
}

test('launcher, older Node, runs the Node of the package and passes the exit status on', { skip }, async () => {
  const child = start(['config', 'chekc', '--json'])
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [status] = await once(child, 'close')
  assert.equal(status, 2)
  assert.match(JSON.parse(stderr).error.next, /^node .*kith\.mjs config --help$/)
})

test('launcher, signal, reaches the node, which ends well', { skip }, async () => {
  const child = start(['up', '--json', '--home', join(folder, 'a'), '--listen', 'tcp://127.0.0.1:0'])
  const { pid } = await ready(child)
  assert.notEqual(pid, child.pid)
  child.kill('SIGTERM')
  const [status] = await once(child, 'close')
  assert.equal(status, 0)
})

test('launcher, killed without warning, the node ends too', { skip }, async () => {
  const child = start(['up', '--json', '--home', join(folder, 'b'), '--listen', 'tcp://127.0.0.1:0'])
  await ready(child)
  child.kill('SIGKILL')
  // The pipes close when the last process that holds them has ended.
  await once(child, 'close')
})

test('launcher, no Node for this platform, says what to do', { skip }, async () => {
  const elsewhere = join(folder, 'elsewhere')
  mkdirSync(join(elsewhere, 'bin'), { recursive: true })
  cpSync(BIN, join(elsewhere, 'bin', 'kith.mjs'))
  cpSync(fileURLToPath(new URL('../../package.json', import.meta.url)), join(elsewhere, 'package.json'))
  // As an installed package, which has no src/.
  const run = (args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(older as string, [join(elsewhere, 'bin', 'kith.mjs'), ...args], { env, encoding: 'utf8' })
  assert.match(run(['status']).stderr, /^error\[UNSUPPORTED\] Kith needs Node 24\.21 or newer; this is \d+.*\nnext: install Node 24/)
  assert.equal(JSON.parse(run(['status', '--json']).stderr).error.code, 'UNSUPPORTED')
  assert.equal(run(['status']).status, 1)
  assert.equal(run(['--version']).status, 0)
})

test('launcher, checkout without its packages, names the command that installs them', () => {
  const checkout = join(folder, 'checkout')
  for (const file of ['bin/kith.mjs', 'package.json', 'src/cli/entry.ts']) cpSync(join(ROOT, file), join(checkout, file))
  const { status, stderr } = spawnSync(process.execPath, [join(checkout, 'bin', 'kith.mjs'), 'status'], { env, encoding: 'utf8' })
  assert.equal(stderr, `error[UNSUPPORTED] The packages of this checkout are not installed yet.\nnext: npm ci --ignore-scripts --prefix ${checkout}\n`)
  assert.equal(status, 1)
})

test('npm script, the shell above it ends, stops what it started', { skip: process.platform === 'win32' ? 'signals are for POSIX' : false }, async () => {
  const checkout = join(folder, 'scripts-checkout')
  for (const file of ['scripts/run.mjs', 'scripts/lib/toolchain.mjs']) cpSync(join(ROOT, file), join(checkout, file))
  for (const directory of ['bin', 'node_modules/sodium-native']) mkdirSync(join(checkout, directory), { recursive: true })
  writeFileSync(join(checkout, 'package-lock.json'), '{}')
  const lock = createHash('sha256').update('{}').update(process.platform).update(process.arch).digest('hex')
  writeFileSync(join(checkout, 'node_modules', '.kith-setup.json'), JSON.stringify({ lock, scope: 'all' }))
  writeFileSync(join(checkout, 'bin', 'kith.mjs'), 'console.log(process.pid)\nsetInterval(() => {}, 1000)\n')
  const shell = spawn('sh', ['-c', `"${process.execPath}" scripts/run.mjs start; true`], { cwd: checkout, stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: shell.stdout })) {
    assert.match(line, /^\d+$/)
    break
  }
  shell.kill('SIGTERM')
  // The pipe closes when the last process that holds it has ended.
  await once(shell, 'close')
})

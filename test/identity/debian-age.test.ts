import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { systemRandom } from '../../src/core/random.ts'
import { createKeystore } from '../../src/identity/keystore.ts'
import { secret, temporaryDirectory, WORK_FACTOR } from './temp.ts'

const run = promisify(execFile)

/** age reads a passphrase only from a terminal: python gives it one, answers the question and passes on its exit status. */
const TYPE = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp('age', ['age', '-d', '-o', sys.argv[2], sys.argv[1]])
shown = b''
while b'assphrase' not in shown:
    shown += os.read(terminal, 1024)
os.write(terminal, sys.argv[3].encode() + b'\\n')
try:
    while os.read(terminal, 1024): pass
except OSError: pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

function missing(): string | false {
  try {
    for (const tool of ['age', 'python3']) execFileSync(tool, ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'needs age and python3'
  }
}

test('both key files, given to the age tool with the passphrase, open; with another they do not', { skip: missing() }, async (t) => {
  const base = temporaryDirectory(t)
  const home = join(base, 'home')
  const made = await createKeystore(home, { passphrase: secret('correct horse'), random: systemRandom, workFactor: WORK_FACTOR })
  await made.close()
  for (const name of ['identity', 'device']) {
    const file = join(home, `${name}.age`)
    const out = join(base, name)
    await run('python3', ['-c', TYPE, file, out, 'correct horse'], { timeout: 20_000 })
    assert.equal(
      readFileSync(out)
        .subarray(0, 5 + name.length)
        .toString(),
      `kith-${name}`,
    )
    await assert.rejects(run('python3', ['-c', TYPE, file, `${out}.2`, 'wrong horse'], { timeout: 20_000 }))
  }
})

test('checksum files, given to sha256sum, agree', { skip: process.platform !== 'linux' && 'needs sha256sum' }, async (t) => {
  const home = join(temporaryDirectory(t), 'home')
  const made = await createKeystore(home, { passphrase: secret('right'), random: systemRandom, workFactor: WORK_FACTOR })
  await made.close()
  const { stdout } = await run('sha256sum', ['-c', 'identity.age.sum', 'device.age.sum'], { cwd: home })
  assert.equal(stdout, 'identity.age: OK\ndevice.age: OK\n')
})

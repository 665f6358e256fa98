import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/core/random.ts'
import { scanMemory } from '../identity/memory-scan.ts'
import { temporaryDirectory } from '../identity/temp.ts'

const TARGET = fileURLToPath(new URL('./memory-target.ts', import.meta.url))
const linuxOnly = { skip: process.platform !== 'linux' && 'reads /proc' }

test(
  'credentials and a treasury key, kept, handed out and signed with, stand nowhere but in guarded pages; the header of a request is found',
  linuxOnly,
  async (t) => {
    const base = temporaryDirectory(t)
    const files = { secret: join(base, 'secret'), seed: join(base, 'seed') }
    // Longer than a small string, so that nothing else holds it by chance.
    const secret = Buffer.from(Buffer.from(systemRandom.bytes(48)).toString('base64url'))
    const seed = Buffer.from(systemRandom.bytes(32))
    writeFileSync(files.secret, secret, { mode: 0o600 })
    writeFileSync(files.seed, seed, { mode: 0o600 })
    const child = fork(TARGET, [files.secret, files.seed], { execArgv: process.execArgv })
    t.after(() => child.kill('SIGKILL'))
    assert.deepEqual((await once(child, 'message'))[0], 'ready')
    const act = async (message: string): Promise<readonly string[]> => {
      child.send(message)
      assert.deepEqual((await once(child, 'message'))[0], message)
      return [...new Set(scanMemory(child.pid as number, { secret, seed }).map(({ name }) => name))]
    }
    assert.deepEqual(await act('keep'), [])
    assert.deepEqual(await act('lease'), [])
    assert.deepEqual(await act('inject'), ['secret'])
    child.kill('SIGKILL')
  },
)

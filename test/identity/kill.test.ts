import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/core/random.ts'
import { verifyBinding } from '../../src/identity/binding.ts'
import { createKeystore, openKeystore } from '../../src/identity/keystore.ts'
import { keyFileIntact } from '../../src/identity/keystore-file.ts'
import { secret, temporaryDirectory } from './temp.ts'

const SAVER = fileURLToPath(new URL('./kill-saver.ts', import.meta.url))

test('keystore, its process killed at any moment of a save, opens every time with a valid device of the same identity', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const options = { passphrase: secret('right'), random: systemRandom, workFactor: 2 }
  const made = await createKeystore(path, options)
  const { did } = made.identity
  await made.close()
  let saves = 0
  for (let round = 0; round < 10; round++) {
    const child = fork(SAVER, [path], { execArgv: process.execArgv })
    const exited = once(child, 'exit')
    const last = round % 5
    await new Promise<void>((resolve, reject) => {
      child.on('message', (save: number) => {
        if (save < last) return
        saves += save
        // Spread the moment over the save, which takes some ten turns of the loop there.
        let turns = round * 3
        const kill = (): void => {
          if (turns-- > 0) setImmediate(kill)
          else resolve()
        }
        kill()
      })
      child.on('exit', (code) => reject(new Error(`the saver ended by itself with ${code}`)))
    })
    child.kill('SIGKILL')
    await exited
    const opened = await openKeystore(path, options)
    assert.equal(opened.identity.did, did)
    const { device } = opened
    assert.deepEqual(verifyBinding(device.binding, { chain: opened.identity.chain, now: Date.now() }).linkKey, device.linkSigner.publicKey)
    assert.equal(await keyFileIntact(opened.home.paths.identity), true)
    assert.equal(await keyFileIntact(opened.home.paths.device), true)
    assert.deepEqual(
      readdirSync(path).filter((name) => name.endsWith('.tmp')),
      [],
    )
    await opened.close()
  }
  assert.ok(saves > 0)
})

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { createNode } from '../../src/index.ts'

/** Whoever copied the key files guesses: each guess at a person's passphrase has to cost the full factor, whatever wrote the file last. */
const FULL = 18
let folder = ''
let env: NodeJS.ProcessEnv = {}
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-guessing-')))
  env = { XDG_STATE_HOME: join(folder, 'state') }
})
after(() => rm(folder, { recursive: true, force: true }))

async function factors(home: string): Promise<number[]> {
  const read = async (name: string): Promise<number> => {
    const header = await readFile(join(home, name), 'latin1')
    return Number(/^-> scrypt \S+ (\d+)$/m.exec(header)?.[1])
  }
  return await Promise.all(['identity.age', 'device.age'].map(read))
}

test('files under a person’s passphrase, cost the full factor after each way of writing them', { timeout: 120_000 }, async () => {
  const home = join(folder, 'home')
  const passphrase = 'a short one'
  const node = await createNode({ home, passphrase, listen: ['tcp://127.0.0.1:0'], env })
  assert.deepEqual(await factors(home), [FULL, FULL])
  const client = createControlClient({ home })
  for (const route of ['POST /v1/identity/renew', 'POST /v1/identity/rotate'] as const) {
    await client.callWithSecret(route, {}, Secret.take(Buffer.from(passphrase)))
    assert.deepEqual(await factors(home), [FULL, FULL], route)
  }
  await node.close()
})

test('from a kept passphrase to a person’s own, both files get the full factor and the kept one is gone', { timeout: 120_000 }, async () => {
  const home = join(folder, 'kept')
  await (await createNode({ home, listen: ['tcp://127.0.0.1:0'], env })).close()
  const id = (await readFile(join(home, 'id'), 'utf8')).trim()
  assert.ok((await readdir(join(folder, 'state', 'kith'))).includes(`${id}.passphrase`))
  const kept = await resolvePassphrase({ home: { id, paths: { root: home } }, environment: env })
  assert.equal(kept.source, 'state')
  await changePassphrase(home, kept.secret, Secret.take(Buffer.from('my own')), { environment: env })
  assert.deepEqual(await factors(home), [FULL, FULL])
  assert.equal((await readdir(join(folder, 'state', 'kith'))).includes(`${id}.passphrase`), false)
})

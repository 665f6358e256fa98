import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createNode, isKithError } from '../../src/index.ts'

test('a peer allowed all ports of an address of this machine, still does not reach the node’s own', { timeout: 60_000 }, async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-ports-')))
  const env = { XDG_STATE_HOME: join(folder, 'state') }
  await using near = await createNode({ home: join(folder, 'near'), listen: ['tcp://127.0.0.1:0'], env })
  // What the gateway hears from this machine it trusts further than a peer.
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: gateway } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  await mkdir(join(folder, 'far'), { mode: 0o700 })
  await writeFile(join(folder, 'far', 'config.toml'), `[gateway]\nlisten = "127.0.0.1:${gateway}"\n`, { mode: 0o600 })
  await using far = await createNode({ home: join(folder, 'far'), listen: ['tcp://127.0.0.1:0'], env })
  await near.join(await far.invite())
  const own = Number(far.addresses[0]?.split(':').at(-1))
  const lan = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4')
    .map(({ address }) => address)
  await far.policy.allow(near.did, 'forward', '127.0.0.1:*')
  await far.policy.allow(near.did, 'forward', '*:*')
  await far.policy.allow(near.did, 'forward', '0.0.0.0/0:*')
  for (const host of ['127.0.0.1', ...lan]) {
    const attempt = near.forward({ peer: far.did, target: `${host}:${own}`, local: '127.0.0.1:0' })
    await assert.rejects(attempt, (error) => isKithError(error, 'FORWARD_DENIED'), host)
    assert.equal(far.why(near.did, 'forward', `${host}:${own === 1 ? 2 : own - 1}`).decision, 'allowed')
  }
  assert.equal(far.why(near.did, 'forward', `127.0.0.1:${gateway}`).decision, 'denied')
  // Said exactly, it is meant.
  await far.policy.allow(near.did, 'forward', `127.0.0.1:${own}`)
  await (await near.forward({ peer: far.did, target: `127.0.0.1:${own}`, local: '127.0.0.1:0' })).close()
  await rm(folder, { recursive: true, force: true })
})

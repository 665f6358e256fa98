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

test('a peer allowed all ports of loopback, does not reach doors and forwards of the node whose ports the system chose', { timeout: 60_000 }, async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-chosen-')))
  const env = { XDG_STATE_HOME: join(folder, 'state') }
  await using near = await createNode({ home: join(folder, 'near'), listen: ['tcp://127.0.0.1:0'], env })
  await mkdir(join(folder, 'far'), { mode: 0o700 })
  const chosen = '"127.0.0.1:0"'
  const config = `[gateway]\nlisten = ${chosen}\nraw_listen = ${chosen}\n[ssh]\nlisten = ${chosen}\n[front]\nlisten = ${chosen}\n`
  await writeFile(join(folder, 'far', 'config.toml'), config, { mode: 0o600 })
  await using far = await createNode({ home: join(folder, 'far'), listen: ['tcp://127.0.0.1:0'], env })
  await near.join(await far.invite())
  await far.policy.allow(near.did, 'forward', '127.0.0.1:*')
  const decision = (port: number): string | null => far.why(near.did, 'forward', `127.0.0.1:${port}`).decision
  const { gateway, raw, ssh, front } = far.status()
  // Of somebody else's, whose port nobody has.
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  assert.equal(decision((other.address() as AddressInfo).port), 'allowed')
  other.close()
  await near.policy.allow(far.did, 'forward', '127.0.0.1:9')
  const forward = await far.forward({ peer: near.did, target: '127.0.0.1:9', local: '127.0.0.1:0' })
  const socks = await far.socks({ peer: near.did, local: '127.0.0.1:0' })
  const places = { gateway, raw: raw?.listen, ssh: ssh?.listen, front: front?.listen, forward: forward.address, socks: socks.address }
  for (const [door, place] of Object.entries(places)) {
    const port = Number(/:(\d+)$/.exec(place ?? '')?.[1])
    assert.ok(port > 0, door)
    assert.equal(decision(port), 'denied', door)
  }
  const port = Number(forward.address.split(':').at(-1))
  await forward.close()
  assert.equal(decision(port), 'allowed', 'nothing of ours is there any more')
  await rm(folder, { recursive: true, force: true })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { Secret } from '../../src/core/secret.ts'
import { type SshServerOptions, sshFar, sshUserKey } from '../../src/daemon/services/ssh-forward.ts'
import { knownHostsLine } from '../../src/ssh/host-key.ts'
import { proxyRoute } from '../../src/transport/proxy.ts'
import { createTunnels, type TunnelStatus, type Tunnels } from '../../src/tunnel/index.ts'
import { dialAnything } from './dial.ts'
import { callerOf, type TestDoor, testDoor, userKey } from './support.ts'

const SEED = 9

/** A vault that opened, or did not yet. */
function vaults(state: { unlocked: boolean } = { unlocked: true }): Parameters<typeof sshFar>[1]['vaults'] {
  return {
    get unlocked() {
      return state.unlocked ? ['default'] : []
    },
    async opened() {
      if (!state.unlocked) throw new KithError('VAULT_LOCKED', undefined, { next: 'kith vault unlock' })
      return { signer: () => createSigner('service', Secret.take(new Uint8Array(32).fill(SEED))) } as never
    },
  }
}

interface Room {
  readonly door: TestDoor
  readonly port: number
  readonly folder: string
  readonly tunnels: Tunnels
  readonly echo: number
  /** Cuts what is logged in. */
  cut(): void
  forward(server?: Partial<SshServerOptions>, extra?: { vault?: { unlocked: boolean }; check?: boolean; target?: string }): Promise<TunnelStatus>
}

async function listening(context: TestContext, onSocket: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, onSocket).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  return (server.address() as AddressInfo).port
}

async function room(context: TestContext): Promise<Room> {
  const door = testDoor({ dial: dialAnything })
  const sockets = new Set<Socket>()
  const port = await listening(context, (socket) => {
    sockets.add(socket)
    door.door.accept(socket, { remoteAddress: '127.0.0.1', remotePort: 1, transport: 'tcp' })
  })
  const echo = await listening(context, (socket) => void socket.on('error', () => {}).pipe(socket))
  const folder = await mkdtemp(join(tmpdir(), 'kith-through-'))
  await writeFile(join(folder, 'known_hosts'), knownHostsLine('127.0.0.1', port, door.door.hostKey))
  const { fingerprint } = await sshUserKey(vaults())
  door.identity.callers.set(fingerprint, callerOf(`ssh:${fingerprint}`))
  const nobody = { did: 'did:icn:near', openLean: async () => assert.fail('no link is asked'), handleLean: () => {} }
  const tunnels = createTunnels({ mesh: nobody as never, policy: {} as never, clock: systemClock, logger: silentLogger })
  context.after(async () => {
    await tunnels.close()
    door.door.close()
    for (const socket of sockets) socket.destroy()
    await rm(folder, { recursive: true })
  })
  return {
    ...{ door, port, folder, tunnels, echo },
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy()
      sockets.clear()
    },
    async forward(server = {}, { vault = { unlocked: true }, check = true, target = `127.0.0.1:${echo}` } = {}) {
      const options = { server: `ssh://alice@127.0.0.1:${port}`, knownHosts: join(folder, 'known_hosts'), ...server }
      const far = sshFar(options, { vaults: vaults(vault), proxies: proxyRoute([], () => true), clock: systemClock })
      return await tunnels.through({ far, target, local: '127.0.0.1:0', check })
    },
  }
}

async function exchange({ local }: TunnelStatus, text: string): Promise<string> {
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1')
  socket.end(text)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

test('a forward through an SSH server, carries bytes both ways and counts them', async (context) => {
  const at = await room(context)
  const made = await at.forward()
  assert.deepEqual([made.kind, made.peer, made.open], ['ssh', `ssh://alice@127.0.0.1:${at.port}`, true])
  const text = 'there and back '.repeat(20_000)
  assert.deepEqual(await Promise.all([exchange(made, text), exchange(made, 'short')]), [text, 'short'])
  const [listed] = at.tunnels.list()
  const bytes = text.length + 5
  assert.deepEqual([listed?.bytes_in, listed?.bytes_out, listed?.total, listed?.last_error], [bytes, bytes, 2, null])
  assert.equal(at.door.door.sessions().length, 1, 'one login for all')
})

test('a forward through an SSH server, is closed by its id and logs out', async (context) => {
  const at = await room(context)
  const { id, local } = await at.forward()
  await at.tunnels.remove(id)
  assert.deepEqual(at.tunnels.list(), [])
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
})

test('a login that was lost, resets what ran over it and is made again by the next connection', async (context) => {
  const at = await room(context)
  const made = await at.forward()
  const running = connect(Number(made.local.split(':')[1]), '127.0.0.1')
  running.write('half')
  await once(running, 'data')
  at.cut()
  const [error] = (await once(running, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
  assert.equal(at.tunnels.list()[0]?.last_error?.code, 'LINK_CLOSED')
  assert.equal(await exchange(made, 'again'), 'again')
})

const STRANGER = `SHA256:${'A'.repeat(43)}`
const REFUSED: readonly (readonly [string, (at: Room) => Promise<unknown>, string, RegExp])[] = [
  ['not in the file', async (at) => await at.forward({ server: `ssh://alice@localhost:${at.port}` }), 'SSH_HOST_KEY_UNKNOWN', /^ssh-keyscan -p \d+ localhost$/],
  ['not the one of the fingerprint', async (at) => await at.forward({ hostKey: STRANGER, knownHosts: undefined }), 'SSH_HOST_KEY_CHANGED', /^ssh-keyscan/],
]
for (const [name, attempt, code, next] of REFUSED) {
  test(`an SSH server whose host key is ${name}, is refused and shown no key`, async (context) => {
    const at = await room(context)
    await assert.rejects(attempt(at), (error) => isKithError(error, code as never) && next.test(error.next ?? ''))
    assert.deepEqual([at.door.identity.asked, at.tunnels.list()], [[], []])
  })
}

test('a fingerprint that is right, does without a file', async (context) => {
  const at = await room(context)
  const made = await at.forward({ hostKey: at.door.door.hostKey.fingerprint, knownHosts: undefined })
  assert.equal(await exchange(made, 'known'), 'known')
})

test('a vault that is locked, keeps the forward from being made and says what to run', async (context) => {
  const at = await room(context)
  await assert.rejects(at.forward({}, { vault: { unlocked: false } }), (error) => isKithError(error, 'VAULT_LOCKED') && error.next === 'kith vault unlock')
})

test('a vault that is locked when a forward opens by itself, is waited for and said; unlocked, the next connection is carried at once', async (context) => {
  const at = await room(context)
  const vault = { unlocked: false }
  const made = await at.forward({}, { check: false, vault })
  const told = (): unknown[] => at.tunnels.list().map(({ open, last_error: error }) => [open, error?.code, error?.next])
  const waits = [[false, 'VAULT_LOCKED', 'kith vault unlock']]
  assert.deepEqual(told(), waits, 'before anybody connects')
  await assert.rejects(exchange(made, 'x'), { code: 'ECONNRESET' })
  assert.deepEqual([told(), at.door.identity.asked], [waits, []])
  vault.unlocked = true
  assert.deepEqual(told(), [[true, undefined, undefined]])
  assert.equal(await exchange(made, 'opened'), 'opened')
  vault.unlocked = false
  assert.deepEqual(told(), [[true, undefined, undefined]], 'the login stands')
  const running = connect(Number(made.local.split(':')[1]), '127.0.0.1')
  running.write('half')
  await once(running, 'data')
  at.cut()
  await once(running, 'error')
  assert.deepEqual(told(), [[false, 'VAULT_LOCKED', 'kith vault unlock']])
})

test('a forward that is opened unchecked, says at its first connection why the server refuses', async (context) => {
  const at = await room(context)
  at.door.identity.callers.clear()
  const made = await at.forward({}, { check: false })
  await assert.rejects(exchange(made, 'x'), { code: 'ECONNRESET' })
  const error = at.tunnels.list()[0]?.last_error
  assert.equal(error?.code, 'SSH_LOGIN_REFUSED')
  assert.match(error?.next ?? '', /kith ssh key/)
})

test('a target that the server does not reach, resets the connection and is told', async (context) => {
  const at = await room(context)
  const made = await at.forward({}, { target: 'unix:/nowhere/at/all.sock' })
  await assert.rejects(exchange(made, 'x'), { code: 'ECONNRESET' })
  assert.equal(at.tunnels.list()[0]?.last_error?.code, 'SSH_CHANNEL_REFUSED')
})

test('a key of a file, logs in when nobody else can read it', async (context) => {
  const at = await room(context)
  const key = userKey()
  at.door.identity.callers.clear()
  at.door.identity.allow(key)
  const keyFile = join(at.folder, 'id')
  await writeFile(keyFile, key.privateKey, { mode: 0o644 })
  await assert.rejects(at.forward({ keyFile }), (error) => isKithError(error, 'SSH_KEY_INVALID') && error.next === `chmod 600 ${keyFile}`)
  await rm(keyFile)
  await writeFile(keyFile, key.privateKey, { mode: 0o600 })
  assert.equal(await exchange(await at.forward({ keyFile }), 'by file'), 'by file')
})

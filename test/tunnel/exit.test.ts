import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { formatDid } from '../../src/identity/did.ts'
import { type LocalPolicy, openLocalPolicy } from '../../src/mesh/policy.ts'
import type { Outbound } from '../../src/tunnel/dial.ts'
import { createExit, type Exit } from '../../src/tunnel/exit.ts'
import { lookUp } from '../../src/tunnel/gate.ts'
import { ONE_OF_EACH } from '../support/policy.ts'

/** Doors that are no link reach targets by `dialTarget`, under the owner's real rules. */
const GUEST = formatDid(publicKeyOfSeed(Secret.take(new Uint8Array(32).fill(7))))

let rules: LocalPolicy
let exit: Exit
let answers: (host: string) => readonly string[]
let outbound: Outbound | undefined
let listeners: (() => void)[] = []
const servers: Server[] = []
const folder = mkdtempSync(join(tmpdir(), 'kith-exit-'))

beforeEach(async () => {
  listeners = []
  outbound = undefined
  answers = () => ['127.0.0.1']
  rules = await openLocalPolicy({ clock: systemClock, store: createMemoryStore(), classOf: () => 'known', constraints: () => ONE_OF_EACH })
  const policy = {
    decide: rules.decide.bind(rules),
    constraints: rules.constraints.bind(rules),
    classOf: rules.classOf.bind(rules),
    scoreOf: rules.scoreOf.bind(rules),
    onChange(listener: () => void) {
      listeners.push(listener)
      return () => {}
    },
  }
  exit = createExit({ policy, clock: systemClock, logger: silentLogger, resolve: async (host) => answers(host), outbound: () => outbound })
})
afterEach(() => {
  exit.close()
  for (const server of servers.splice(0)) server.close()
})
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

async function echo(place: { port: number; host: string } | { path: string }): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  servers.push(server)
  server.listen(place)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function saysBack(stream: Duplex): Promise<string> {
  stream.end('hello')
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return text
}

const dial = (target: string, signal?: AbortSignal): ReturnType<Exit['dialTarget']> =>
  exit.dialTarget({ peer: GUEST, transport: 'ssh', target, ...(signal === undefined ? {} : { signal }) })

const refused = (code: string) => (error: unknown) => isKithError(error) && error.code === code

test('an allowed target is dialled and half-close passes', async () => {
  const port = await echo({ host: '127.0.0.1', port: 0 })
  await rules.allow(GUEST, 'forward', `127.0.0.1:${port}`)
  const { stream } = await dial(`127.0.0.1:${port}`)
  assert.equal(await saysBack(stream), 'hello')
})

test('a socket of the file system is reached only by a rule that names it', async () => {
  const path = join(folder, 'app.sock')
  await echo({ path })
  await rules.allow(GUEST, 'forward')
  await assert.rejects(dial(`unix:${path}`), refused('FORWARD_DENIED'))
  await rules.allow(GUEST, 'forward', `unix:${path}`)
  const { stream } = await dial(`unix:${path}`)
  assert.equal(await saysBack(stream), 'hello')
})

test('a socket that is not there is refused with FORWARD_REFUSED, a path that is none with FORWARD_TARGET', async () => {
  await rules.allow(GUEST, 'forward', `unix:${folder}/none.sock`)
  await assert.rejects(dial(`unix:${folder}/none.sock`), refused('FORWARD_REFUSED'))
  for (const bad of ['unix:relative', 'unix:/a/../b', 'unix:/a//b', 'unix:', `unix:/${'a'.repeat(107)}`])
    await assert.rejects(dial(bad), refused('FORWARD_TARGET'), bad)
})

test('a name whose answer changes after the check, the checked address is dialled and the name is not asked again', async () => {
  const port = await echo({ host: '127.0.0.1', port: 0 })
  let asked = 0
  answers = () => {
    asked++
    return asked === 1 ? ['127.0.0.1'] : ['10.0.0.1']
  }
  await rules.allow(GUEST, 'forward', `db:${port}`)
  const { stream } = await dial(`db:${port}`)
  assert.equal(await saysBack(stream), 'hello')
  assert.equal(asked, 1)
})

for (const [what, address] of [
  ['loopback', '127.0.0.1'],
  ['loopback as an IPv4-mapped address', '::ffff:127.0.0.1'],
  ['loopback as an IPv4-mapped address in hexadecimal', '::ffff:7f00:1'],
  ['IPv6 loopback', '::1'],
  ['link-local', '169.254.169.254'],
  ['the unspecified address', '0.0.0.0'],
  ['an address with a zone', 'fe80::1%eth0'],
] as const) {
  test(`a public name that resolves to ${what}, alone or beside a public address, is refused`, async () => {
    await rules.allow(GUEST, 'forward', '*:80')
    await rules.allow(GUEST, 'forward', 'evil.example:80')
    for (const list of [[address], ['192.0.2.1', address], [address, '192.0.2.1']]) {
      answers = () => list
      await assert.rejects(dial('evil.example:80'), refused('FORWARD_DENIED'), list.join(' '))
    }
  })
}

test('spellings that some resolvers read as addresses are no targets', async () => {
  await rules.allow(GUEST, 'forward')
  for (const host of ['127.1', '2130706433', '0x7f.1', '0x7f000001', '0177.0.0.1', '127.0.0.1.'])
    await assert.rejects(dial(`${host}:80`), (error) => isKithError(error, 'FORWARD_TARGET') || isKithError(error, 'FORWARD_DENIED'), host)
})

test('a name that no rule may allow is not looked up', async () => {
  answers = () => assert.fail('looked up')
  await assert.rejects(dial('secret.internal:80'), refused('FORWARD_DENIED'))
})

test('through an outbound proxy the checked address is named, and loopback stays direct', async () => {
  const port = await echo({ host: '127.0.0.1', port: 0 })
  const seen: string[] = []
  outbound = async ({ host, port }) => {
    seen.push(`${host}:${port}`)
    throw new Error('no proxy here')
  }
  answers = () => ['192.0.2.7']
  await rules.allow(GUEST, 'forward', 'site.example:80')
  await rules.allow(GUEST, 'forward', `127.0.0.1:${port}`)
  await assert.rejects(dial('site.example:80'), refused('FORWARD_UNREACHABLE'))
  assert.deepEqual(seen, ['192.0.2.7:80'])
  assert.equal(await saysBack((await dial(`127.0.0.1:${port}`)).stream), 'hello')
})

const ONION = `${'abcdefghijklmnopqrstuvwxyz234567'.repeat(2).slice(0, 56)}.onion`

test('an onion address, is decided by its name, asked of no resolver, and goes to the proxy as a name', async () => {
  answers = () => assert.fail('looked up')
  const seen: string[] = []
  outbound = async ({ host, port }) => {
    seen.push(`${host}:${port}`)
    const behind = connect({ port: await echo({ host: '127.0.0.1', port: 0 }), host: '127.0.0.1', allowHalfOpen: true })
    await once(behind, 'connect')
    return behind
  }
  await assert.rejects(dial(`${ONION}:80`), refused('FORWARD_DENIED'))
  await rules.allow(GUEST, 'forward', '0.0.0.0/0:80')
  await assert.rejects(dial(`${ONION}:80`), refused('FORWARD_DENIED'), 'a network holds no name')
  await rules.allow(GUEST, 'forward', '*.onion:80')
  await assert.rejects(dial(`${ONION}:81`), refused('FORWARD_DENIED'))
  assert.equal(await saysBack((await dial(`${ONION.toUpperCase()}:80`)).stream), 'hello')
  assert.equal(await saysBack((await dial(`www.${ONION}.:80`)).stream), 'hello')
  await rules.deny(GUEST, 'forward', `${ONION}:80`)
  await assert.rejects(dial(`${ONION}:80`), refused('FORWARD_DENIED'))
  assert.deepEqual(seen, [`${ONION}:80`, `www.${ONION}:80`])
})

test('an onion address without a proxy, is refused with its own code to those who may go there, and asked of no resolver', async () => {
  answers = () => assert.fail('looked up')
  await assert.rejects(dial(`${ONION}:80`), refused('FORWARD_DENIED'))
  await rules.allow(GUEST, 'forward', `${ONION}:80`)
  await assert.rejects(dial(`${ONION}:80`), refused('FORWARD_ONION'))
  await rules.allow(GUEST, 'datagram', `${ONION}:80`)
  const target = { host: ONION, port: 80 }
  await assert.rejects(exit.gate.check({ peer: GUEST }, 'datagram', target), refused('FORWARD_ONION'))
  outbound = () => assert.fail('UDP goes through no proxy')
  await assert.rejects(exit.gate.check({ peer: GUEST }, 'datagram', target), refused('FORWARD_ONION'))
  await assert.rejects(
    lookUp(target, systemClock, () => assert.fail('looked up')),
    refused('FORWARD_ONION'),
  )
})

test('a reserved name goes to its handler, by an exact rule alone, and is never looked up', async () => {
  answers = () => assert.fail('looked up')
  await rules.allow(GUEST, 'forward')
  await assert.rejects(dial('kith-control:0'), refused('FORWARD_DENIED'))
  await rules.allow(GUEST, 'forward', 'kith-control:0')
  await assert.rejects(dial('kith-control:0'), refused('FORWARD_UNREACHABLE'))
  const stop = exit.reserve('kith-control', (stream, subject) => {
    assert.equal(subject.peer, GUEST)
    stream.pipe(stream)
  })
  assert.equal(await saysBack((await dial('kith-control:0')).stream), 'hello')
  stop()
  await assert.rejects(dial('kith-control:0'), refused('FORWARD_UNREACHABLE'))
})

test('a name that begins like a reserved one is an ordinary name', async () => {
  const port = await echo({ host: '127.0.0.1', port: 0 })
  await rules.allow(GUEST, 'forward', `alknet-box:${port}`)
  assert.equal(await saysBack((await dial(`alknet-box:${port}`)).stream), 'hello')
})

test('permission withdrawn, the connection ends', async () => {
  const port = await echo({ host: '127.0.0.1', port: 0 })
  await rules.allow(GUEST, 'forward', `127.0.0.1:${port}`)
  const { stream } = await dial(`127.0.0.1:${port}`)
  assert.equal(exit.list()[0]?.connections, 1)
  await rules.deny(GUEST, 'forward', `127.0.0.1:${port}`)
  for (const changed of listeners) changed()
  await once(stream, 'close')
  assert.deepEqual(exit.list(), [])
})

test('aborted before the target answers, nothing is left', async () => {
  await rules.allow(GUEST, 'forward', '192.0.2.1:9')
  const aborter = new AbortController()
  outbound = async ({ signal }) => {
    setImmediate(() => aborter.abort())
    await once(signal, 'abort')
    throw signal.reason
  }
  const dialled = dial('192.0.2.1:9', aborter.signal)
  await assert.rejects(dialled, refused('ABORTED'))
  assert.deepEqual(exit.list(), [])
})

test('the rule for any port of loopback to listen on, as a refusal prints it, allows every port but the node’s own', async () => {
  const own = await openLocalPolicy({
    clock: systemClock,
    store: createMemoryStore(),
    classOf: () => 'known',
    constraints: () => ONE_OF_EACH,
    ownPorts: () => [4433],
  })
  await own.allow(GUEST, 'listen', '127.0.0.1:*')
  const decide = (target: string, address: string): boolean => own.decide({ peer: GUEST, action: 'listen', target, addresses: [address] }).allowed
  assert.equal(decide('127.0.0.1:40123', '127.0.0.1'), true)
  assert.equal(decide('127.0.0.1:4433', '127.0.0.1'), false)
  assert.equal(decide('0.0.0.0:40123', '0.0.0.0'), false)
  assert.equal(own.decide({ peer: GUEST, action: 'forward', target: '127.0.0.1:40123', addresses: ['127.0.0.1'] }).allowed, false)
})

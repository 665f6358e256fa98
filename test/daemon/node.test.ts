import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createNode, isKithError, type Node, Secret } from '../../src/index.ts'

let folder = ''
const state = process.env.XDG_STATE_HOME
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-node-')))
  process.env.XDG_STATE_HOME = join(folder, 'state')
})
after(async () => {
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
  await rm(folder, { recursive: true, force: true })
})

const listen = ['tcp://127.0.0.1:0']
const open = (name: string): Promise<Node> => createNode({ home: join(folder, name), name, listen })

test('createNode, two in one process, pair, talk over a protocol and see each other', async () => {
  await using a = await open('a')
  await using b = await open('b')
  assert.notEqual(a.did, b.did)
  assert.equal(a.addresses.length, 1)
  const paired: string[] = []
  const links: string[] = []
  a.on('paired', ({ words }) => paired.push(words))
  a.on('link', ({ type }) => links.push(type))
  a.on('link', () => {
    throw new Error('a listener that fails')
  })
  a.handle('test/echo/1', async (stream, { peer }) => {
    stream.write(`${peer} says `)
    stream.pipe(stream)
  })
  const joined = await b.join(await a.invite())
  assert.equal(joined.did, a.did)
  assert.deepEqual(paired, [joined.words])
  const stream = await b.open(a.did, 'test/echo/1')
  stream.end('hello')
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  assert.equal(text, `${b.did} says hello`)
  assert.equal(a.status().peers[0]?.did, b.did)
  assert.equal(a.status().peers[0]?.name, 'b')
  assert.equal(a.status().peers[0]?.pq, true)
  assert.ok(links.includes('up'))
  assert.equal((await b.ping('a', { count: 2 })).length, 2)
  assert.equal(a.why('b', 'forward', 'localhost:1').decision, 'denied')
  await a.policy.allow('b', 'forward', 'localhost:1')
  assert.equal(a.why('b', 'forward', 'localhost:1').decision, 'allowed')
})

test('createNode, protocol nobody serves or a stranger asks for, is refused by code', async () => {
  await using a = await open('c')
  await using b = await open('d')
  await b.join(await a.invite())
  const stream = await b.open('c', 'test/nothing/1')
  stream.write('x')
  stream.resume()
  const [error] = (await once(stream, 'error')) as [Error]
  assert.ok(isKithError(error, 'PROTOCOL_UNKNOWN'), String(error))
})

test('createNode, home in use, is refused and the first goes on', async () => {
  await using first = await open('e')
  await assert.rejects(open('e'), (error) => isKithError(error, 'HOME_IN_USE'))
  assert.deepEqual(first.status().degraded, [])
})

test('createNode, closed, frees the home and keeps identity and name', async () => {
  const first = await open('f')
  const { did } = first
  await first.close()
  await first.close()
  await using again = await createNode({ home: join(folder, 'f'), listen })
  assert.equal(again.did, did)
  assert.equal(again.status().name, 'f')
})

test('createNode, no identity and none wanted, throws and leaves no trace of running', async () => {
  const home = join(folder, 'g')
  await assert.rejects(createNode({ home, listen, create: false }), (error) => isKithError(error, 'IDENTITY_MISSING'))
  await using idle = await createNode({ home, listen, create: false, start: false })
  assert.throws(
    () => idle.did,
    (error) => isKithError(error, 'IDENTITY_MISSING'),
  )
  await assert.rejects(idle.invite(), (error) => isKithError(error))
  assert.deepEqual(
    idle.status().services.map(({ name }) => name),
    [
      'identity',
      'vault',
      'certificates',
      'front',
      'mesh',
      'devices',
      'tunnels',
      'files',
      'access',
      'calls',
      'control-channel',
      'credentials',
      'gateway',
      'ssh',
      'keys',
    ],
  )
})

test('createNode, passphrase wrong, throws PASSPHRASE_WRONG and frees the home', async () => {
  const home = join(folder, 'h')
  const secret = Secret.take(Buffer.from('right'))
  await (await createNode({ home, listen, passphrase: secret })).close()
  await assert.rejects(createNode({ home, listen, passphrase: 'wrong' }), (error) => isKithError(error, 'PASSPHRASE_WRONG'))
  await using node = await createNode({ home, listen, passphrase: secret, control: false })
  assert.equal(node.status().identity.passphrase, 'passphrase')
  secret.wipe()
})

test('createNode, address taken, throws ADDRESS_IN_USE and frees the home', async () => {
  await using first = await open('i')
  await assert.rejects(createNode({ home: join(folder, 'j'), listen: first.addresses }), (error) => isKithError(error, 'ADDRESS_IN_USE'))
  await using second = await createNode({ home: join(folder, 'j'), listen })
  assert.equal(second.addresses.length, 1)
})

test('createNode, bad address in a program, is CONFIG_INVALID', async () => {
  await assert.rejects(
    createNode({ home: join(folder, 'k'), listen: ['nonsense'] }),
    (error) => isKithError(error, 'CONFIG_INVALID') && error.details.path === 'listen.0',
  )
})

test('createNode, topics and messages and trust, work over the library', { timeout: 60_000 }, async () => {
  await using a = await open('lib-a')
  await using b = await open('lib-b')
  const joined = await b.join(await a.invite())
  for (const node of [a, b]) await node.topics.create({ name: 'news', access: { kind: 'open' } })
  await a.publish('news', 'first')
  const stop = AbortSignal.timeout(30_000)
  const seen: string[] = []
  for await (const entry of b.subscribe('news', { replay: true, signal: stop })) {
    seen.push(`${entry.author === a.did} ${Buffer.from(entry.data).toString()}`)
    if (seen.length === 1) await a.publish('news', 'second')
    else break
  }
  assert.deepEqual(seen, ['true first', 'true second'])
  assert.equal(b.topics.list().find(({ name }) => name === 'news')?.entries, 2)
  const arrived = new Promise<string | undefined>((resolve) => b.on('message', ({ text }) => resolve(text)))
  const told = await a.tell('lib-b', 'hello')
  assert.equal(told.state, 'delivered')
  assert.equal(await arrived, 'hello')
  assert.deepEqual(
    (await b.messages()).map(({ from, text }) => [from, text]),
    [[a.did, 'hello']],
  )
  assert.deepEqual(b.status().mail, { inbox: 1, unread: 1, pending: 0, kept_for_others: 0 })
  assert.equal(b.trust.explain(joined.did).direct, 2_500)
  assert.equal(b.why('lib-a', 'publish', 'news').decision, 'allowed')
  await b.trust.ban('lib-a', { reason: 'a test' })
  assert.equal(b.status().peers[0]?.standing, 'banned')
  assert.equal((await b.audit.list({ limit: 1 }))[0]?.action, 'ban')
  assert.equal((await b.audit.verify()).brokenAt, undefined)
  await a.mailbox.host('lib-b')
  assert.deepEqual(a.mailbox.status().hosting, [b.did])
})

test('createNode, with a further source of identities, asks it who has a scope', async () => {
  const asked: string[] = []
  const source = {
    name: 'chain',
    grant: (principal: string) => {
      asked.push(principal)
      return principal === 'known' ? { scopes: ['node:status'] } : undefined
    },
  }
  await using hub = await createNode({ home: join(folder, 'hub'), listen, name: 'hub', identitySources: [source] })
  await using guest = await createNode({ home: join(folder, 'guest'), listen, name: 'guest' })
  await guest.join(await hub.invite())
  const status = (await guest.call('/hub/node/status', {})) as { readonly did: string }
  assert.equal(status.did, hub.did)
  assert.ok(asked.includes(guest.did))
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PublicKey, utf8 } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { createAudit } from '../../src/core/observe/audit.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Did } from '../../src/identity/did.ts'
import { DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import { greet } from '../../src/mesh/hello.ts'
import type { Decision, Policy } from '../../src/mesh/types.ts'
import { createMemoryTransport } from '../../src/transport/memory.ts'
import type { Connection } from '../../src/transport/types.ts'
import { openStanding } from '../../src/trust/standing.ts'
import type { Standing } from '../../src/trust/standing-types.ts'
import { rotateIdentity, testIdentity, testNode } from './fixtures.ts'
import { acquaint, askEcho, createWorld, type NodeOptions, serveEcho, type World, type WorldNode } from './mesh-support.ts'

const TIMEOUT = { timeout: 60_000 }
const HOUR = 3_600_000
const OWNER = { actor: 'owner', reason: 'because' }

interface Judge extends WorldNode {
  readonly standing: Standing
}

/** A node that holds misbehaviour against its peers. */
async function judge(world: World, name: string, options: NodeOptions = {}): Promise<Judge> {
  const identity = options.identity ?? testIdentity(name)
  const store = options.store ?? createMemoryStore()
  const { clock } = world
  const standing = await openStanding({ store, clock, logger: silentLogger, own: identity.chain.did, audit: createAudit({ store, clock }) })
  const node = await world.node(name, { ...options, identity, store, conduct: standing })
  return { ...node, standing }
}

async function met(world: World, a: WorldNode, b: WorldNode): Promise<void> {
  await acquaint(a, b)
  await world.until(() => [a, b].every(({ mesh }) => mesh.links().some(({ state }) => state === 'connected')))
}

function linked({ mesh }: WorldNode): boolean {
  return mesh.links().some(({ state }) => state === 'connected')
}

function keyOf(node: WorldNode): PublicKey {
  return node.device.linkSigner.publicKey
}

/** A connection that has said Hello and then does what the test says: what a node that is not correct could send. */
async function rawLink(world: World, name: string, to: WorldNode): Promise<{ readonly did: Did; readonly device: PublicKey; readonly connection: Connection }> {
  const node = await testNode(name, { clock: world.clock })
  const random = seededRandom(`raw ${name}`)
  const transport = createMemoryTransport({ network: world.network, signer: node.device.linkSigner, random, clock: world.clock, name })
  const signal = AbortSignal.timeout(30_000)
  const channel = await world.settle(transport.dial(to.url, { expect: keyOf(to), signal }))
  await world.settle(greet(channel, node.context(), { expect: to.mesh.did, signal }))
  const connection = channel.multiplex()
  connection.onStream = (stream) => stream.reset(0)
  return { did: node.identity.chain.did, device: node.linkKey, connection }
}

test('a ban, closes the links there are, refuses new ones after the proof, and ends', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await judge(world, 'ann'), await world.node('ben')]
  serveEcho(ann)
  await met(world, ann, ben)
  await ann.standing.ban(ben.mesh.did, { ...OWNER, device: keyOf(ben), durationMs: HOUR })
  await world.until(() => !linked(ann) && !linked(ben))
  const down = ben.events.find(({ type }) => type === 'down')
  assert.ok(down?.type === 'down' && isKithError(down.error, 'BANNED'))
  await assert.rejects(world.settle(ben.mesh.dial('ann')), (error) => isKithError(error, 'BANNED') || isKithError(error, 'PEER_UNREACHABLE'))
  const refused = ben.mesh.why('ann')
  const told = refused.candidates.find(({ url }) => url === 'memory://ann')
  assert.deepEqual([told?.result, told?.reason], ['BANNED', 'The other side has banned this machine.'])
  const again = await world.settle(ben.mesh.dial('ann', { url: 'memory://ann' })).then(
    () => assert.fail('linked'),
    (error: unknown) => error,
  )
  assert.ok(isKithError(again, 'BANNED') && again.remote)
  assert.equal(again.next, `kith trust unban ${ben.mesh.did} --reason pardoned (on the other machine)`)
  assert.equal(refused.next, `kith trust unban ${ben.mesh.did} --reason pardoned (on the other machine)`)
  await assert.rejects(world.settle(ann.mesh.dial('ben')), (error) => isKithError(error, 'BANNED') || isKithError(error, 'PEER_UNREACHABLE'))
  const why = ann.mesh.why('ben', 'link')
  assert.equal(why.decision, 'denied')
  assert.match(why.rule ?? '', /^its devices are banned until 20.*: because/)
  assert.equal(why.next, `kith trust unban ${ben.mesh.did} --reason pardoned`)
  assert.ok(why.candidates.length > 0)
  for (const { result, reason } of why.candidates) assert.deepEqual([result, /^banned here until 20.*: because/.test(reason)], ['BANNED', true])
  const here = await world.settle(ann.mesh.dial('ben', { url: 'memory://ben' })).then(
    () => assert.fail('linked'),
    (error: unknown) => error,
  )
  assert.ok(isKithError(here, 'BANNED') && !here.remote)
  assert.equal(here.next, `kith trust unban ${ben.mesh.did} --reason pardoned`)
  assert.equal(linked(ann), false)
  await world.clock.run(HOUR)
  await world.until(() => linked(ann) && linked(ben), 2 * HOUR)
  assert.equal(await askEcho(world, ben, ann, 'again'), 'ann:again')
  await world.close()
})

test('a ban of an identity, is above every rule of the owner, and unban lifts it at once', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await judge(world, 'ann'), await world.node('ben')]
  serveEcho(ann)
  await met(world, ann, ben)
  await ann.mesh.policy.allow(ben.mesh.did, '*')
  await ann.standing.ban(ben.mesh.did, OWNER)
  for (const action of ['link', 'ping', 'file']) {
    const decision = ann.mesh.policy.test('ben', action)
    assert.equal(decision.allowed, false)
    assert.match(decision.rule, /^banned until /)
    assert.equal(decision.next, `kith trust unban ${ben.mesh.did} --reason pardoned`)
  }
  await world.until(() => !linked(ann))
  await ann.standing.unban(ben.mesh.did, OWNER)
  assert.equal(ann.mesh.policy.test('ben', 'link').allowed, true)
  await world.until(() => linked(ann) && linked(ben))
  assert.equal(await askEcho(world, ben, ann, 'x'), 'ann:x')
  await world.close()
})

test('quarantine, gives a partner the limits of strangers and suspends what its class was granted, until the pardon', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await judge(world, 'ann'), await world.node('ben')]
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben', class: 'partner' })
  await ben.mesh.book.add(ann.mesh.did, { name: 'ann', urls: [ann.url] })
  await world.until(() => linked(ann) && linked(ben))
  await world.settle(ann.mesh.anchor('ben'))
  await ann.mesh.policy.allow('partner', 'forward', '10.0.0.1:80')
  const mayForward = (): Decision => ann.mesh.policy.test('ben', 'forward', '10.0.0.1:80')
  assert.equal(mayForward().allowed, true)
  assert.deepEqual(ann.mesh.policy.constraints(ben.mesh.did), DEFAULT_CONSTRAINTS.partner)
  const heard: (readonly Did[] | undefined)[] = []
  ann.mesh.policy.onChange?.((peers) => heard.push(peers))
  for (let i = 0; i < 3; i++) ann.standing.report({ peer: ben.mesh.did, device: keyOf(ben), kind: 'protocol-state', protocol: 'test' })
  assert.equal(ann.mesh.policy.classOf(ben.mesh.did), 'isolated')
  assert.deepEqual(ann.mesh.policy.constraints(ben.mesh.did), DEFAULT_CONSTRAINTS.isolated)
  assert.ok(ann.mesh.policy.scoreOf(ben.mesh.did) < 1_000)
  assert.equal(mayForward().allowed, false)
  assert.equal(ann.mesh.why('ben', 'forward', '10.0.0.1:80').rule, 'default: forward is denied; this peer is isolated for what it did, with a standing of 0.00')
  assert.deepEqual(heard, [[ben.mesh.did]], 'whoever lets something run under it is told')
  assert.equal(linked(ann), true, 'a link is not taken away')
  assert.equal(ann.mesh.network().stats.isolatedLinks, 1)
  await ann.standing.pardon(ben.mesh.did, OWNER)
  assert.equal(ann.mesh.policy.classOf(ben.mesh.did), 'partner')
  assert.equal(mayForward().allowed, true)
  assert.equal(ann.mesh.network().stats.isolatedLinks, 0)
  await world.close()
})

test('streams that begin with no header, cost the device its standing and then its link; its victim nothing', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await judge(world, 'ann'), await world.node('ben')]
  await met(world, ann, ben)
  const eve = await rawLink(world, 'eve', ann)
  const ended = eve.connection.closed
  // The first stream of a dialer is its control stream: a header is a length and a name.
  for (let i = 0; i < 4; i++) {
    const stream = await world.settle(eve.connection.open())
    stream.write(Uint8Array.of(0, ...utf8(`${ben.mesh.did} says`)))
    await world.run(10)
  }
  const { error } = await world.settle(ended)
  assert.ok(isKithError(error, 'BANNED'))
  assert.equal(ann.standing.status(eve.did).state, 'banned')
  assert.equal(ann.standing.status(ben.mesh.did).reputation, 10_000)
  assert.equal(linked(ann), true)
  await assert.rejects(rawLink(world, 'eve', ann), (thrown) => isKithError(thrown, 'BANNED'))
  await world.close()
})

test('a control stream with what is no message, ends the link and is held against the device', TIMEOUT, async () => {
  const world = createWorld()
  const ann = await judge(world, 'ann')
  const eve = await rawLink(world, 'eve', ann)
  const control = await world.settle(eve.connection.open())
  control.write(Uint8Array.of(10, ...utf8('icn/link/1'), 0))
  await world.settle(eve.connection.closed)
  assert.equal(ann.standing.reputationOf(eve.did), 7_500)
  assert.deepEqual(
    ann.standing.status(eve.did).violations.map(({ kind }) => kind),
    ['malformed-frame'],
  )
  await world.close()
})

test('protocols unknown, refused or left at once, streams reset in any order and links cut, are held against nobody', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await judge(world, 'ann'), await judge(world, 'ben')]
  serveEcho(ann)
  await met(world, ann, ben)
  await ann.mesh.policy.deny(ben.mesh.did, 'open', 'test/closed/1')
  ann.mesh.handle('test/closed/1', (stream) => void stream.end())
  const names = ['test/echo/1', 'test/closed/1', 'test/unknown/1', 'icn/pair/1']
  for (let round = 0; round < 40; round++) {
    const stream = await world.settle(ben.mesh.openLean('ann', names[round % names.length] as string))
    if (round % 3 === 0) stream.write(utf8('half a'))
    if (round % 2 === 0) stream.end()
    if (round % 5 !== 0) stream.reset(413)
    if (round === 20) world.network.sever('ann', 'ben')
    await world.run(round % 4)
  }
  await world.until(() => linked(ann))
  assert.deepEqual(ann.standing.list(), [])
  assert.deepEqual(ben.standing.list(), [])
  await world.close()
})

/** A further source that decides what it is told to. */
function source(decide: (action: string) => Decision): Policy {
  return { decide: ({ action }) => decide(action), constraints: () => DEFAULT_CONSTRAINTS.known, classOf: () => 'known', scoreOf: () => 1_234 }
}

test('decisions, come from the ban, the fork, the owner’s rules, the provider, the further source, the default, in this order', TIMEOUT, async () => {
  const world = createWorld()
  const identity = testIdentity('ben')
  const asked: string[] = []
  const policy = source((action) => {
    asked.push(action)
    if (action === 'call') return { allowed: true, rule: 'the source says so', next: '' }
    return { allowed: true, abstains: true, rule: 'it abstains', next: '' }
  })
  const ann = await judge(world, 'ann', { policy })
  const ben = await world.node('ben', { identity })
  await met(world, ann, ben)
  const decide = (action: string, target?: string): Decision => ann.mesh.policy.test('ben', action, target)

  assert.deepEqual([decide('file').allowed, decide('file').rule], [false, 'default: file is denied'], 'an abstention opens nothing')
  assert.deepEqual([decide('ping').allowed, decide('ping').rule], [true, 'default: ping is open'])
  assert.deepEqual([decide('call', 'a/b').allowed, decide('call', 'a/b').rule], [true, 'the source says so'])
  const end = ann.mesh.policy.provide('call', ({ target }) => (target === 'a/b' ? { allowed: false, rule: 'a/b is provided to nobody' } : undefined))
  asked.length = 0
  assert.equal(decide('call', 'a/b').rule, 'a/b is provided to nobody')
  assert.deepEqual(asked, [])
  assert.equal(decide('call', 'a/c').rule, 'the source says so')
  await ann.mesh.policy.allow(ben.mesh.did, 'call', 'a/*')
  assert.equal(decide('call', 'a/b').rule, `allow ${ben.mesh.did} call a/*`)
  await ann.mesh.policy.deny(ben.mesh.did, 'call', 'a/c')
  assert.equal(decide('call', 'a/c').allowed, false, 'the owner’s no stands before the source’s yes')
  end()
  await ann.standing.ban(ben.mesh.did, OWNER)
  assert.match(decide('call', 'a/b').rule, /^banned/)
  await world.close()
})

test('a stream that the owner denied, is not opened by the further source', TIMEOUT, async () => {
  const world = createWorld()
  const policy = source(() => ({ allowed: true, rule: 'everything', next: '' }))
  const [ann, ben] = [await world.node('ann', { policy }), await world.node('ben')]
  ann.mesh.handle('test/gated/1', (stream) => void stream.end('in'), { access: 'policy' })
  await met(world, ann, ben)
  assert.equal(await askEcho(world, ben, ann, '', 'test/gated/1'), 'in')
  await ann.mesh.policy.deny(ben.mesh.did, 'open', 'test/gated/1')
  await assert.rejects(askEcho(world, ben, ann, '', 'test/gated/1'), (error) => isKithError(error, 'POLICY_DENIED'))
  await world.close()
})

test('topics, are allowed and denied by name and wildcard, why names rule, class and score, and what it prints works', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await judge(world, 'ann'), await world.node('ben')]
  await met(world, ann, ben)
  const least = (peer: Did): { allowed: boolean; rule: string } => ({
    allowed: ann.mesh.policy.scoreOf(peer) >= 4_000,
    rule: 'the topic asks for a score of 4000',
  })
  for (const action of ['publish', 'subscribe']) ann.mesh.policy.provide(action, ({ peer, target }) => (target === 'blob:news' ? least(peer) : undefined))
  const why = ann.mesh.why('ben', 'publish', 'blob:news')
  assert.equal(why.decision, 'denied')
  assert.equal(why.rule, 'the topic asks for a score of 4000; this peer is known with a standing of 0.10')
  assert.equal(why.next, `kith allow ${ben.mesh.did} publish blob:news`)
  const [, verb, principal, action, target] = (why.next ?? '').split(' ')
  assert.equal(verb, 'allow')
  await ann.mesh.policy.allow(principal as string, action as string, target)
  assert.equal(ann.mesh.why('ben', 'publish', 'blob:news').decision, 'allowed')
  assert.equal(ann.mesh.why('ben', 'subscribe', 'blob:news').decision, 'denied', 'another action')
  assert.equal(ann.mesh.policy.test('ben', 'publish', 'unknown').rule, 'default: publish is denied')
  await ann.mesh.policy.allow('known', 'subscribe', 'blob:*')
  assert.equal(ann.mesh.policy.test('ben', 'subscribe', 'blob:news').allowed, true)
  assert.equal(ann.mesh.policy.test('ben', 'subscribe', 'identity:updates').allowed, false)
  assert.equal(ann.mesh.policy.test('ben', 'mailbox').rule, 'default: mailbox is denied')
  await ann.mesh.policy.allow(ben.mesh.did, 'mailbox')
  assert.equal(ann.mesh.policy.test('ben', 'mailbox').allowed, true)
  await assert.rejects(ann.mesh.policy.allow('*', 'publish', 'two words'), TypeError)
  await assert.rejects(ann.mesh.policy.allow('*', 'mailbox', 'x'), TypeError)
  assert.throws(() => ann.mesh.policy.provide('publish', () => undefined), TypeError)
  assert.throws(() => ann.mesh.policy.provide('dance', () => undefined), TypeError)
  const again = await (async () => {
    await world.settle(ann.mesh.close())
    return world.node('ann', { identity: ann.identity, device: ann.device, store: ann.store })
  })()
  assert.equal(again.mesh.policy.test('ben', 'subscribe', 'blob:news').allowed, true, 'rules for topics are read again')
  await world.close()
})

test('a least standing for links, turns strangers away at the door; the owner’s allow lets one in', TIMEOUT, async () => {
  const world = createWorld()
  const policy: Policy = {
    decide: ({ peer, action }) =>
      action === 'link'
        ? { allowed: false, rule: 'link asks for a standing of 1000', next: `kith allow ${peer} link` }
        : { allowed: false, abstains: true, rule: '', next: '' },
    constraints: () => DEFAULT_CONSTRAINTS.isolated,
    classOf: () => 'isolated',
    scoreOf: () => 0,
  }
  const ann = await world.node('ann', { policy })
  await assert.rejects(rawLink(world, 'eve', ann), (error) => isKithError(error, 'POLICY_DENIED'))
  await ann.mesh.policy.allow(testIdentity('eve').chain.did, 'link')
  const eve = await rawLink(world, 'eve', ann)
  await world.until(() => ann.mesh.links().some(({ did }) => did === eve.did))
  await world.close()
})

test('a change of what the further source says, counts for the links there are', TIMEOUT, async () => {
  const world = createWorld()
  let open = true
  let tell = (_peers?: readonly Did[]): void => undefined
  const policy: Policy = {
    ...source((action) => ({ allowed: open, abstains: action !== 'link', rule: 'the source', next: '' })),
    onChange: (listener) => {
      tell = listener
      return () => undefined
    },
  }
  const ann = await world.node('ann', { policy })
  const eve = await rawLink(world, 'eve', ann)
  tell([testIdentity('somebody').chain.did])
  await world.run(10)
  assert.equal(ann.mesh.links().length, 1)
  open = false
  tell([eve.did])
  const { error } = await world.settle(eve.connection.closed)
  assert.ok(isKithError(error, 'POLICY_DENIED'))
  await world.close()
})

test('an identity with two histories, gets the limits of strangers from the further source, too', TIMEOUT, async () => {
  const world = createWorld()
  const policy = source(() => ({ allowed: false, abstains: true, rule: '', next: '' }))
  const ann = await world.node('ann', { policy })
  const first = testIdentity('eve')
  rotateIdentity(first)
  const second = testIdentity('eve')
  rotateIdentity(second, { branch: 'other' })
  const one = await world.node('eve-1', { identity: first })
  assert.deepEqual(ann.mesh.policy.constraints(one.mesh.did), DEFAULT_CONSTRAINTS.known)
  await one.mesh.book.add(ann.mesh.did, { name: 'ann', urls: [ann.url] })
  await world.until(() => linked(one))
  const two = await world.node('eve-2', { identity: second })
  await two.mesh.book.add(ann.mesh.did, { name: 'ann', urls: [ann.url] })
  await world.until(() => ann.mesh.policy.classOf(one.mesh.did) === 'isolated')
  assert.deepEqual(ann.mesh.policy.constraints(one.mesh.did), DEFAULT_CONSTRAINTS.isolated)
  assert.ok(ann.mesh.policy.scoreOf(one.mesh.did) < 1_000)
  await world.close()
})

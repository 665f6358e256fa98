import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Announcement, Discovery, FoundPeer } from '../../src/mesh/discovery.ts'
import { createMemoryTransport } from '../../src/transport/memory.ts'
import { certify, rotateIdentity, skewed, testDevice, testIdentity } from './fixtures.ts'
import { acquaint, askEcho, createWorld, readAll, serveEcho } from './mesh-support.ts'

const TIMEOUT = { timeout: 60_000 }

test('two nodes that know each other, link and talk', TIMEOUT, async () => {
  const world = createWorld({ latencyMs: 20 })
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  serveEcho(ben)
  assert.equal(await askEcho(world, ann, ben, 'hello'), 'ben:hello')
  await world.until(() => [ann, ben].every(({ mesh }) => mesh.links().every(({ state }) => state === 'connected')))
  const [rtt] = await world.settle(ann.mesh.ping('ben'))
  assert.ok(rtt !== undefined && rtt >= 40)
  const [status] = ann.mesh.links()
  assert.equal(status?.did, ben.mesh.did)
  assert.equal(status?.class, 'known')
  assert.equal(status?.path?.address, 'memory://ben')
  assert.equal(status?.path?.postQuantum, false)
  assert.ok(status?.rttMs !== null && (status?.rttMs as number) >= 40)
  assert.equal(status?.streams, 0)
  await world.close()
})

test('many opens at once to a peer without link, share one dial', TIMEOUT, async () => {
  const world = createWorld({ latencyMs: 20 })
  const [ann, ben] = [await world.node('ann', { start: false }), await world.node('ben', { start: false })]
  await acquaint(ann, ben)
  serveEcho(ben)
  const streams = await world.settle(Promise.all(Array.from({ length: 50 }, () => ann.mesh.open('ben', 'test/echo/1'))))
  for (const stream of streams) stream.end('x')
  const answers = await world.settle(Promise.all(streams.map(readAll)))
  assert.ok(answers.every((answer) => answer === 'ben:x'))
  assert.equal(ann.mesh.network().stats.connections, 1)
  await world.close()
})

test('a dial nobody waits for any more, is given up', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann', { start: false }), await world.node('ben', { start: false })]
  await acquaint(ann, ben)
  world.network.cut('ann', 'ben')
  world.network.latencyMs = () => 5_000
  const stop = new AbortController()
  const opening = ann.mesh.open('ben', 'test/echo/1', { signal: stop.signal })
  await world.run(10)
  assert.equal(ann.mesh.links()[0]?.state, 'connecting')
  stop.abort()
  await assert.rejects(opening, (error) => isKithError(error, 'ABORTED'))
  await world.run(1)
  assert.equal(ann.mesh.links()[0]?.state, 'idle')
  await world.close()
})

test('a link key replaced while the other side was away, heals without anybody', TIMEOUT, async () => {
  const world = createWorld()
  const identity = testIdentity('ben')
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { identity })]
  serveEcho(ben)
  await acquaint(ann, ben)
  await world.until(() => ann.mesh.book.get(ben.mesh.did)?.addresses[0]?.linkKey !== undefined && ann.mesh.links()[0]?.state === 'connected')
  const before = ann.mesh.book.get(ben.mesh.did)?.addresses[0]?.linkKey
  await world.settle(ann.mesh.close())
  const device = testDevice(identity, 'ben-new', { serial: 2 })
  const transport = createMemoryTransport({ network: world.network, signer: device.linkSigner, random: seededRandom('new'), clock: world.clock, name: 'ben' })
  await world.settle(ben.mesh.replaceDevice(device, { transports: [transport] }))
  const again = await world.node('ann', { identity: ann.identity, device: ann.device, store: ann.store })
  assert.equal(await askEcho(world, again, ben, 'x'), 'ben:x')
  await world.until(() => again.mesh.links().length === 1 && again.mesh.links()[0]?.state === 'connected')
  const after = again.mesh.book.get(ben.mesh.did)?.addresses
  assert.equal(after?.length, 1)
  assert.deepEqual(after?.[0]?.linkKey, device.linkSigner.publicKey)
  assert.notDeepEqual(after?.[0]?.linkKey, before)
  await world.close()
})

test('a link key replaced while linked, ends the link and comes back with the new one', TIMEOUT, async () => {
  const world = createWorld()
  const identity = testIdentity('ben')
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { identity })]
  await acquaint(ann, ben)
  await world.until(() => ann.mesh.links()[0]?.state === 'connected')
  const device = testDevice(identity, 'ben-new', { serial: 2 })
  await assert.rejects(ben.mesh.replaceDevice(device), TypeError)
  await assert.rejects(ben.mesh.replaceDevice(ann.device), TypeError)
  const transport = createMemoryTransport({ network: world.network, signer: device.linkSigner, random: seededRandom('new'), clock: world.clock, name: 'ben' })
  await world.settle(ben.mesh.replaceDevice(device, { transports: [transport] }))
  const wanted = Buffer.from(device.linkSigner.publicKey).toString('hex')
  await world.until(() => ann.mesh.links().some(({ state, linkKey }) => state === 'connected' && linkKey === wanted))
  await world.close()
})

test('an identity that rotated while the other side was away, is known again', TIMEOUT, async () => {
  const world = createWorld()
  const identity = testIdentity('ben')
  const device = testDevice(identity, 'ben')
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { identity, device })]
  await acquaint(ann, ben)
  await world.until(() => ann.mesh.links()[0]?.state === 'connected')
  rotateIdentity(identity)
  await ben.mesh.replaceDevice({ ...device, chain: identity.chain, binding: certify(identity, 'ben', { serial: 2 }) })
  world.network.sever('ann', 'ben')
  await world.run(10)
  await world.until(() => ann.mesh.links()[0]?.state === 'connected')
  await world.close()
})

test('why, of a peer with several addresses, names the path and what came of each other', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann', { schemes: ['quic'] }), await world.node('ben', { schemes: ['quic'], listen: null })]
  const eve = await world.node('eve')
  await ben.mesh.listen('quic://ben')
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben', urls: [eve.url, 'memory://nobody', 'quic://ben', 'udx://ben:1'] })
  await world.until(() => ann.mesh.links()[0]?.state === 'connected')
  const why = ann.mesh.why('ben')
  assert.equal(why.path?.scheme, 'quic')
  const results = new Map(why.candidates.map((candidate) => [candidate.url, candidate]))
  assert.equal(results.get('quic://ben')?.result, 'active')
  assert.equal(results.get('memory://eve')?.result, 'LOCATE_FAILED')
  assert.equal(results.get('memory://nobody')?.result, 'ADDRESS_UNREACHABLE')
  assert.equal(results.get('udx://ben:1')?.result, 'SCHEME_UNAVAILABLE')
  assert.equal(results.get('tcp:')?.result, 'SCHEME_UNAVAILABLE')
  assert.equal(why.decision, null)
  const denied = ann.mesh.why('ben', 'forward', 'localhost:5432')
  assert.equal(denied.decision, 'denied')
  assert.equal(denied.rule, 'default: forward is denied; this peer is known with a standing of 0.10')
  assert.equal(denied.next, `kith allow ${ben.mesh.did} forward localhost:5432`)
  const [, , principal, action, target] = (denied.next as string).split(' ')
  await ann.mesh.policy.allow(principal as string, action as string, target)
  assert.equal(ann.mesh.why('ben', 'forward', 'localhost:5432').decision, 'allowed')
  await world.close()
})

test('why, of a peer whose clock is an hour off, says so', TIMEOUT, async () => {
  const world = createWorld()
  const ann = await world.node('ann')
  const identity = testIdentity('ben')
  const device = testDevice(identity, 'ben', { notBefore: world.clock.now() - 86_400_000, notAfter: world.clock.now() + 86_400_000 })
  const ben = await world.node('ben', { identity, device, clock: skewed(world.clock, 3_600_000) })
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben', urls: [ben.url, 'memory://nobody'] })
  await world.until(() => ann.mesh.links()[0]?.state === 'connected')
  const active = ann.mesh.why('ben').candidates.find(({ result }) => result === 'active')
  assert.match(active?.reason ?? '', /its clock is 3600 s ahead of ours/)
  await world.close()
})

test('why, of a peer nobody can reach, says what to do', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann', { start: false }), await world.node('ben')]
  assert.throws(
    () => ann.mesh.why('ben'),
    (error) => isKithError(error, 'PEER_UNKNOWN'),
  )
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben' })
  assert.equal(ann.mesh.why('ben').next, `kith peers add ${ben.mesh.did} URL`)
  await assert.rejects(
    ann.mesh.open('ben', 'test/x/1'),
    (error) => isKithError(error, 'PEER_UNREACHABLE') && error.next === `kith peers add ${ben.mesh.did} URL`,
  )
  await ann.mesh.book.add(ben.mesh.did, { urls: ['memory://nobody'] })
  await assert.rejects(world.settle(ann.mesh.open('ben', 'test/x/1')), (error) => {
    assert.ok(isKithError(error, 'PEER_UNREACHABLE'))
    assert.deepEqual(error.details.candidates, [{ url: 'memory://nobody', result: 'ADDRESS_UNREACHABLE', reason: 'The address could not be reached.' }])
    assert.equal(error.message, 'no answer from ben at memory://nobody: the address could not be reached')
    assert.equal(error.next, 'kith why ben')
    return true
  })
  await world.close()
})

test('a link without post-quantum exchange where it is required, is refused on both sides', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { config: { requirePq: true } })]
  await assert.rejects(world.settle(ann.mesh.dial(ben.mesh.did, { url: ben.url })), (error) => isKithError(error, 'HELLO_REFUSED'))
  await assert.rejects(
    world.settle(ben.mesh.dial(ann.mesh.did, { url: ann.url })),
    (error) => isKithError(error, 'PEER_UNREACHABLE') && isKithError(error.cause, 'SCHEME_UNAVAILABLE'),
  )
  await world.close()
})

class FakeDiscovery implements Discovery {
  readonly name = 'fake'
  onPeer: (found: FoundPeer) => void = () => undefined
  readonly announced: Announcement[] = []
  stopped = false
  async start(announcement: Announcement): Promise<void> {
    this.announced.push(announcement)
  }
  async announce(announcement: Announcement): Promise<void> {
    this.announced.push(announcement)
  }
  async stop(): Promise<void> {
    this.stopped = true
  }
}

test('peers found on the network, are listed, and dialled only when they are in the address book', TIMEOUT, async () => {
  const world = createWorld()
  const discovery = new FakeDiscovery()
  const [ann, ben, eve] = [await world.node('ann', { discovery }), await world.node('ben'), await world.node('eve')]
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben' })
  assert.deepEqual(
    discovery.announced.map(({ did, urls, name }) => [did, urls, name]),
    [[ann.mesh.did, ['memory://ann'], 'ann']],
  )
  discovery.onPeer({ did: ben.mesh.did, urls: [ben.url], name: 'whatever' })
  discovery.onPeer({ did: eve.mesh.did, urls: [eve.url] })
  discovery.onPeer({ did: ann.mesh.did, urls: [ann.url] })
  discovery.onPeer({ urls: ['memory://hidden', 'no address'] })
  await world.run(1_000)
  assert.deepEqual(
    ann.mesh.network().discovered.map(({ did, urls, source }) => [did, urls, source]),
    [
      [ben.mesh.did, ['memory://ben'], 'fake'],
      [eve.mesh.did, ['memory://eve'], 'fake'],
      [null, ['memory://hidden'], 'fake'],
    ],
  )
  assert.deepEqual(
    ann.mesh.links().map(({ did, state }) => [did, state]),
    [[ben.mesh.did, 'connected']],
  )
  discovery.onPeer({ did: eve.mesh.did, urls: [eve.url], gone: true })
  assert.equal(ann.mesh.network().discovered.length, 2)
  await ann.mesh.listen('memory://ann-2')
  assert.deepEqual(discovery.announced.at(-1)?.urls, ['memory://ann', 'memory://ann-2'])
  await world.close()
  assert.equal(discovery.stopped, true)
})

test('addresses a peer tells over the link, are dialled when its other ones fail', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { schemes: ['quic'] })]
  await acquaint(ann, ben)
  await world.until(() => ann.mesh.links()[0]?.state === 'connected')
  await ben.mesh.listen('memory://ben-later')
  await world.until(() => ann.mesh.book.get(ben.mesh.did)?.addresses.some(({ url }) => url === 'memory://ben-later') === true)
  await world.close()
})

test('a peer that is forgotten, loses its links, class and allowed rules, and keeps what denies', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  await world.until(() => ann.mesh.links()[0]?.state === 'connected')
  await ann.mesh.policy.allow('ben', 'forward', 'localhost:80')
  await ann.mesh.policy.deny('ben', 'file')
  await ann.mesh.book.forget('ben')
  await world.run(10)
  assert.deepEqual(ann.mesh.policy.list(), [{ effect: 'deny', principal: ben.mesh.did, action: 'file', target: undefined }])
  assert.equal(ann.mesh.policy.classOf(ben.mesh.did), 'isolated')
  await assert.rejects(ann.mesh.book.forget('ben'), (error) => isKithError(error, 'PEER_UNKNOWN'))
  await world.close()
})

test('configuration with a bad value, is refused and nothing of it counts', TIMEOUT, async () => {
  const world = createWorld()
  const ann = await world.node('ann')
  assert.throws(() => ann.mesh.reload({ prefer: ['tcp'], limits: { known: { links: 0 } } }), TypeError)
  assert.throws(() => ann.mesh.reload({ prefer: ['not a scheme'] }), TypeError)
  assert.throws(() => ann.mesh.reload({ ownPorts: [0] }), TypeError)
  assert.throws(() => ann.mesh.reload({ drainMs: -1 }), TypeError)
  await assert.rejects(world.node('bad', { config: { prefer: [''] } }), TypeError)
  await assert.rejects(ann.mesh.listen('nowhere'), (error) => isKithError(error, 'ADDRESS_INVALID'))
  await assert.rejects(ann.mesh.listen('quic://127.0.0.1:0'), (error) => isKithError(error, 'SCHEME_UNAVAILABLE'))
  await assert.rejects(ann.mesh.dial(ann.mesh.did), (error) => isKithError(error, 'SELF_DIAL'))
  await assert.rejects(ann.mesh.ping('x', { count: 0 }), TypeError)
  await assert.rejects(ann.mesh.book.add(ann.mesh.did), (error) => isKithError(error, 'SELF_DIAL'))
  await world.close()
})

test('strangers beyond the budget they share, are turned away while known peers get in', TIMEOUT, async () => {
  const world = createWorld()
  const ann = await world.node('ann', { config: { isolated: { links: 2, linksPerNetwork: 2 } } })
  const [ben, ...strangers] = await Promise.all(['ben', 's1', 's2', 's3'].map((name) => world.node(name, { listen: null })))
  assert.ok(ben !== undefined)
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben' })
  const results: string[] = []
  for (const { mesh } of strangers) {
    results.push(
      await world.settle(mesh.dial(ann.mesh.did, { url: ann.url })).then(
        () => 'ok',
        (error) => (isKithError(error) ? error.code : String(error)),
      ),
    )
  }
  assert.deepEqual(results, ['ok', 'ok', 'BUDGET_EXCEEDED'])
  assert.equal((await world.settle(ben.mesh.dial(ann.mesh.did, { url: ann.url }))).state, 'connected')
  assert.equal(ann.mesh.network().stats.isolatedLinks, 2)
  await world.close()
})

test('an identity that shows two histories, keeps its link and loses its grants until it is forgotten', TIMEOUT, async () => {
  const world = createWorld()
  const identity = testIdentity('ben')
  const device = testDevice(identity, 'ben')
  const [ann, ben] = [await world.node('ann'), await world.node('ben', { identity, device, listen: null })]
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben', class: 'partner' })
  await ann.mesh.policy.allow('ben', 'forward', 'localhost:80')
  const other = { ...identity }
  rotateIdentity(identity)
  rotateIdentity(other, { branch: 'thief' })
  const dial = async (of: typeof identity, serial: number): Promise<unknown> => {
    await ben.mesh.replaceDevice({ ...device, chain: of.chain, binding: certify(of, 'ben', { serial }) })
    return await world.settle(ben.mesh.dial(ann.mesh.did, { url: ann.url }))
  }
  await dial(identity, 2)
  assert.equal(ann.mesh.policy.test('ben', 'forward', 'localhost:80').allowed, true)
  assert.equal(ann.mesh.network().stats.isolatedLinks, 0)
  await assert.rejects(dial(other, 3), (error) => isKithError(error, 'CHAIN_FORKED'))
  assert.equal(ann.mesh.network().stats.isolatedLinks, 1, 'the link that was there is charged as a stranger’s from now on')
  const warning = ann.events.find(({ type }) => type === 'warning')
  assert.ok(warning?.type === 'warning' && warning.peer === ben.mesh.did && warning.error.code === 'CHAIN_FORKED')
  assert.equal(ann.mesh.policy.classOf(ben.mesh.did), 'isolated')
  const suspended = ann.mesh.policy.test('ben', 'forward', 'localhost:80')
  assert.equal(suspended.allowed, false)
  assert.match(suspended.rule, /two contradicting histories/)
  assert.equal(ann.mesh.policy.test('ben', 'ping').allowed, true)
  await ann.mesh.book.forget('ben')
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben' })
  await dial(identity, 4)
  assert.equal(ann.mesh.policy.classOf(ben.mesh.did), 'known')
  await world.close()
})

test('a peer that may not be linked any more, loses its links at once', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  await world.until(() => ann.mesh.links()[0]?.state === 'connected' && ben.mesh.links()[0]?.state === 'connected')
  await ann.mesh.policy.deny('ben', 'link')
  await world.until(() => ann.mesh.network().stats.connections === 0)
  await world.run(60_000)
  assert.equal(ben.mesh.why('ann').next, `kith allow ${ben.mesh.did} link (on the other machine)`)
  assert.equal(ben.mesh.links()[0]?.lastError?.code, 'POLICY_DENIED')
  assert.equal(ann.mesh.network().stats.connections, 0)
  await ann.mesh.policy.allow('ben', 'link')
  await world.until(() => ben.mesh.links()[0]?.state === 'connected', 400_000)
  await world.close()
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { equal, toHex } from '../../src/core/bytes.ts'
import { KithError } from '../../src/core/errors.ts'
import { greet } from '../../src/mesh/hello.ts'
import type { AuthenticatedLink } from '../../src/mesh/hello-types.ts'
import { createChannelPair } from './channel-pair.ts'
import { certify, NOW, recoveredIdentity, rotateIdentity, skewed, testIdentity, testNode } from './fixtures.ts'
import { asError, assertRefused, assertTold, linked, meet } from './meeting.ts'

describe('hello, two honest nodes', () => {
  test('both come to one link with the same names for it', async () => {
    const ann = await testNode('ann', { boot: 3 })
    const bob = await testNode('bob', { boot: 9 })
    const { dialer, listener } = await meet(ann, bob, {
      dialer: { capabilities: 0b0111n, versions: { min: 1, max: 3 } },
      listener: { capabilities: 0b1110n, versions: { min: 1, max: 2 } },
    })
    const [a, b] = [linked(dialer), linked(listener)]
    assert.equal(a.did, bob.device.did)
    assert.equal(b.did, ann.device.did)
    assert.ok(equal(a.linkKey, bob.linkKey) && equal(b.linkKey, ann.linkKey))
    for (const name of ['helloHash', 'connectionId', 'session'] as const) assert.equal(toHex(a[name]), toHex(b[name]))
    assert.deepEqual([a.helloHash.length, a.connectionId.length, a.session.length], [32, 8, 16])
    assert.deepEqual([a.version, b.version], [2, 2])
    assert.deepEqual([a.capabilities, b.capabilities], [0b0110n, 0b0110n])
    assert.deepEqual([a.remoteBoot, b.remoteBoot], [9, 3])
    assert.deepEqual([a.role, b.role], ['dialer', 'listener'])
    assert.equal(a.chain.index, 0)
  })

  test('sizes on the wire are those of the layout', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { pair } = await meet(ann, bob, { expect: bob.device.did })
    assert.deepEqual(
      pair.dialer.sent.slice(1).map((message) => message.length),
      [67],
    )
    assert.deepEqual(
      pair.listener.sent.slice(1).map((message) => message.length),
      [67, 5],
    )
    // Both name the DID they expect; the dialer says in 8 bytes what it knows of it.
    assert.equal(pair.dialer.sent[0]?.length, (pair.listener.sent[0]?.length ?? 0) + 8)
  })

  test('hybrid when both devices have ML-DSA, classical when one has not, and said so', async () => {
    const [ann, bob, eve] = [await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true }), await testNode('eve')]
    const hybrid = await meet(ann, bob, { postQuantum: true })
    assert.deepEqual(linked(hybrid.dialer).postQuantum, { exchange: true, signatures: true })
    assert.deepEqual(hybrid.pair.dialer.sent[1]?.length, 3376)
    const classical = await meet(ann, eve)
    assert.deepEqual(linked(classical.listener).postQuantum, { exchange: false, signatures: false })
  })

  test('the same DID on both sides with two devices, links', async () => {
    const identity = testIdentity('ann')
    const [home, laptop] = [await testNode('home', { identity }), await testNode('laptop', { identity })]
    const { dialer, listener } = await meet(home, laptop)
    assert.equal(linked(dialer).did, linked(listener).did)
  })

  test('every transport and both kinds of exchange, link', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    for (const scheme of ['quic', 'tcp', 'udx', 'tls', 'wss', 'relay', 'onion', 'memory']) {
      const binding = scheme === 'quic' ? ({ kind: 'quic' } as const) : ({ kind: 'stream', bytes: new Uint8Array(32) } as const)
      linked((await meet(ann, bob, { scheme, postQuantum: true, dialerChannel: { binding }, listenerChannel: { binding } })).listener)
    }
  })

  test('clocks an hour apart, link and both report the difference', async () => {
    const ann = await testNode('ann')
    const bob = await testNode('bob')
    const { dialer, listener } = await meet(ann, bob, { listener: { clock: skewed(bob.clock, 3_600_000) } })
    assert.equal(linked(dialer).clockOffsetMs, 3_600_000)
    assert.equal(linked(listener).clockOffsetMs, -3_600_000)
  })

  test('a second greeting verifies no signature of binding or chain again, but their dates', async () => {
    const [ann, bob] = [await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true })]
    linked((await meet(ann, bob)).dialer)
    assert.deepEqual(ann.cache.size, { bindings: 1, chains: 1 })
    linked((await meet(ann, bob)).dialer)
    assert.deepEqual(ann.cache.size, { bindings: 1, chains: 1 })
    ann.clock.advance(40 * 86_400_000)
    assertRefused((await meet(ann, bob)).dialer, 'BINDING_EXPIRED', undefined)
  })
})

describe('hello, refusals', () => {
  test('a dialer that meant somebody else, WRONG_PEER on its side and told to the other', async () => {
    const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
    const { dialer, listener } = await meet(ann, bob, { expect: eve.device.did })
    assertRefused(listener, 'WRONG_PEER', 'peer-did')
    assertTold(dialer, 'WRONG_PEER')
  })

  test('no common version, VERSION_UNSUPPORTED', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { dialer, listener } = await meet(ann, bob, { dialer: { versions: { min: 3, max: 4 } }, listener: { versions: { min: 1, max: 2 } } })
    assertRefused(listener, 'VERSION_UNSUPPORTED')
    assertTold(dialer, 'VERSION_UNSUPPORTED')
  })

  test('the policy turns a proved link away, one verdict with its code and detail, nothing learned', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const asked: AuthenticatedLink[] = []
    const { dialer, listener, pair } = await meet(ann, bob, {
      listener: {
        accept: (link) => {
          asked.push(link)
          return { code: 'POLICY_DENIED', detail: 'ask the owner' }
        },
      },
    })
    assert.equal(asked[0]?.did, ann.device.did)
    assertRefused(listener, 'POLICY_DENIED')
    assertTold(dialer, 'POLICY_DENIED')
    assert.ok(dialer instanceof KithError && dialer.details.detail === 'ask the owner')
    assert.equal(pair.listener.sent.length, 3, 'Hello, proof and one verdict')
    assert.equal(bob.known.size, 0)
    assert.equal(ann.known.size, 0)
  })

  test('a policy that throws, INTERNAL for the dialer and no word of what happened', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { dialer, listener } = await meet(ann, bob, {
      listener: {
        accept: () => {
          throw new Error('secret of the handler')
        },
      },
    })
    assertRefused(listener, 'INTERNAL')
    assertTold(dialer, 'INTERNAL')
    assert.ok(!JSON.stringify(dialer).includes('secret'))
  })

  test('a REFUSE in place of any message ends the greeting with its code', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    for (let at = 0; at < 3; at++) {
      const refuse = Uint8Array.of(0x4b, 0x09, 0, 203)
      const { dialer } = await meet(ann, bob, { tap: (message, direction, number) => [direction === 'to-dialer' && number === at ? refuse : message] })
      assert.ok(dialer instanceof KithError)
      assert.deepEqual([dialer.code, dialer.remote], ['PEER_REJECTED', true])
    }
  })

  test('a refusal without a code, HELLO_REFUSED', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { dialer } = await meet(ann, bob, { tap: (message, direction) => [direction === 'to-dialer' ? Uint8Array.of(0x4b, 0x09, 0, 0) : message] })
    assertTold(dialer, 'HELLO_REFUSED')
  })
})

describe('hello, what is known decides after the proof', () => {
  test('a boot lower than stored, DEVICE_CLONED', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    linked((await meet(ann, bob, { dialer: { boot: 5 } })).listener)
    const { dialer, listener } = await meet(ann, bob, { dialer: { boot: 4 } })
    assertRefused(listener, 'DEVICE_CLONED', 'boot')
    assertTold(dialer, 'DEVICE_CLONED')
    linked((await meet(ann, bob, { dialer: { boot: 5 } })).listener)
    linked((await meet(ann, bob, { dialer: { boot: 6 } })).listener)
  })

  test('a listener with a boot lower than stored, DEVICE_CLONED before the dialer proves anything', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    linked((await meet(ann, bob, { listener: { boot: 5 } })).dialer)
    const { dialer, listener, pair } = await meet(ann, bob, { listener: { boot: 4 } })
    assertRefused(dialer, 'DEVICE_CLONED', 'boot')
    assertTold(listener, 'DEVICE_CLONED')
    assert.equal(pair.dialer.sent[1]?.length, 4, 'a REFUSE in place of the proof')
  })

  test('another run with the same boot while one is connected, DEVICE_CLONED; alone it is welcome', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const live = [{ boot: 1, run: new Uint8Array(8).fill(1) }]
    assertRefused((await meet(ann, bob, { listener: { live: () => live } })).listener, 'DEVICE_CLONED', 'run')
    linked((await meet(ann, bob, { listener: { live: () => [{ boot: 1, run: ann.context().run }] } })).listener)
    linked((await meet(ann, bob, { listener: { live: () => [{ boot: 0, run: new Uint8Array(8) }] } })).listener)
    linked((await meet(ann, bob)).listener)
  })

  test('an identity once seen with ML-DSA that comes without, DOWNGRADE_REFUSED', async () => {
    const identity = testIdentity('ann')
    const strong = await testNode('ann', { identity, deviceMldsa: true })
    const weak = await testNode('ann/old', { identity, deviceMldsa: false })
    const bob = await testNode('bob')
    linked((await meet(weak, bob)).listener)
    linked((await meet(strong, bob)).listener)
    const { dialer, listener } = await meet(weak, bob)
    assertRefused(listener, 'DOWNGRADE_REFUSED', 'mldsa')
    assertTold(dialer, 'DOWNGRADE_REFUSED')
  })

  test('an older serial than seen for the device, BINDING_STALE', async () => {
    const [ann, bob] = [await testNode('ann', { serial: 7 }), await testNode('bob')]
    linked((await meet(ann, bob)).listener)
    ann.device.binding = certify(ann.identity, 'ann', { serial: 6 })
    assertRefused((await meet(ann, bob)).listener, 'BINDING_STALE')
    ann.device.binding = certify(ann.identity, 'ann', { serial: 8 })
    linked((await meet(ann, bob)).listener)
  })

  test('a revoked device, DEVICE_REVOKED', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    linked((await meet(ann, bob)).listener)
    bob.known.revoke(ann.device.did, ann.linkKey)
    assertRefused((await meet(ann, bob)).listener, 'DEVICE_REVOKED')
  })

  test('a binding that has run out or is not valid yet, its code', async () => {
    const bob = await testNode('bob')
    const old = await testNode('ann', { notBefore: NOW - 86_400_000, notAfter: NOW - 1 })
    assertRefused((await meet(old, bob)).listener, 'BINDING_EXPIRED')
    const early = await testNode('ann', { notBefore: NOW + 601_000 })
    assertRefused((await meet(early, bob)).listener, 'BINDING_INVALID')
  })
})

describe('hello and chains', () => {
  test('a rotated identity shows its chain; known peers extend theirs', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    linked((await meet(ann, bob)).listener)
    rotateIdentity(ann.identity)
    ann.device.chain = ann.identity.chain
    ann.device.binding = certify(ann.identity, 'ann', { serial: 2 })
    const { listener } = await meet(ann, bob)
    assert.equal(linked(listener).chain.index, 1)
    assert.equal(bob.known.peer(ann.device.did)?.index, 1)
  })

  test('a device that has not heard of a scheduled rotation still links and is marked stale', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const laptop = await testNode('ann/laptop', { identity: { ...ann.identity } })
    rotateIdentity(ann.identity)
    ann.device.chain = ann.identity.chain
    ann.device.binding = certify(ann.identity, 'ann', { serial: 2 })
    linked((await meet(ann, bob)).listener)
    const { listener } = await meet(laptop, bob)
    assert.equal(linked(listener).chainStale, true)
    assert.equal(linked(listener).chain.index, 1)
  })

  test('two devices of one identity: the one that knows of the rotation is not set back by the other', async () => {
    const identity = testIdentity('ann')
    const laptop = await testNode('laptop', { identity: { ...identity } })
    rotateIdentity(identity)
    const home = await testNode('home', { identity })
    const { dialer, listener } = await meet(laptop, home)
    assert.deepEqual([linked(listener).chain.index, linked(listener).chainStale], [1, true])
    assert.equal(linked(dialer).chain.index, 1)
  })

  test('a device certified by keys that were compromised, BINDING_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const thief = await testNode('ann/thief', { identity: { ...ann.identity } })
    linked((await meet(thief, bob)).listener)
    rotateIdentity(ann.identity, { reason: 'compromised' })
    ann.device.chain = ann.identity.chain
    ann.device.binding = certify(ann.identity, 'ann', { serial: 2 })
    linked((await meet(ann, bob)).listener)
    assertRefused((await meet(thief, bob)).listener, 'BINDING_INVALID')
  })

  test('a second history of one identity, CHAIN_FORKED and remembered; the first one goes on under the mark', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const other = { ...ann.identity }
    rotateIdentity(ann.identity)
    ann.device.chain = ann.identity.chain
    ann.device.binding = certify(ann.identity, 'ann', { serial: 2 })
    linked((await meet(ann, bob)).listener)
    rotateIdentity(other, { branch: 'other ' })
    const impostor = await testNode('ann/other', { identity: other })
    assertRefused((await meet(impostor, bob)).listener, 'CHAIN_FORKED')
    assert.equal(bob.known.peer(ann.device.did)?.forked, true)
    assert.equal(linked((await meet(ann, bob)).listener).chain.status, 'forked')
    assertRefused((await meet(impostor, bob)).listener, 'CHAIN_FORKED')
  })

  test('a chain too long for the greeting: a peer that knows all but the last entries links, a stranger is told CHAIN_STALE and what is missing', async () => {
    const identity = testIdentity('ann', { mldsa: true })
    const [ann, friend, stranger] = [await testNode('ann', { identity }), await testNode('bob'), await testNode('eve')]
    linked((await meet(ann, friend)).listener)
    for (let generation = 1; generation <= 2; generation++) {
      rotateIdentity(identity)
      ann.device.chain = identity.chain
      ann.device.binding = certify(identity, 'ann', { serial: 1 + generation })
      if (generation === 1) linked((await meet(ann, friend)).listener)
    }
    assert.equal(linked((await meet(ann, friend)).listener).chain.index, 2)
    const { dialer, listener } = await meet(ann, stranger)
    assertRefused(listener, 'CHAIN_STALE')
    assert.ok(listener instanceof KithError)
    assert.deepEqual(listener.details, { did: ann.device.did, haveIndex: -1, needIndex: 2 })
    assertTold(dialer, 'CHAIN_STALE')
    stranger.known.adopt(identity.chain)
    linked((await meet(ann, stranger)).listener)
  })

  test('a recovery attested with a key the trustee has rotated to: judged after the proof, with what is known of the trustee', async () => {
    const day = 86_400_000
    const tom = testIdentity('tom', { now: NOW - 10 * day })
    rotateIdentity(tom, { now: NOW - 5 * day })
    const policy = { threshold: 1, override: 0, delayS: 86_400, trustees: [tom.chain.did] }
    const ann = await testNode('ann', { identity: recoveredIdentity(testIdentity('ann', { now: NOW - 10 * day, policy }), tom, NOW - 3 * day) })
    assert.equal(ann.identity.chain.index, 1)
    const [bob, stranger] = [await testNode('bob'), await testNode('eve')]
    bob.known.adopt(tom.chain)
    assert.equal(linked((await meet(ann, bob)).listener).chain.index, 1)
    assertRefused((await meet(ann, stranger)).listener, 'CHAIN_INVALID')
  })

  test('a later key of a known chain as an identity of its own, CHAIN_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    rotateIdentity(ann.identity)
    ann.device.chain = ann.identity.chain
    ann.device.binding = certify(ann.identity, 'ann')
    linked((await meet(ann, bob)).listener)
    const double = testIdentity('ann', { generation: 1 })
    const impostor = await testNode('double', { identity: double })
    assertRefused((await meet(impostor, bob)).listener, 'CHAIN_INVALID', 'revealed-key')
  })
})

describe('hello, time and silence', () => {
  test('a peer that says nothing, HANDSHAKE_TIMEOUT after ten seconds and not before', async () => {
    const bob = await testNode('bob')
    const pair = createChannelPair({ dialer: { localKey: bob.linkKey, remoteKey: bob.linkKey }, listener: { localKey: bob.linkKey, remoteKey: bob.linkKey } })
    let outcome: unknown
    const done = greet(pair.listener, bob.context()).catch((error: unknown) => {
      outcome = error
    })
    await bob.clock.run(9_999)
    assert.equal(outcome, undefined)
    await bob.clock.run(1)
    await done
    assertRefused(asError(outcome), 'HANDSHAKE_TIMEOUT')
    assert.equal(pair.listener.closed, true)
    assert.equal(bob.clock.pending, 0)
  })

  test('a peer that stops after each of its messages, HANDSHAKE_TIMEOUT', async () => {
    for (const [direction, last] of [
      ['to-listener', 1],
      ['to-dialer', 0],
      ['to-dialer', 1],
      ['to-dialer', 2],
    ] as const) {
      const [ann, bob] = [await testNode('ann'), await testNode('bob')]
      const met = meet(ann, bob, { tap: (message, to, number) => (to === direction && number >= last ? [] : [message]) })
      const waiting = direction === 'to-listener' ? bob : ann
      await waiting.clock.run(10_000)
      const { dialer, listener } = await met
      assertRefused(waiting === bob ? listener : dialer, 'HANDSHAKE_TIMEOUT')
      // Only who has given the verdict is past the greeting; its link ends with the channel.
      if (last === 2) linked(listener)
      else assertTold(waiting === bob ? dialer : listener, 'HANDSHAKE_TIMEOUT')
      assert.equal(waiting.clock.pending, 0)
    }
  })

  test('the caller gives up, ABORTED at once, channel closed, nothing left behind', async () => {
    const bob = await testNode('bob')
    const pair = createChannelPair({ dialer: { localKey: bob.linkKey, remoteKey: bob.linkKey }, listener: { localKey: bob.linkKey, remoteKey: bob.linkKey } })
    const abort = new AbortController()
    const done = greet(pair.dialer, bob.context(), { signal: abort.signal }).catch(asError)
    abort.abort()
    assertRefused(await done, 'ABORTED')
    assert.equal(pair.dialer.closed, true)
    assert.equal(bob.clock.pending, 0)
    const late = greet(pair.listener, bob.context(), { signal: abort.signal }).catch(asError)
    assertRefused(await late, 'ABORTED')
  })

  test('the channel is lost in the middle, LINK_LOST on the side that waits', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const pair = createChannelPair({ dialer: { localKey: ann.linkKey, remoteKey: bob.linkKey }, listener: { localKey: bob.linkKey, remoteKey: ann.linkKey } })
    const done = greet(pair.dialer, ann.context()).catch(asError)
    pair.dialer.end()
    assertRefused(await done, 'LINK_LOST')
    assert.equal(pair.dialer.sent.length, 1, 'no refusal to nobody')
  })

  test('more than 32 KiB before the verdict, HELLO_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { listener } = await meet(ann, bob, { tap: (message) => [message.length > 500 ? new Uint8Array(32_769).fill(0x4b) : message] })
    assertRefused(listener, 'HELLO_INVALID', 'size')
  })
})

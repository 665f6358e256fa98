import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PublicKey } from '../../src/core/bytes.ts'
import { decodeBinding } from '../../src/identity/binding.ts'
import { greet } from '../../src/mesh/hello.ts'
import { decodeHello, encodeHello, encodeProof, type HelloMessage, MAX_BINDING_BYTES, SUITE_ED25519 } from '../../src/mesh/hello-codec.ts'
import type { ChannelBinding } from '../../src/transport/types.ts'
import { createChannelPair, ScriptedChannel, type Tap } from './channel-pair.ts'
import { certify, type TestNode, testNode } from './fixtures.ts'
import { asError, assertRefused, assertTold, flip, linked, meet } from './meeting.ts'

/** Edits the Hello that travels in one direction. */
function editHello(direction: 'to-listener' | 'to-dialer', edit: (hello: HelloMessage) => HelloMessage): Tap {
  return (message, to, number) => [to === direction && number === 0 ? encodeHello(edit(decodeHello(message))) : message]
}

/** Edits the Hellos of both directions, so that neither side sees a difference before the proofs. */
function editFirst(edit: (message: Uint8Array) => Uint8Array): Tap {
  return (message, _to, number) => [number === 0 ? edit(message) : message]
}

/** A listener that is fed by the test, as an attacker feeds it. */
function attacked(node: TestNode, remoteKey: PublicKey, binding?: ChannelBinding, scheme = 'memory'): ScriptedChannel {
  return new ScriptedChannel({ role: 'listener', localKey: node.linkKey, remoteKey, scheme, ...(binding === undefined ? {} : { binding }) })
}

const stream = (fill: number): ChannelBinding => ({ kind: 'stream', bytes: new Uint8Array(32).fill(fill) })

describe('hello under attack', () => {
  test('a recorded HELLO and PROOF on a new channel, PROOF_INVALID: the listener’s nonce and the channel binding are others', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const first = await meet(ann, bob, { dialerChannel: { binding: stream(1) }, listenerChannel: { binding: stream(1) } })
    linked(first.listener)
    for (const binding of [stream(2), stream(1)]) {
      const channel = attacked(bob, ann.linkKey, binding)
      for (const message of first.pair.dialer.sent) channel.push(message)
      assertRefused(await greet(channel, bob.context()).catch(asError), 'PROOF_INVALID', 'signature')
    }
  })

  test('a recorded listener answering a new dialer, PROOF_INVALID before the dialer has proved anything', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const first = await meet(ann, bob)
    const channel = new ScriptedChannel({ role: 'dialer', localKey: ann.linkKey, remoteKey: bob.linkKey })
    for (const message of first.pair.listener.sent) channel.push(message)
    assertRefused(await greet(channel, ann.context()).catch(asError), 'PROOF_INVALID', 'signature')
    assert.deepEqual(
      channel.sent.map((message) => message[1]),
      [0x04, 0x09],
      'a Hello and a refusal, no proof',
    )
  })

  test('equal channel bindings of two channels (a resumed session), a replay is still PROOF_INVALID; different ones on one wire are, too', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const exporter: ChannelBinding = { kind: 'tls-exporter', bytes: new Uint8Array(32).fill(9) }
    const first = await meet(ann, bob, { scheme: 'tls', dialerChannel: { binding: exporter }, listenerChannel: { binding: exporter } })
    linked(first.dialer)
    const channel = attacked(bob, ann.linkKey, exporter, 'tls')
    for (const message of first.pair.dialer.sent) channel.push(message)
    assertRefused(await greet(channel, bob.context()).catch(asError), 'PROOF_INVALID', 'signature')
    // Somebody who ends both TLS sessions and passes everything on.
    const relayed = await meet(ann, bob, {
      scheme: 'tls',
      dialerChannel: { binding: exporter },
      listenerChannel: { binding: { ...exporter, bytes: new Uint8Array(32) } },
    })
    assertRefused(relayed.dialer, 'PROOF_INVALID', 'signature')
    assertTold(relayed.listener, 'PROOF_INVALID')
  })

  test('the kind of channel binding is signed: equal bytes of another kind, PROOF_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const bytes = new Uint8Array(32)
    const { dialer } = await meet(ann, bob, {
      dialerChannel: { binding: { kind: 'stream', bytes } },
      listenerChannel: { binding: { kind: 'tls-exporter', bytes } },
    })
    assertRefused(dialer, 'PROOF_INVALID', 'signature')
  })

  test('the listener’s own proof sent back as the dialer’s, refused, also with the number changed', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    for (const [edit, code, check] of [
      [(proof: Uint8Array) => proof, 'HELLO_INVALID', 'message'],
      [(proof: Uint8Array) => flip(proof, 1, 0x01), 'PROOF_INVALID', 'signature'],
    ] as const) {
      const channel = attacked(bob, ann.linkKey)
      channel.deliver = (message): void => {
        if (message[1] === 0x06) channel.push(edit(message))
      }
      const hello = await helloOf(ann, bob)
      channel.push(hello)
      assertRefused(await greet(channel, bob.context()).catch(asError), code, check)
    }
  })

  test('a listener that reflects everything to a node dialling itself, SELF_DIAL', async () => {
    const ann = await testNode('ann')
    const pair = createChannelPair({ dialer: { localKey: ann.linkKey, remoteKey: ann.linkKey }, listener: { localKey: ann.linkKey, remoteKey: ann.linkKey } })
    const [dialer, listener] = await Promise.all([greet(pair.dialer, ann.context()).catch(asError), greet(pair.listener, ann.context()).catch(asError)])
    assertRefused(listener, 'SELF_DIAL', 'self')
    assertTold(dialer, 'SELF_DIAL')
  })

  test('somebody passes a Hello on to another node: refused by the key of the channel, then by the key it was made for', async () => {
    const [ann, bob, mallory] = [await testNode('ann'), await testNode('bob'), await testNode('mallory')]
    const hello = await helloOf(ann, mallory)
    const asMallory = attacked(bob, mallory.linkKey)
    asMallory.push(hello)
    assertRefused(await greet(asMallory, bob.context()).catch(asError), 'HELLO_INVALID', 'own-link')
    // A transport whose authentication was broken: it believes to see ann.
    const asAnn = attacked(bob, ann.linkKey)
    asAnn.push(hello)
    assertRefused(await greet(asAnn, bob.context()).catch(asError), 'HELLO_INVALID', 'peer-link')
  })

  test('a Hello made for one identity shown to another device with the same link key claim, WRONG_PEER', async () => {
    const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
    const { listener } = await meet(ann, bob, { tap: editHello('to-listener', (hello) => ({ ...hello, expectedDid: eve.device.didKey })) })
    assertRefused(listener, 'WRONG_PEER', 'peer-did')
  })

  test('a listener that hides whom the dialer asked for and answers as itself, WRONG_PEER', async () => {
    const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
    const { dialer } = await meet(ann, bob, { expect: eve.device.did, tap: editHello('to-listener', (hello) => ({ ...hello, expectedDid: undefined })) })
    assertRefused(dialer, 'WRONG_PEER', 'peer-did')
  })

  test('a binding of somebody else’s device: with the own link key in the Hello, with the other’s identity, with both', async () => {
    const [ann, bob, mallory] = [await testNode('ann'), await testNode('bob'), await testNode('mallory')]
    // Mallory's identity certifies... ann's device: what mallory can get is ann's genuine binding, nothing else.
    mallory.device.binding = ann.device.binding
    assertRefused((await meet(mallory, bob)).listener, 'BINDING_INVALID', 'binding-did')
    mallory.device.didKey = ann.device.didKey
    mallory.device.did = ann.device.did
    mallory.device.chain = ann.device.chain
    assertRefused((await meet(mallory, bob)).listener, 'BINDING_INVALID', 'binding-link')
    const { listener } = await meet(mallory, bob, {
      dialerChannel: { localKey: ann.linkKey },
      listenerChannel: { remoteKey: mallory.linkKey },
    })
    assertRefused(listener, 'HELLO_INVALID', 'own-link')
  })

  test('a binding by mallory’s identity that names ann’s link key, BINDING_INVALID: ann’s device never signed it', async () => {
    const [bob, mallory] = [await testNode('bob'), await testNode('mallory')]
    const ann = await testNode('ann')
    // A binding for ann's device under mallory's identity, with mallory's device in place of ann's signature.
    const genuine = certify(mallory.identity, 'ann')
    const own = decodeBinding(mallory.device.binding)
    const forged = Buffer.from(genuine)
    forged.set(own.linkSignature, forged.length - 65)
    mallory.device.binding = forged
    const { listener } = await meet(mallory, bob, {
      scheme: 'quic',
      dialerChannel: { localKey: ann.linkKey, binding: { kind: 'quic' } },
      listenerChannel: { remoteKey: ann.linkKey, binding: { kind: 'quic' } },
    })
    assertRefused(listener, 'BINDING_INVALID')
  })

  test('a QUIC certificate key in foreign hands: the transport says ann, everything public is ann’s, PROOF_INVALID and nothing is kept', async () => {
    const [ann, bob, mallory] = [await testNode('ann'), await testNode('bob'), await testNode('mallory')]
    const thief = { ...ann.device, linkSigner: mallory.device.linkSigner }
    const quic = { scheme: 'quic', dialerChannel: { binding: { kind: 'quic' } }, listenerChannel: { binding: { kind: 'quic' } } } as const
    const inbound = await meet(ann, bob, { ...quic, dialer: { device: thief } })
    assertRefused(inbound.listener, 'PROOF_INVALID', 'signature')
    assertTold(inbound.dialer, 'PROOF_INVALID')
    const outbound = await meet(bob, ann, { ...quic, expect: ann.device.did, listener: { device: thief } })
    assertRefused(outbound.dialer, 'PROOF_INVALID', 'signature')
    assert.deepEqual([bob.known.size, bob.cache.size], [0, { bindings: 0, chains: 0 }])
  })

  test('a claim before its proof is never looked up: pins, boots and chains stay silent', async () => {
    const [ann, bob, mallory] = [await testNode('ann', { mldsa: true }), await testNode('bob'), await testNode('mallory')]
    linked((await meet(ann, bob, { dialer: { boot: 9 } })).listener)
    const thief = { ...ann.device, linkSigner: mallory.device.linkSigner }
    const quic = { scheme: 'quic', dialerChannel: { binding: { kind: 'quic' } }, listenerChannel: { binding: { kind: 'quic' } } } as const
    const lookedUp: string[] = []
    const watched = new Proxy(bob.known, {
      get(target, name) {
        if (['peer', 'device', 'chain', 'revealedBy', 'learn', 'adopt'].includes(String(name))) lookedUp.push(String(name))
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const { listener } = await meet(ann, bob, { ...quic, dialer: { device: thief, boot: 1 }, listener: { known: watched } })
    assertRefused(listener, 'PROOF_INVALID', 'signature')
    assert.deepEqual(lookedUp, [])
    linked((await meet(ann, bob, { ...quic, dialer: { boot: 9 }, listener: { known: watched } })).listener)
    assert.ok(lookedUp.length > 0, 'the watch works')
  })

  for (const [what, edit] of [
    ['protocol version', (hello: HelloMessage) => ({ ...hello, protocolMax: hello.protocolMax + 1 })],
    ['capabilities', (hello: HelloMessage) => ({ ...hello, capabilities: hello.capabilities ^ 1n })],
    ['an extension added', (hello: HelloMessage) => ({ ...hello, extensions: new Map([...hello.extensions, [0x0777, Uint8Array.of(1)] as const]) })],
    ['the chain taken out', (hello: HelloMessage) => ({ ...hello, extensions: new Map() })],
    ['time', (hello: HelloMessage) => ({ ...hello, timeMs: hello.timeMs + 1 })],
    ['boot', (hello: HelloMessage) => ({ ...hello, boot: hello.boot + 1 })],
    ['run', (hello: HelloMessage) => ({ ...hello, run: flip(hello.run, 0) })],
    ['nonce', (hello: HelloMessage) => ({ ...hello, nonce: flip(hello.nonce, 31) })],
    ['expectation removed', (hello: HelloMessage) => ({ ...hello, expectedDid: undefined })],
  ] as const) {
    test(`${what} edited on the way, PROOF_INVALID in either direction`, async () => {
      const [ann, bob] = [await testNode('ann'), await testNode('bob')]
      for (const direction of ['to-listener', 'to-dialer'] as const) {
        const { dialer, listener } = await meet(ann, bob, { expect: bob.device.did, tap: editHello(direction, edit) })
        assertRefused(dialer, 'PROOF_INVALID', 'signature')
        assertTold(listener, 'PROOF_INVALID')
      }
    })
  }

  test('another transport or key exchange than the channel has, HELLO_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    assertRefused((await meet(ann, bob, { tap: editHello('to-listener', (hello) => ({ ...hello, transport: 1 })) })).listener, 'HELLO_INVALID', 'transport')
    for (const exchange of [0, 2, 255]) {
      const { listener } = await meet(ann, bob, { postQuantum: true, tap: editHello('to-listener', (hello) => ({ ...hello, exchange })) })
      assertRefused(listener, 'HELLO_INVALID', 'exchange')
    }
  })

  test('the suite lowered: a proof without ML-DSA where both can, PROOF_INVALID', async () => {
    const [ann, bob] = [await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true })]
    const cut = (message: Uint8Array): Uint8Array => {
      const lower = message.slice(0, 67)
      lower[2] = SUITE_ED25519
      return lower
    }
    const toListener = await meet(ann, bob, { tap: (message, to, number) => [to === 'to-listener' && number === 1 ? cut(message) : message] })
    assertRefused(toListener.listener, 'PROOF_INVALID', 'suite')
    const toDialer = await meet(ann, bob, { tap: (message, to, number) => [to === 'to-dialer' && number === 1 ? cut(message) : message] })
    assertRefused(toDialer.dialer, 'PROOF_INVALID', 'suite')
    assert.equal(toDialer.pair.dialer.sent[1]?.length, 4)
  })

  test('the suite lowered by another binding: ML-DSA taken out of both bindings, BINDING_INVALID', async () => {
    const [ann, bob] = [await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true })]
    const without = certify(ann.identity, 'ann', { deviceMldsa: false })
    const { listener, dialer } = await meet(ann, bob, { tap: editHello('to-listener', (hello) => ({ ...hello, binding: without })) })
    // A genuine older binding without ML-DSA: everything fits but the signature over what was really sent.
    assertRefused(dialer, 'PROOF_INVALID', 'suite')
    assertTold(listener, 'PROOF_INVALID')
  })

  test('one half of a hybrid proof is wrong, PROOF_INVALID by that half', async () => {
    const [ann, bob] = [await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true })]
    const tap =
      (at: number): Tap =>
      (message, to, number) => [to === 'to-listener' && number === 1 ? flip(message, at) : message]
    assertRefused((await meet(ann, bob, { tap: tap(3) })).listener, 'PROOF_INVALID', 'signature')
    assertRefused((await meet(ann, bob, { tap: tap(3000) })).listener, 'PROOF_INVALID', 'mldsa')
  })

  test('extensions: unknown ones below 0x8000 are ignored, from there on refused, unordered or doubled ones malformed', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const channel = attacked(bob, ann.linkKey)
    const hello = decodeHello(await helloOf(ann, bob))
    channel.push(encodeHello({ ...hello, extensions: new Map([...hello.extensions, [0x7fff, Uint8Array.of(1)]]) }))
    const done = greet(channel, bob.context()).catch(asError)
    await bob.clock.run(0)
    assert.equal(channel.sent[0]?.[1], 0x05, 'answered')
    channel.end()
    await done
    const must = attacked(bob, ann.linkKey)
    must.push(encodeHello({ ...hello, extensions: new Map([[0x8000, Uint8Array.of(1)]]) }))
    assertRefused(await greet(must, bob.context()).catch(asError), 'HELLO_INVALID', 'extension')
  })

  test('the chain of another identity in the extension, CHAIN_INVALID', async () => {
    const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
    ann.device.chain = eve.device.chain
    assertRefused((await meet(ann, bob)).listener, 'CHAIN_INVALID', 'chain-extension')
  })

  test('an identity key as a link key, BINDING_INVALID; a claimed DID that is no point, HELLO_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    assertRefused(
      (await meet(ann, bob, { tap: editHello('to-listener', (hello) => ({ ...hello, ownDid: new Uint8Array(32).fill(2) })) })).listener,
      'HELLO_INVALID',
      'peer-did',
    )
    assertRefused(
      (await meet(ann, bob, { tap: editHello('to-listener', (hello) => ({ ...hello, ownDid: new Uint8Array(32) })) })).listener,
      'HELLO_INVALID',
      'peer-did',
    )
  })

  test('messages out of turn, HELLO_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const swap: Tap = (message, to, number) => (to === 'to-dialer' && number < 2 ? (number === 0 ? [] : [message]) : [message])
    assertRefused((await meet(ann, bob, { tap: swap })).dialer, 'HELLO_INVALID', 'message')
    const twice: Tap = (message, to, number) => (to === 'to-listener' && number === 0 ? [message, message] : [message])
    assertRefused((await meet(ann, bob, { tap: twice })).listener, 'HELLO_INVALID', 'message')
    for (const noise of [new Uint8Array(0), Uint8Array.of(0x4b), Uint8Array.of(0x4b, 0xff), new Uint8Array(500)]) {
      assertRefused((await meet(ann, bob, { tap: editFirst(() => noise) })).listener, 'HELLO_INVALID', 'message')
    }
  })

  test('a verdict edited from refused to accepted gives the attacker nothing: the listener has closed', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { listener, pair } = await meet(ann, bob, {
      listener: { accept: () => ({ code: 'POLICY_DENIED' }) },
      tap: (message, to, number) => [to === 'to-dialer' && number === 2 ? Uint8Array.of(0x4b, 0x08, 0, 0, 0) : message],
    })
    assertRefused(listener, 'POLICY_DENIED')
    assert.equal(pair.listener.closed, true)
  })

  test('a binding beyond its limit, HELLO_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const hello = decodeHello(await helloOf(ann, bob))
    const encoded = encodeHello({ ...hello, binding: new Uint8Array(MAX_BINDING_BYTES), extensions: new Map() })
    const channel = attacked(bob, ann.linkKey)
    const oversized = Buffer.from(encoded)
    // 16,384 = 80 80 01; one more = 81 80 01.
    oversized[oversized.indexOf(Buffer.from([0x80, 0x80, 0x01]))] = 0x81
    channel.push(oversized)
    assertRefused(await greet(channel, bob.context()).catch(asError), 'HELLO_INVALID', 'size')
  })

  test('a proof that does not decode, PROOF_INVALID', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { listener } = await meet(ann, bob, { tap: (message, to, number) => [to === 'to-listener' && number === 1 ? message.slice(0, 66) : message] })
    assertRefused(listener, 'PROOF_INVALID', 'size')
    assert.throws(() => encodeProof({ role: 'dialer', suite: 1, signature: new Uint8Array(64) as never, mldsa: undefined }), TypeError)
  })
})

/** The HELLO that one node would send to another. */
async function helloOf(from: TestNode, to: TestNode): Promise<Uint8Array> {
  const channel = new ScriptedChannel({ role: 'dialer', localKey: from.linkKey, remoteKey: to.linkKey })
  channel.deliver = (): void => channel.end()
  assertRefused(await greet(channel, from.context()).catch(asError), 'LINK_LOST')
  return channel.sent[0] as Uint8Array
}

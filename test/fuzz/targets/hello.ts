import assert from 'node:assert/strict'
import { equal } from '../../../src/core/bytes.ts'
import { decode, encode } from '../../../src/core/codec.ts'
import { KithError } from '../../../src/core/errors.ts'
import { type ManualClock, manualClock } from '../../../src/core/manual-clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { createMemoryStore } from '../../../src/core/store/memory.ts'
import { greet } from '../../../src/mesh/hello.ts'
import { HelloCache } from '../../../src/mesh/hello-cache.ts'
import {
  decodeHello,
  decodeProof,
  decodeVerdict,
  encodeHello,
  encodeProof,
  encodeRefuse,
  encodeVerdict,
  knownExtension,
  messageKind,
  SUITE_ED25519,
} from '../../../src/mesh/hello-codec.ts'
import { helloHash, makeProof, proofMessage } from '../../../src/mesh/hello-proof.ts'
import type { AuthenticatedLink, GreetContext } from '../../../src/mesh/hello-types.ts'
import { openKnownKeys } from '../../../src/mesh/known-keys.ts'
import { createChannelPair, ScriptedChannel } from '../../mesh/channel-pair.ts'
import { NOW, rotateIdentity, runOf, type TestDevice, testDevice, testIdentity } from '../../mesh/fixtures.ts'
import { change, joinMessages, parseChanges, parseMessages, settledWithin } from '../conversation.ts'
import type { FuzzTarget } from '../mutate.ts'

const TURNS = 12
const DEADLINE_MS = 10_000
/** What this side may find wrong by itself. */
const CODES: readonly string[] = [
  'HELLO_INVALID',
  'HELLO_REFUSED',
  'WRONG_PEER',
  'SELF_DIAL',
  'BINDING_INVALID',
  'BINDING_EXPIRED',
  'BINDING_STALE',
  'CHAIN_INVALID',
  'CHAIN_STALE',
  'VERSION_UNSUPPORTED',
  'PROOF_INVALID',
  'HANDSHAKE_TIMEOUT',
  'LINK_LOST',
  'CLOSED',
]

const annIdentity = testIdentity('ann')
rotateIdentity(annIdentity)
const ann = testDevice(annIdentity, 'ann')
const bob = testDevice(testIdentity('bob'), 'bob')

/** A node as its neighbours meet it for the first time. */
async function contextOf(name: string, device: TestDevice, clock: ManualClock): Promise<GreetContext> {
  const known = await openKnownKeys({ store: createMemoryStore(), clock, log: silentLogger })
  return { device, known, cache: new HelloCache(), clock, random: seededRandom(name), log: silentLogger, boot: 1, run: runOf(name) }
}

/** What came of a greeting, at its deadline at the latest; a refusal leaves no trace of whoever was not proved. */
async function outcome(greeting: Promise<AuthenticatedLink>, context: GreetContext, peer: TestDevice): Promise<AuthenticatedLink | KithError> {
  if (!(await settledWithin(greeting, TURNS))) (context.clock as ManualClock).advance(DEADLINE_MS)
  assert.ok(await settledWithin(greeting, TURNS), 'it goes on after its deadline')
  try {
    const link = await greeting
    assert.equal(link.did, peer.did)
    assert.deepEqual(link.linkKey, peer.linkSigner.publicKey)
    return link
  } catch (error) {
    if (!(error instanceof KithError)) throw error
    if (!error.remote) assert.ok(CODES.includes(error.code), error.stack)
    // Of a history longer than one greeting shows, what verified stays, since the rest joins on it; no machine is taken in with it.
    const trace = context.known.peer(peer.did)
    if (error.code === 'CHAIN_STALE') assert.deepEqual([trace?.devices ?? [], trace?.mldsa ?? false], [[], false], 'a machine that was refused is remembered')
    else assert.equal(trace, undefined, 'somebody who was refused is remembered')
    assert.deepEqual(context.cache.size, { bindings: 0, chains: 0 }, 'a refused greeting is remembered')
    return error
  }
}

function label(result: AuthenticatedLink | KithError): string {
  return result instanceof KithError ? `${result.remote ? 'told ' : ''}${result.code} ${String(result.details.check ?? result.details.reason ?? '')}` : 'link'
}

/** Both sides honest, the messages between them changed: 0 HELLO_D, 1 HELLO_L, 2 PROOF_L, 3 PROOF_D, 4 VERDICT. */
const tampered: FuzzTarget = {
  name: 'hello-tampered',
  seeds: [new Uint8Array(0), change(0, 0, 40, 1), change(1, 0, 40, 1), change(2, 0, 10, 1), change(3, 0, 10, 1), change(4, 1, 3, 1)],
  codes: [],
  async run(input) {
    const { apply, honest } = parseChanges(input)
    const clock = manualClock(NOW)
    const arrived: Uint8Array[][] = [[], [], [], [], []]
    const said: Uint8Array[] = []
    const pair = createChannelPair({
      dialer: { localKey: ann.linkSigner.publicKey, remoteKey: bob.linkSigner.publicKey },
      listener: { localKey: bob.linkSigner.publicKey, remoteKey: ann.linkSigner.publicKey },
      tap(message, to, number) {
        const index = to === 'to-listener' ? Math.min(3, number * 3) : Math.min(4, number === 2 ? 4 : 1 + number)
        const out = apply(index, message)
        said[index] ??= message
        arrived[index]?.push(...out)
        return out
      },
    })
    const [near, far] = [await contextOf('ann', ann, clock), await contextOf('bob', bob, clock)]
    const [dialer, listener] = await Promise.all([
      outcome(greet(pair.dialer, near, { expect: bob.did }), near, bob),
      outcome(greet(pair.listener, far), far, ann),
    ])
    const same = (index: number): boolean => equal(arrived[index]?.[0] ?? new Uint8Array(0), said[index] ?? new Uint8Array(1))
    if (!(listener instanceof KithError)) assert.ok(same(0) && same(1) && same(2) && same(3), 'the listener took what was not said')
    if (!(dialer instanceof KithError)) assert.ok(same(0) && same(1) && same(2), 'the dialer took what was not said')
    if (!(dialer instanceof KithError || listener instanceof KithError)) assert.deepEqual(dialer.helloHash, listener.helloHash)
    if (honest) assert.ok(!(dialer instanceof KithError || listener instanceof KithError))
    return `${label(dialer)} / ${label(listener)}`
  },
  iterations: 1_200,
}

/** What each side says first in an honest greeting. */
async function firstWords(): Promise<{ dialer: Uint8Array; listener: Uint8Array }> {
  const clock = manualClock(NOW)
  const pair = createChannelPair({
    dialer: { localKey: ann.linkSigner.publicKey, remoteKey: bob.linkSigner.publicKey },
    listener: { localKey: bob.linkSigner.publicKey, remoteKey: ann.linkSigner.publicKey },
  })
  await Promise.all([greet(pair.dialer, await contextOf('ann', ann, clock)), greet(pair.listener, await contextOf('bob', bob, clock))])
  return { dialer: pair.dialer.sent[0] as Uint8Array, listener: pair.listener.sent[0] as Uint8Array }
}
const words = await firstWords()

async function heard(channel: ScriptedChannel, count: number): Promise<Uint8Array[]> {
  const arrived = new Promise<void>((resolve) => {
    const look = (): void => {
      if (channel.sent.length >= count || channel.closed) resolve()
    }
    channel.deliver = look
    channel.onClose = look
    look()
  })
  await settledWithin(arrived, TURNS)
  return channel.sent
}

function sayAll(channel: ScriptedChannel, messages: readonly Uint8Array[]): void {
  for (const message of messages) channel.push(message)
}

/** A machine that can prove what it says, and says something else: its own HELLO changed (message 0) and its proof over just that (message 3). */
const lyingDialer: FuzzTarget = {
  name: 'hello-lying-dialer',
  seeds: [new Uint8Array(0), change(0, 0, 7, 1), change(0, 1, 51, 9), change(0, 4, 60, 8)],
  codes: [],
  async run(input) {
    const { apply } = parseChanges(input)
    const context = await contextOf('bob', bob, manualClock(NOW))
    const channel = new ScriptedChannel({ role: 'listener', localKey: bob.linkSigner.publicKey, remoteKey: ann.linkSigner.publicKey })
    const greeting = outcome(greet(channel, context), context, ann)
    const hello = apply(0, words.dialer)
    sayAll(channel, hello)
    const [answer, proof] = await heard(channel, 2)
    if (answer !== undefined && proof !== undefined && hello[0] !== undefined) {
      const hash = helloHash(channel.channelBinding, hello[0], answer)
      sayAll(channel, apply(3, makeProof('dialer', proofMessage('dialer', hash, proof), SUITE_ED25519, ann.linkSigner, undefined)))
    }
    return label(await greeting)
  },
  iterations: 2_500,
}

/** The same from the other end: HELLO (1), proof over it (2), verdict (4). */
const lyingListener: FuzzTarget = {
  name: 'hello-lying-listener',
  seeds: [new Uint8Array(0), change(1, 0, 7, 1), change(1, 1, 51, 9), change(4, 1, 3, 1)],
  codes: [],
  async run(input) {
    const { apply } = parseChanges(input)
    const context = await contextOf('ann', ann, manualClock(NOW))
    const channel = new ScriptedChannel({ role: 'dialer', localKey: ann.linkSigner.publicKey, remoteKey: bob.linkSigner.publicKey })
    const greeting = outcome(greet(channel, context, { expect: bob.did }), context, bob)
    const [asked] = await heard(channel, 1)
    const hello = apply(1, words.listener)
    sayAll(channel, hello)
    if (asked !== undefined && hello[0] !== undefined) {
      const hash = helloHash(channel.channelBinding, asked, hello[0])
      sayAll(channel, apply(2, makeProof('listener', proofMessage('listener', hash, new Uint8Array(0)), SUITE_ED25519, bob.linkSigner, undefined)))
    }
    sayAll(channel, apply(4, encodeVerdict(0)))
    return label(await greeting)
  },
  iterations: 2_500,
}

/** Whatever messages, to either side: without keys there is no link. */
const raw: FuzzTarget = {
  name: 'hello-raw',
  seeds: [
    Buffer.concat([
      Uint8Array.of(0),
      joinMessages(words.dialer, encodeProof({ role: 'dialer', suite: 0, signature: new Uint8Array(64) as never, mldsa: undefined })),
    ]),
    Buffer.concat([Uint8Array.of(1), joinMessages(words.listener, encodeRefuse(400))]),
    Buffer.concat([Uint8Array.of(1), joinMessages(encodeRefuse(0))]),
  ],
  codes: [],
  async run(input) {
    const dials = ((input[0] ?? 0) & 1) === 1
    const [own, peer] = dials ? [ann, bob] : [bob, ann]
    const context = await contextOf('raw', own, manualClock(NOW))
    const channel = new ScriptedChannel({ role: dials ? 'dialer' : 'listener', localKey: own.linkSigner.publicKey, remoteKey: peer.linkSigner.publicKey })
    sayAll(channel, parseMessages(input.subarray(1)))
    const result = await outcome(greet(channel, context), context, peer)
    assert.ok(result instanceof KithError, 'a link came about without a proof')
    return label(result)
  },
  iterations: 3_000,
}

/** One encoding per message. */
const codec: FuzzTarget = {
  name: 'hello-codec',
  seeds: [
    words.dialer,
    words.listener,
    encodeProof({ role: 'listener', suite: 0, signature: new Uint8Array(64) as never, mldsa: undefined }),
    encodeVerdict(413, 'no'),
    encodeHello({
      ...decodeHello(words.dialer),
      expectedDid: undefined,
      extensions: new Map([
        [0x7fff, new Uint8Array(3)],
        [0x8000, new Uint8Array(0)],
      ]),
    }),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    switch (messageKind(input)) {
      case 0x06:
      case 0x07:
        assert.deepEqual(encodeProof(decodeProof(input)), input)
        return 'proof'
      case 0x08: {
        const { code, detail } = decodeVerdict(input)
        assert.deepEqual(encodeVerdict(code, detail), input)
        return 'verdict'
      }
      default:
        assert.deepEqual(encodeHello(decodeHello(input)), input)
        return 'hello'
    }
  },
}

/** What a dialer says it knows of a chain; flags that mean nothing yet are read over. */
const known: FuzzTarget = {
  name: 'hello-known',
  seeds: [encode(knownExtension, { index: -1, forked: false }), encode(knownExtension, { index: 999, forked: true })],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const { index, forked } = decode(knownExtension, input)
    assert.ok(input.length === 5 && index >= -1 && index < 0xffff_ffff)
    assert.deepEqual(decode(knownExtension, encode(knownExtension, { index, forked })), { index, forked })
    return forked ? 'forked' : 'known'
  },
  iterations: 3_000,
}

export const helloTargets: readonly FuzzTarget[] = [tampered, lyingDialer, lyingListener, raw, codec, known]

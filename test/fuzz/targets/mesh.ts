import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { base58Decode, base58Encode } from '../../../src/core/base58.ts'
import { equal, type PublicKey, utf8 } from '../../../src/core/bytes.ts'
import { sha256 } from '../../../src/core/crypto/hash.ts'
import { codeOfNumber, isKithError, KithError } from '../../../src/core/errors.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { type Random, seededRandom } from '../../../src/core/random.ts'
import { createMemoryStore } from '../../../src/core/store/memory.ts'
import type { Did } from '../../../src/identity/did.ts'
import { AddressBook } from '../../../src/mesh/address-book.ts'
import { decodePeer, encodePeer } from '../../../src/mesh/address-book-codec.ts'
import { fetchChain, serveChain } from '../../../src/mesh/chain-protocol.ts'
import { constraintTable, isPeerClass } from '../../../src/mesh/constraints.ts'
import { Invites } from '../../../src/mesh/invite.ts'
import { isLoopback, parseIp } from '../../../src/mesh/ip.ts'
import { type ControlMessage, ControlReader, encodeControl } from '../../../src/mesh/link-control.ts'
import type { LinkContext, Member } from '../../../src/mesh/link-member.ts'
import { createLocateAnswerer, locate } from '../../../src/mesh/locate.ts'
import { decodeLocateAnswer, encodeLocateRequest, locateAnswerMessage, locateTag, NO_INDEX } from '../../../src/mesh/locate-codec.ts'
import { joinByTicket, PairingServer } from '../../../src/mesh/pairing.ts'
import { openLocalPolicy } from '../../../src/mesh/policy.ts'
import { decodeRules, encodeRules, formatRule, parseRule, type RuleText, readRule } from '../../../src/mesh/policy-rules.ts'
import type { Guard } from '../../../src/mesh/policy-target.ts'
import { Router } from '../../../src/mesh/router.ts'
import { decodeTicket, encodeTicket, type Ticket } from '../../../src/mesh/ticket.ts'
import { NOW, rotateIdentity, testDevice, testIdentity } from '../../mesh/fixtures.ts'
import { change, joinMessages, parseChanges, parseMessages, settledWithin, turns } from '../conversation.ts'
import { FakeStream } from '../fake-stream.ts'
import type { FuzzTarget } from '../mutate.ts'

const TURNS = 12
const CHAIN_CODES = ['CHAIN_INVALID', 'CHAIN_STALE', 'CHAIN_FORKED'] as const
const BINDING_CODES = ['BINDING_INVALID', 'BINDING_EXPIRED', 'BINDING_STALE'] as const
const bobIdentity = testIdentity('bob')
rotateIdentity(bobIdentity)
const bob = testDevice(bobIdentity, 'bob')
const ann = testDevice(testIdentity('ann'), 'ann')

// ---- locate (PN-2)

const nonce = new Uint8Array(16).fill(1)
const rightRequest = encodeLocateRequest({ nonce, tag: locateTag(bob.didKey, nonce), haveIndex: NO_INDEX })
const source = { scheme: 'tcp', host: '192.0.2.1', port: 1 }

/** Who does not know the DID gets nothing; who does gets an answer over just its nonce. */
const locateRequest: FuzzTarget = {
  name: 'locate-request',
  seeds: [
    rightRequest,
    encodeLocateRequest({ nonce, tag: locateTag(bob.didKey, nonce), haveIndex: 0 }),
    encodeLocateRequest({ nonce, tag: locateTag(bob.didKey, nonce), haveIndex: 7 }),
  ],
  codes: [],
  run(input) {
    const clock = manualClock(NOW)
    const answer = createLocateAnswerer({ device: bob, clock })(input, source)
    if (answer === undefined) return 'silence'
    assert.ok(equal(input.subarray(0, 51), rightRequest.subarray(0, 51)), 'an answer to somebody who does not know the identity')
    return `answer ${decodeLocateAnswer(answer).tail.length}`
  },
}

const LOCATE_CODES = ['LOCATE_FAILED', 'TIMEOUT', ...CHAIN_CODES, ...BINDING_CODES] as const

/** The machine's own answer, changed before it signs (message 0) and after (message 1). Only the right machine of the right identity is ever found. */
const locateAnswer: FuzzTarget = {
  name: 'locate-answer',
  seeds: [new Uint8Array(0), change(5, 0)],
  codes: [...LOCATE_CODES],
  async run(input) {
    const { apply } = parseChanges(input)
    const clock = manualClock(NOW)
    const answerer = createLocateAnswerer({ device: bob, clock })
    const transport = {
      scheme: 'tcp',
      locate: async (_address: string, request: Uint8Array): Promise<Uint8Array> => {
        const honest = decodeLocateAnswer(answerer(request, source) as Uint8Array)
        const body = apply(0, honest.body)[0] ?? new Uint8Array(0)
        const signature = bob.linkSigner.sign(locateAnswerMessage({ nonce: request.subarray(3, 19), tag: request.subarray(19, 51) }, body))
        const out = apply(1, Buffer.concat([body, signature]))[0]
        if (out === undefined) throw new KithError('LOCATE_FAILED')
        return out
      },
    }
    const found = await locate(transport, 'tcp://192.0.2.9:4433', { did: bob.did, clock, random: seededRandom('locate') })
    assert.equal(found.did, bob.did)
    assert.deepEqual(found.linkKey, bob.linkSigner.publicKey)
    assert.equal(clock.pending, 0)
    return `found ${found.chain.index}`
  },
  iterations: 4_000,
}

// ---- tickets (PN-12)

const ticket: Ticket = {
  id: new Uint8Array(8).fill(1),
  secret: new Uint8Array(16).fill(2),
  did: bob.did,
  linkKey: bob.linkSigner.publicKey,
  chainIndex: 1,
  headPrefix: new Uint8Array(8).fill(3),
  class: 'known',
  expiresS: 2_000_000_000,
  urls: ['tcp://192.0.2.1:4433', 'quic://[2001:db8::1]:4433'],
}

const tickets: FuzzTarget = {
  name: 'ticket',
  seeds: [
    utf8(encodeTicket(ticket)),
    utf8(encodeTicket({ ...ticket, urls: [] })),
    utf8(` ${encodeTicket(ticket).slice(0, 80)}\n  ${encodeTicket(ticket).slice(80)} `),
  ],
  codes: ['INVITE_INVALID'],
  tokens: ['kith1', '1', 'z', ' ', '\n'].map(utf8),
  run(input) {
    const given = Buffer.from(input).toString('utf8')
    assert.equal(encodeTicket(decodeTicket(given)), given.replace(/\s+/g, ''))
  },
}

/** With the checksum put right, so that every field is reached. */
const ticketBody: FuzzTarget = {
  name: 'ticket-body',
  seeds: [ticket, { ...ticket, urls: [] }].map((one) => (base58Decode(encodeTicket(one).slice(5), 600) as Uint8Array).slice(0, -4)),
  codes: ['INVITE_INVALID'],
  run(input) {
    const pasted = `kith1${base58Encode(Buffer.concat([input, sha256(input).subarray(0, 4)]))}`
    assert.equal(encodeTicket(decodeTicket(pasted)), pasted)
  },
  maxBytes: 700,
}

// ---- pairing (PN-12)

const helloHash = new Uint8Array(32).fill(4)
function contextOf(device: typeof ann): LinkContext {
  const path = { scheme: 'tcp', address: 'tcp://192.0.2.7:1', direct: true }
  return { peer: device.did, linkKey: device.linkSigner.publicKey, path, signal: new AbortController().signal, helloHash, member: {} as Member }
}

async function inviter(random: Random): Promise<{ server: PairingServer; ticket: Ticket; book: AddressBook; clock: ReturnType<typeof manualClock> }> {
  const clock = manualClock(NOW)
  const store = createMemoryStore()
  const [book, invites] = [await AddressBook.open(store, clock), await Invites.open(store, clock)]
  const { invite, secret } = await invites.create({ class: 'partner', expiresMs: NOW + 60_000, uses: 1, trustTicket: false }, random)
  const server = new PairingServer({ did: bob.did, name: () => 'bob', store, book, invites, clock, random, onPaired: () => {}, onWarning: () => {} })
  return { server, ticket: { ...ticket, id: invite.id, secret }, book, clock }
}
const PAIR_REFUSALS: readonly string[] = ['INVITE_REFUSED', 'WIRE_MALFORMED', 'TIMEOUT', 'KEY_INVALID', 'PROOF_INVALID']

/** Somebody without a ticket says anything: nobody enters the address book. */
const pairRaw: FuzzTarget = {
  name: 'pair-raw',
  seeds: [
    joinMessages(new Uint8Array(40), Buffer.concat([new Uint8Array(64), Uint8Array.of(3), utf8('ann')])),
    joinMessages(new Uint8Array(200), new Uint8Array(400)),
  ],
  codes: [],
  async run(input) {
    const { server, book, clock } = await inviter(seededRandom('pair'))
    const stream = new FakeStream()
    server.serve(stream, contextOf(ann))
    for (const message of parseMessages(input, 6)) {
      stream.feed(message, 7)
      await turns(1)
    }
    stream.close()
    await turns(2)
    clock.advance(20_000)
    await turns(2)
    assert.equal(book.get(ann.did), undefined, 'somebody without a ticket was paired')
    const code = codeOfNumber(stream.resetNumber ?? 0)
    assert.ok(stream.resetNumber !== undefined && PAIR_REFUSALS.includes(code), code)
    assert.equal(clock.pending, 0, 'timers are left behind')
    return code
  },
  iterations: 2_500,
}

/** Joiner and inviter honest, what they say changed: 0 and 2 by the joiner, 1 and 3 by the inviter. Paired means on both sides, with the same words. */
const pairTampered: FuzzTarget = {
  name: 'pair-tampered',
  seeds: [new Uint8Array(0), change(0, 0, 3, 1), change(1, 0, 3, 1), change(2, 0, 40, 1), change(3, 0, 3, 1), change(3, 2, 32)],
  codes: [],
  async run(input) {
    const { apply, honest } = parseChanges(input)
    const { server, ticket: invited, book, clock } = await inviter(seededRandom('pair'))
    const [near, far] = [new FakeStream(), new FakeStream()]
    const pass = (from: FakeStream, to: FakeStream, first: number): void => {
      let index = first
      let sent = 0
      let ended = false
      from.onOwner = () => {
        queueMicrotask(() => {
          for (; sent < from.written.length; index += 2) for (const out of apply(index, from.written[sent++] as Buffer)) to.feed(out)
          if (from.resetNumber !== undefined) to.fail(new KithError(codeOfNumber(from.resetNumber), undefined, { remote: true }))
          else if (from.ended && !ended) {
            ended = true
            to.close()
          }
        })
      }
    }
    pass(near, far, 0)
    pass(far, near, 1)
    server.serve(far, contextOf(ann))
    const joining = joinByTicket(near, { ticket: invited, context: contextOf(bob), did: ann.did, name: 'ann', clock, random: seededRandom('join') })
    if (!(await settledWithin(joining, 4 * TURNS))) clock.advance(20_000)
    assert.ok(await settledWithin(joining, TURNS), 'it goes on after its deadline')
    await turns(2)
    if (clock.pending > 0) clock.advance(20_000)
    await turns(2)
    assert.equal(clock.pending, 0, 'timers are left behind')
    const paired = book.get(ann.did) !== undefined
    try {
      const joined = await joining
      assert.ok(paired, 'the joiner believes to be paired and is not')
      // The class is the inviter's word over an authenticated link; no proof covers it.
      assert.ok(isPeerClass(joined.class))
      return 'paired'
    } catch (error) {
      if (!(error instanceof KithError)) throw error
      assert.ok(!honest, String(error))
      assert.ok([...PAIR_REFUSALS, 'LINK_LOST'].includes(error.code), error.stack)
      return `${paired ? 'inviter only ' : ''}${error.code}`
    }
  },
  iterations: 2_000,
}

// ---- policy

const guard: Guard = { reservedName: (name) => name === 'kith-control', ownPort: (address, port) => port === 9443 && isLoopback(address) }
const rule = (text: string): Uint8Array => utf8(text)
const RULES = [
  'allow known forward localhost:5432',
  `allow ${bob.did} forward *.lan:8000-8099`,
  'deny * forward 10.0.0.0/8:*',
  'allow partner open acme/*/1',
  'allow * forward [2001:db8::/32]:22',
  'allow federated *',
  'deny isolated file',
  'allow known forward unix:/run/x.sock',
  'allow scope:reports call reports/* --via http --via raw --between 22:00-06:00',
  'deny ssh-user:guest forward --until 2027-01-31T18:00:00.000Z',
  'allow ssh:SHA256:F0YtA4EZe6p9T0vW92Y8PsMvPsFJQ6lC4EhL6AGyLls forward db.lan:5432 --via ssh',
  'deny key:ci *',
]

function parseText(input: Uint8Array): RuleText {
  return readRule(Buffer.from(input).toString('utf8'))
}

/** A rule that is taken is listed in a form that is taken again, as the same rule. */
const policyRule: FuzzTarget = {
  name: 'policy-rule',
  seeds: RULES.map(rule),
  codes: ['DID_INVALID'],
  tokens: [
    'allow ',
    'deny ',
    '*',
    ' ',
    ':',
    '[',
    ']',
    '/',
    '-',
    '.',
    'unix:/',
    '::',
    '127.0.0.1',
    '::ffff:',
    'localhost',
    '0',
    '65535',
    '@',
    'scope:',
    'key:',
    ' --via ',
    ' --between ',
    ' --until ',
    '24:00',
    bob.did,
  ].map(utf8),
  arbitrary: fc
    .tuple(
      fc.constantFrom('allow', 'deny'),
      fc.constantFrom('*', 'known'),
      fc.constantFrom('forward', 'open', 'call', '*'),
      fc.oneof(fc.string(), fc.webUrl(), fc.ipV6(), fc.domain(), fc.ipV4Extended()),
    )
    .map(([effect, principal, action, target]) => rule(`${effect} ${principal} ${action} ${target}`)),
  run(input) {
    try {
      const parsed = parseRule(parseText(input), guard)
      const listed = formatRule(parsed)
      assert.equal(formatRule(parseRule(parseText(utf8(listed)), guard)), listed)
      assert.deepEqual(decodeRules(encodeRules([parsed]), guard).rules.map(formatRule), [listed])
      return `${parsed.effect} ${parsed.pattern.kind}`
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      return `refused ${error.message.replaceAll(/[^a-z ]/g, '').slice(-24)}`
    }
  },
}

const policyStored: FuzzTarget = {
  name: 'policy-stored',
  seeds: [encodeRules(RULES.map((text) => parseText(rule(text)))), encodeRules([])],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const { rules, dropped } = decodeRules(input, guard)
    assert.ok(dropped.every(({ effect }) => effect === 'allow'))
    return `${Math.min(3, rules.length)} ${Math.min(2, dropped.length)}`
  },
}

const open = await openLocalPolicy({
  clock: manualClock(NOW),
  store: createMemoryStore(),
  classOf: () => 'known',
  constraints: (held) => constraintTable()[held],
  ownPorts: () => [9443],
  localAddresses: () => ['192.168.1.5'],
})
for (const target of ['*:*', '0.0.0.0/0:*', '[::/0]:*', '*.example:*', 'localhost:5432', '10.1.2.3:9443']) await open.allow('*', 'forward', target)

/** `target \n address \n address`: what a peer asks for and what its name resolved to. Wildcards never reach this machine. */
const policyRequest: FuzzTarget = {
  name: 'policy-request',
  seeds: ['db.example:5432\n203.0.113.5', '203.0.113.5:22', '[2001:db8::1]:22', 'localhost:5432\n127.0.0.1'].map(utf8),
  codes: [],
  tokens: [
    '127.0.0.1',
    '::1',
    '::ffff:127.0.0.1',
    '[::ffff:7f00:1]',
    '169.254.1.1',
    'fe80::1',
    '0.0.0.0',
    '127.1',
    '0x7f.1',
    'localhost',
    '.',
    ':',
    '\n',
    'kith-control',
    'unix:/run/x',
    '0',
    '192.168.1.5',
    '9443',
    '@',
    '%eth0',
  ].map(utf8),
  arbitrary: fc
    .tuple(
      fc.oneof(fc.string(), fc.domain(), fc.ipV4(), fc.ipV6(), fc.ipV4Extended()),
      fc.nat(70_000),
      fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), { maxLength: 3 }),
    )
    .map(([host, port, addresses]) => utf8([`${host}:${port}`, ...addresses].join('\n'))),
  run(input) {
    const [target = '', ...addresses] = Buffer.from(input).toString('utf8').split('\n')
    const decision = open.decide({ peer: bob.did, action: 'forward', target, ...(addresses.length === 0 ? {} : { addresses }) })
    if (!decision.allowed) return decision.byAddress === true ? 'by address' : 'denied'
    const literal = parseIp(target.replace(/:[0-9]+$/, '').replace(/^\[(.*)\]$/, '$1')) !== undefined
    // A target that is an address is not resolved.
    for (const address of literal ? [] : addresses) {
      const parsed = parseIp(address)
      assert.ok(parsed !== undefined, 'an address that is none was allowed')
      if (isLoopback(parsed)) assert.match(target, /^localhost\.?:0*5432$/i)
    }
    if (/^(unix:|\[?::1\]?:|127\.[0-9.]+:)/i.test(target)) assert.fail(`${target} was reached by a wildcard`)
    return 'allowed'
  },
}

// ---- streams of a link

/** `u8 how | bytes of a fresh stream`: the handler gets exactly what follows the header. */
const router: FuzzTarget = {
  name: 'router',
  seeds: [
    Buffer.concat([Uint8Array.of(0, 11), utf8('acme/echo/1rest')]),
    Buffer.concat([Uint8Array.of(1, 11), utf8('acme/deny/1')]),
    Buffer.concat([Uint8Array.of(3, 10), utf8('acme/bad/1x')]),
    Buffer.concat([Uint8Array.of(3, 9), utf8('acme/no/1')]),
  ],
  codes: [],
  tokens: [utf8('acme/echo/1'), Uint8Array.of(11), Uint8Array.of(64), Uint8Array.of(65)],
  run(input) {
    const clock = manualClock()
    let got: Buffer | undefined
    const refuse = (_context: unknown, protocol: string): KithError | undefined => (protocol === 'acme/deny/1' ? new KithError('POLICY_DENIED') : undefined)
    const routes = new Router({ clock, logger: silentLogger, refuse, onMalformed: () => undefined })
    routes.handleLean('acme/deny/1', () => assert.fail('a refused protocol was served'))
    routes.handleLean('acme/bad/1', () => {
      throw new Error('a defect')
    })
    routes.handleLean('acme/echo/1', (stream) => {
      got = Buffer.alloc(0)
      stream.onData = (data, start, end) => {
        got = Buffer.concat([got as Buffer, data.subarray(start, end)])
        stream.consume(end - start)
      }
    })
    const stream = new FakeStream()
    routes.accept({ context: contextOf(ann) } as Member, stream)
    const bytes = input.subarray(1)
    stream.feed(bytes, 1 + (input[0] ?? 0) * 3)
    if (((input[0] ?? 0) & 1) === 1) stream.close()
    else clock.advance(30_000)
    routes.close()
    if (got !== undefined) {
      assert.deepEqual([...bytes.subarray(0, 12)], [11, ...utf8('acme/echo/1')])
      assert.deepEqual(got, Buffer.from(bytes.subarray(12)))
      return 'served'
    }
    const code = codeOfNumber(stream.resetNumber as number)
    assert.ok(
      ['WIRE_MALFORMED', 'TIMEOUT', 'PROTOCOL_UNKNOWN', 'POLICY_DENIED', 'INTERNAL'].includes(code),
      `${code} for ${Buffer.from(bytes).toString('latin1')}`,
    )
    if (code === 'INTERNAL') assert.equal(Buffer.from(bytes.subarray(0, 11)).toString('latin1'), '\nacme/bad/1')
    return code
  },
}

const CONTROL: readonly ControlMessage[] = [
  { type: 'select', id: new Uint8Array(8).fill(1) },
  { type: 'prefer', id: new Uint8Array(8).fill(2) },
  { type: 'retire', opened: 7 },
  { type: 'empty' },
  { type: 'addresses', urls: ['tcp://192.0.2.1:4433', 'x'.repeat(200)] },
]

/** In whatever pieces bytes arrive, the messages are the same. */
const linkControl: FuzzTarget = {
  name: 'link-control',
  seeds: [Buffer.concat(CONTROL.map(encodeControl)), ...CONTROL.map(encodeControl)],
  codes: ['WIRE_MALFORMED', 'BUDGET_EXCEEDED'],
  run(input) {
    const read = (step: number): { messages: ControlMessage[]; error: unknown } => {
      const messages: ControlMessage[] = []
      const reader = new ControlReader()
      try {
        for (let at = 0; at < input.length; at += step) reader.push(input.subarray(at, at + step), (message) => messages.push(message))
        return { messages, error: undefined }
      } catch (error) {
        return { messages, error }
      }
    }
    const [whole, pieces] = [read(Math.max(1, input.length)), read(3)]
    assert.deepEqual(pieces.messages, whole.messages)
    assert.equal(isKithError(pieces.error), isKithError(whole.error))
    if (whole.error !== undefined) throw whole.error
    return String(Math.min(5, whole.messages.length))
  },
  iterations: 8_000,
}

// ---- chains on request (PN-6)

/** A stream whose other side says the input and ends. */
function said(bytes: Uint8Array): { stream: Duplex; written: Buffer[] } {
  const written: Buffer[] = []
  let given = false
  const stream = new Duplex({
    read() {
      if (!given) this.push(Buffer.from(bytes))
      if (!given) this.push(null)
      given = true
    },
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk)
      done()
    },
  })
  return { stream, written }
}

const request = Buffer.concat([Uint8Array.of(1), bob.didKey, Uint8Array.of(0xff, 0xff, 0xff, 0xff)])
const chainRequest: FuzzTarget = {
  name: 'chain-request',
  seeds: [request, Buffer.concat([request.subarray(0, 33), Uint8Array.of(0, 0, 0, 0)]), Buffer.concat([request.subarray(0, 33), Uint8Array.of(0, 0, 1, 0)])],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID'],
  async run(input) {
    const clock = manualClock(NOW)
    const { stream, written } = said(input)
    const serving = serveChain(stream, { clock, chainOf: async (did: Did) => (did === bob.did ? bob.chain : undefined) })
    assert.ok(await settledWithin(serving, TURNS), 'it goes on without need')
    assert.equal(clock.pending, 0)
    await serving
    return String(Buffer.concat(written).length)
  },
  iterations: 3_000,
}

async function honestChain(): Promise<Uint8Array> {
  const { stream, written } = said(request)
  await serveChain(stream, { clock: manualClock(NOW), chainOf: async () => bob.chain })
  return Buffer.concat(written)
}
const wholeChain = await honestChain()

const chainAnswer: FuzzTarget = {
  name: 'chain-answer',
  seeds: [wholeChain, Uint8Array.of(1, 0, 0, 0, 0)],
  codes: ['WIRE_MALFORMED', ...CHAIN_CODES],
  async run(input) {
    const clock = manualClock(NOW)
    const { stream } = said(input)
    const fetching = fetchChain(stream, { did: bob.did, clock })
    assert.ok(await settledWithin(fetching, TURNS), 'it goes on without need')
    assert.equal(clock.pending, 0)
    const state = await fetching
    if (state === undefined) return 'nothing'
    assert.equal(state.did, bob.did)
    return `${state.index}`
  },
  iterations: 3_000,
}

const bookRow: FuzzTarget = {
  name: 'book-row',
  seeds: [
    encodePeer({
      did: bob.did,
      name: 'bob',
      class: 'known',
      pending: 'partner',
      met: 'ticket',
      sinceMs: NOW,
      addresses: [{ url: 'tcp://192.0.2.1:1', linkKey: bob.linkSigner.publicKey as PublicKey, lastSuccessMs: 1, lastFailureMs: 0 }],
    }),
  ],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID'],
  run(input) {
    assert.deepEqual(Uint8Array.from(encodePeer(decodePeer(input))), Uint8Array.from(input))
  },
}

export const meshTargets: readonly FuzzTarget[] = [
  locateRequest,
  locateAnswer,
  tickets,
  ticketBody,
  pairRaw,
  pairTampered,
  policyRule,
  policyStored,
  policyRequest,
  router,
  linkControl,
  chainRequest,
  chainAnswer,
  bookRow,
]

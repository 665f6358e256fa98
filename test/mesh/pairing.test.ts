import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import fc from 'fast-check'
import { base58Decode, base58Encode } from '../../src/core/base58.ts'
import { sha256 } from '../../src/core/crypto/hash.ts'
import { hashLabeled } from '../../src/core/crypto/labels.ts'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import type { InviteMade, Joined } from '../../src/mesh/mesh-types.ts'
import { PAIR_PROTOCOL } from '../../src/mesh/pairing.ts'
import { decodeTicket, encodeTicket, type Ticket } from '../../src/mesh/ticket.ts'
import type { LinkEvent } from '../../src/mesh/types.ts'
import { pairWords } from '../../src/mesh/words.ts'
import { certify, rotateIdentity, testDevice, testIdentity } from './fixtures.ts'
import { createWorld, type World, type WorldNode } from './mesh-support.ts'

const TIMEOUT = { timeout: 60_000 }

type PairedEvent = LinkEvent & { type: 'paired' }

function paired(node: WorldNode): PairedEvent[] {
  return node.events.filter((event): event is PairedEvent => event.type === 'paired')
}

async function pair(
  world: World,
  inviter: WorldNode,
  joiner: WorldNode,
  options: Parameters<WorldNode['mesh']['invites']['create']>[0] = {},
): Promise<{ made: InviteMade; joined: Joined }> {
  const made = await inviter.mesh.invites.create(options)
  return { made, joined: await world.settle(joiner.mesh.join(made.ticket)) }
}

function edited(text: string, edit: (ticket: Ticket) => Partial<Ticket>): string {
  const ticket = decodeTicket(text)
  return encodeTicket({ ...ticket, ...edit(ticket) })
}

test('pairing with a fresh ticket, puts both in both books with the same four words', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  const { joined } = await pair(world, ann, ben)
  assert.equal(joined.did, ann.mesh.did)
  assert.equal(joined.name, 'ann')
  assert.equal(joined.class, 'known')
  assert.equal(joined.pending, null)
  assert.match(joined.words, /^[a-z]+ [a-z]+ [a-z]+ [a-z]+$/)
  const [event] = paired(ann)
  assert.equal(event?.words, joined.words)
  assert.equal(event?.peer, ben.mesh.did)
  assert.equal(ann.mesh.book.get(ben.mesh.did)?.name, 'ben')
  assert.equal(ann.mesh.book.get(ben.mesh.did)?.class, 'known')
  assert.deepEqual(
    ben.mesh.book.get(ann.mesh.did)?.addresses.map(({ url }) => url),
    ['memory://ann'],
  )
  // The joiner's addresses are told over the link.
  await world.until(() => ann.mesh.book.get(ben.mesh.did)?.addresses[0]?.url === 'memory://ben')
  assert.deepEqual(
    ann.mesh.invites.list().map(({ state, usesLeft }) => [state, usesLeft]),
    [['used', 0]],
  )
  await world.close()
})

test('pairing for partner, waits for confirmation on both sides unless the ticket is trusted', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben, cem] = [await world.node('ann'), await world.node('ben'), await world.node('cem')]
  const { joined } = await pair(world, ann, ben, { class: 'partner' })
  assert.deepEqual([joined.class, joined.pending], ['known', 'partner'])
  assert.deepEqual([ann.mesh.book.get(ben.mesh.did)?.class, ann.mesh.book.get(ben.mesh.did)?.pending], ['known', 'partner'])
  assert.equal(ann.mesh.links().find(({ name }) => name === 'ben')?.pendingClass, 'partner')
  assert.equal((await ann.mesh.confirm('ben')).class, 'partner')
  await assert.rejects(ann.mesh.confirm('ben'), (error) => isKithError(error, 'CONFIRM_NOTHING'))
  assert.equal(ann.mesh.policy.classOf(ben.mesh.did), 'partner')
  const trusted = await pair(world, ann, cem, { class: 'federated', trustTicket: true })
  assert.equal(ann.mesh.book.get(cem.mesh.did)?.class, 'federated')
  // That is the inviter's word about the joiner, not the joiner's about the inviter.
  assert.deepEqual([trusted.joined.class, trusted.joined.pending], ['known', 'federated'])
  assert.equal((await cem.mesh.confirm('ann')).class, 'federated')
  await world.close()
})

test('pairing again with a lower ticket, keeps the class a person gave', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await pair(world, ann, ben, { class: 'partner', trustTicket: true })
  await ben.mesh.confirm('ann')
  await pair(world, ann, ben, { class: 'known' })
  assert.equal(ann.mesh.book.get(ben.mesh.did)?.class, 'partner')
  assert.equal(ben.mesh.book.get(ann.mesh.did)?.class, 'partner')
  await world.close()
})

test('pairing with tickets that are unknown, wrong, expired or revoked, is refused alike', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  const good = await ann.mesh.invites.create({})
  const short = await ann.mesh.invites.create({ expiresMs: 5_000 })
  const gone = await ann.mesh.invites.create({})
  await ann.mesh.invites.revoke(gone.id)
  await assert.rejects(ann.mesh.invites.revoke(gone.id), (error) => isKithError(error, 'NOT_FOUND'))
  await world.run(6_000)
  const tries = [
    edited(good.ticket, () => ({ id: new Uint8Array(8).fill(9) })),
    edited(good.ticket, () => ({ secret: new Uint8Array(16) })),
    edited(short.ticket, ({ expiresS }) => ({ expiresS: expiresS + 600 })),
    gone.ticket,
  ]
  for (const ticket of tries) {
    await assert.rejects(
      world.settle(ben.mesh.join(ticket)),
      (error) => isKithError(error, 'INVITE_REFUSED') && error.remote && Object.keys(error.details).length === 0,
    )
    // Streams of a stranger are paid for; this is about the tickets.
    await world.run(1_000)
  }
  assert.equal(ann.mesh.book.get(ben.mesh.did), undefined)
  assert.deepEqual(paired(ann), [])
  // The fifth failure within the minute is the last that is looked at: now even a good ticket is refused, for a while.
  await assert.rejects(world.settle(ben.mesh.join(tries[0] as string)), (error) => isKithError(error, 'INVITE_REFUSED'))
  await assert.rejects(world.settle(ben.mesh.join(good.ticket)), (error) => isKithError(error, 'INVITE_REFUSED'))
  await world.run(120_000)
  assert.equal((await world.settle(ben.mesh.join(good.ticket))).did, ann.mesh.did)
  await world.close()
})

test('pairing with a spent ticket, tells both who was first and what undoes it', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, thief, ben] = [await world.node('ann'), await world.node('thief'), await world.node('ben')]
  const { made } = await pair(world, ann, thief)
  await assert.rejects(world.settle(ben.mesh.join(made.ticket)), (error) => {
    assert.ok(isKithError(error, 'INVITE_REFUSED'))
    assert.equal(error.details.first_user, thief.mesh.did)
    assert.ok(error.next?.startsWith(`kith peers forget ${thief.mesh.did}`))
    return true
  })
  const warning = ann.events.find((event) => event.type === 'warning')
  assert.ok(warning?.type === 'warning' && warning.error.next === `kith peers forget ${thief.mesh.did}`)
  // The command that is printed, run.
  await ann.mesh.book.forget(thief.mesh.did)
  assert.equal(ann.mesh.book.get(thief.mesh.did), undefined)
  assert.equal(ann.mesh.policy.classOf(thief.mesh.did), 'isolated')
  await world.close()
})

test('pairing whose answer got lost, is repeated for the same joiner without another use', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben, cem] = [await world.node('ann'), await world.node('ben'), await world.node('cem')]
  const { made } = await pair(world, ann, ben, { uses: 2 })
  const again = await world.settle(ben.mesh.join(made.ticket))
  assert.equal(again.did, ann.mesh.did)
  assert.equal(ann.mesh.invites.list()[0]?.usesLeft, 1)
  await world.settle(cem.mesh.join(made.ticket))
  assert.deepEqual(
    ann.mesh.invites.list()[0]?.users.map(({ name }) => name),
    ['ben', 'cem'],
  )
  await world.close()
})

test('pairing by two at once with a ticket for one, lets one in', TIMEOUT, async () => {
  const world = createWorld()
  const ann = await world.node('ann')
  const others = await Promise.all(['ben', 'cem', 'dan'].map((name) => world.node(name)))
  const { ticket } = await ann.mesh.invites.create({})
  const results = await world.settle(Promise.allSettled(others.map(({ mesh }) => mesh.join(ticket))))
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  assert.equal(ann.mesh.book.list().length, 1)
  await world.close()
})

test('pairing stream without an outstanding ticket, is closed to strangers', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await world.settle(ben.mesh.dial(ann.mesh.did, { url: ann.url }))
  const stream = await world.settle(ben.mesh.openLean(ann.mesh.did, PAIR_PROTOCOL))
  const code = await world.settle(
    new Promise<string>((resolve) => {
      stream.onData = () => undefined
      stream.onError = (error) => resolve(error.code)
    }),
  )
  assert.equal(code, 'PROTOCOL_UNKNOWN')
  await world.close()
})

test('invitations and grants, survive a restart', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  const { ticket } = await ann.mesh.invites.create({ class: 'partner' })
  await world.settle(ann.mesh.close())
  const again = await world.node('ann2', { identity: ann.identity, device: ann.device, store: ann.store, listen: 'memory://ann' })
  const joined = await world.settle(ben.mesh.join(ticket))
  assert.equal(joined.pending, 'partner')
  assert.equal(again.mesh.book.get(ben.mesh.did)?.pending, 'partner')
  await world.close()
})

test('pairing through somebody in the middle with tickets of its own, shows different words', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben, middle] = [await world.node('ann'), await world.node('ben'), await world.node('middle')]
  // The middle swallowed the real ticket, used it, and handed on one of its own.
  await pair(world, ann, middle)
  const { joined } = await pair(world, middle, ben)
  const [atAnn] = paired(ann)
  assert.notEqual(atAnn?.words, joined.words)
  assert.equal(joined.did, middle.mesh.did)
  await world.close()
})

test('a ticket whose machine, identity or history is another, is refused by the joiner', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, ben, eve] = [await world.node('ann'), await world.node('ben'), await world.node('eve')]
  const { ticket } = await ann.mesh.invites.create({})
  const to = (edit: (ticket: Ticket) => Partial<Ticket>): Promise<unknown> => world.settle(ben.mesh.join(edited(ticket, edit)))
  await assert.rejects(
    to(() => ({ urls: ['memory://nobody'] })),
    (error) => isKithError(error, 'PEER_UNREACHABLE'),
  )
  // Eve's address and machine under Ann's name, Ann's machine under Eve's name, another history.
  await assert.rejects(
    to(() => ({ urls: [eve.url], linkKey: eve.device.linkSigner.publicKey })),
    (error) => isKithError(error, 'WRONG_PEER'),
  )
  await assert.rejects(
    to(() => ({ did: eve.mesh.did })),
    (error) => isKithError(error, 'WRONG_PEER'),
  )
  await assert.rejects(
    to(() => ({ headPrefix: new Uint8Array(8) })),
    (error) => isKithError(error, 'CHAIN_FORKED'),
  )
  await assert.rejects(
    to(() => ({ chainIndex: 3 })),
    (error) => isKithError(error, 'CHAIN_STALE'),
  )
  await assert.rejects(
    to(() => ({ expiresS: 1 })),
    (error) => isKithError(error, 'INVITE_REFUSED'),
  )
  assert.equal(ben.mesh.book.list().length, 0)
  await assert.rejects(ann.mesh.join(ticket), (error) => isKithError(error, 'SELF_DIAL'))
  await world.close()
})

test('a ticket made before the identity rotated, still pairs and anchors the longer history', TIMEOUT, async () => {
  const world = createWorld()
  const identity = testIdentity('ann')
  const device = testDevice(identity, 'ann')
  const [ann, ben] = [await world.node('ann', { identity, device }), await world.node('ben')]
  const { ticket } = await ann.mesh.invites.create({})
  rotateIdentity(identity)
  await ann.mesh.replaceDevice({ ...device, chain: identity.chain, binding: certify(identity, 'ann', { serial: 2 }) })
  assert.equal((await world.settle(ben.mesh.join(ticket))).did, ann.mesh.did)
  await world.close()
})

test('invitation with bad options, is refused as the caller’s mistake', TIMEOUT, async () => {
  const world = createWorld()
  const [ann, mute] = [await world.node('ann'), await world.node('mute', { listen: null })]
  await assert.rejects(ann.mesh.invites.create({ class: 'isolated' }), TypeError)
  await assert.rejects(ann.mesh.invites.create({ uses: 0 }), TypeError)
  await assert.rejects(ann.mesh.invites.create({ expiresMs: 10 }), TypeError)
  await assert.rejects(mute.mesh.invites.create({}), (error) => isKithError(error, 'ADDRESS_INVALID'))
  await world.close()
})

test('words of a pairing, are the first 44 bits of the labeled hash', () => {
  const [inviter, joiner] = [testIdentity('ann').chain.did, testIdentity('ben').chain.did]
  const input = { helloHash: new Uint8Array(32).fill(1), inviter, joiner, inviterRandom: new Uint8Array(32).fill(2), joinerRandom: new Uint8Array(32).fill(3) }
  const digest = hashLabeled('icn/pair-words/v1', input.helloHash, didPublicKey(inviter), didPublicKey(joiner), input.inviterRandom, input.joinerRandom)
  const bits = [...digest].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const words = pairWords(input).split(' ')
  assert.equal(words.length, 4)
  assert.equal(words[0], wordlist[Number.parseInt(bits.slice(0, 11), 2)])
  assert.equal(words[3], wordlist[Number.parseInt(bits.slice(33, 44), 2)])
  assert.notEqual(pairWords({ ...input, joiner: inviter, inviter: joiner }), pairWords(input))
})

const ticketArbitrary = fc.record({
  id: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  secret: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  did: fc.constantFrom(testIdentity('ann').chain.did, testIdentity('ben').chain.did),
  linkKey: fc.constantFrom(didPublicKey(testIdentity('cem').chain.did), didPublicKey(testIdentity('dan').chain.did)),
  chainIndex: fc.nat(),
  headPrefix: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  class: fc.constantFrom('known' as const, 'partner' as const, 'federated' as const),
  expiresS: fc.nat(),
  urls: fc.array(
    fc.webUrl({ size: 'small' }).filter((url) => url.length <= 100),
    { maxLength: 4 },
  ),
})

test('ticket property: what is encoded is decoded, also with line breaks in it', () => {
  fc.assert(
    fc.property(ticketArbitrary, (ticket) => {
      const text = encodeTicket(ticket)
      assert.deepEqual(decodeTicket(text), { ...ticket })
      assert.deepEqual(decodeTicket(` ${text.slice(0, 40)}\n  ${text.slice(40)}\r\n`), { ...ticket })
    }),
    { numRuns: 100 },
  )
})

test('ticket property: one changed, lost or swapped letter is noticed', () => {
  const random = seededRandom('tickets')
  const letters = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
  fc.assert(
    fc.property(ticketArbitrary, fc.nat(), fc.constantFrom('change', 'drop', 'swap', 'double'), (ticket, place, how) => {
      const text = encodeTicket(ticket)
      const at = 5 + (place % (text.length - 6))
      const letter = letters[Math.floor(random.unit() * letters.length)] as string
      const [a, b] = [text[at] as string, text[at + 1] as string]
      const changed = { change: letter + b, drop: b, swap: b + a, double: a + a + b }[how]
      const mistyped = text.slice(0, at) + changed + text.slice(at + 2)
      if (mistyped === text) return
      assert.throws(
        () => decodeTicket(mistyped),
        (error) => isKithError(error, 'INVITE_INVALID') && !JSON.stringify(error).includes(text.slice(20, 40)),
      )
    }),
    { numRuns: 300 },
  )
})

test('ticket property: whatever bytes stand behind a right checksum, a ticket or INVITE_INVALID comes out', () => {
  fc.assert(
    fc.property(ticketArbitrary, fc.nat(), fc.nat(255), fc.uint8Array({ maxLength: 30 }), (ticket, place, value, tail) => {
      const bytes = base58Decode(encodeTicket(ticket).slice(5), 1_000) as Uint8Array
      const body = Uint8Array.from([...bytes.subarray(0, -4), ...tail])
      body[place % body.length] = value
      const text = `kith1${base58Encode(Uint8Array.from([...body, ...sha256(body).subarray(0, 4)]))}`
      try {
        assert.equal(encodeTicket(decodeTicket(text)), text)
      } catch (error) {
        assert.ok(isKithError(error, 'INVITE_INVALID'), String(error))
      }
    }),
    { numRuns: 400 },
  )
  for (const text of ['', 'kith1', 'kith2abc', 'x'.repeat(5_000), 'kith1'.padEnd(1_999, '1'), 'kith10OIl']) {
    assert.throws(
      () => decodeTicket(text),
      (error) => isKithError(error, 'INVITE_INVALID'),
    )
  }
})

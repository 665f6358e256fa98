import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asKithError, type KithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import {
  decodeDeleteAnswer,
  decodeGetAnswer,
  decodeListAnswer,
  decodePutAnswer,
  encodeRequest,
  type ListAnswer,
  MAILBOX_PROTOCOL,
  type MailboxRequest,
} from '../../src/mesh/mailbox/wire.ts'
import { ask } from '../../src/mesh/request-stream.ts'
import { decodePeerRecord } from '../../src/mesh/sealed/peer-record-codec.ts'
import { decodePrekey } from '../../src/mesh/sealed/prekey-codec.ts'
import { MAX_BUCKET, sealedSize } from '../../src/mesh/sealed/sealed-codec.ts'
import { sealMessage } from '../../src/mesh/sealed/sealing.ts'
import { type Machine, machine, message } from '../sealed/make.ts'
import { createMailWorld, type MailNode, type MailNodeOptions, type MailWorld, meet, metric } from './mail-support.ts'

const DAY = 86_400_000
const HOUR = 3_600_000

/** Sends raw bytes to the mailbox protocol and gives the answer. */
async function raw(world: MailWorld, from: MailNode, to: MailNode, bytes: Uint8Array): Promise<Uint8Array> {
  const stream = await world.settle(from.mesh.openLean(to.mesh.did, MAILBOX_PROTOCOL))
  return await world.settle(ask(stream.toDuplex(), bytes, 2 * MAX_BUCKET, { clock: world.clock }))
}

const request = (world: MailWorld, from: MailNode, to: MailNode, asked: MailboxRequest): Promise<Uint8Array> => raw(world, from, to, encodeRequest(asked))

async function put(world: MailWorld, from: MailNode, to: MailNode, sealed: Uint8Array): Promise<string> {
  try {
    const answer = decodePutAnswer(await request(world, from, to, { op: 'put', sealed }))
    return 'kept' in answer ? answer.kept : 'NEED_PREKEY'
  } catch (error) {
    return (asKithError(error, 'INTERNAL') as KithError).code
  }
}

async function list(world: MailWorld, from: MailNode, to: MailNode, after?: Uint8Array, limit = 256): Promise<ListAnswer> {
  return decodeListAnswer(await request(world, from, to, { op: 'list', after, limit }))
}

interface Place {
  readonly world: MailWorld
  readonly ann: MailNode
  readonly ben: MailNode
  readonly host: MailNode
  /** Ben's machine as senders see it. */
  readonly owner: Machine
  /** A message from Ann, sealed to Ben. */
  seal(options?: { size?: number; lifeMs?: number; targets?: readonly Machine[] }): Uint8Array
}

async function place(options: MailNodeOptions = {}): Promise<Place> {
  const world = createMailWorld()
  const ann = await world.mailNode('ann')
  const ben = await world.mailNode('ben')
  const host = await world.mailNode('host', options)
  await meet(world, ann, host)
  await meet(world, ben, host)
  const owner = machine('ben', ben.identity)
  const sender = machine('ann', ann.identity)
  const seal: Place['seal'] = ({ size = 10, lifeMs = DAY, targets = [owner] } = {}) => {
    const { envelope, head } = message(sender, owner.did, new Uint8Array(size), { msgId: systemRandom.bytes(16), expiresMs: world.clock.now() + lifeMs })
    const padded = new Uint8Array(Math.max(envelope.length, size))
    padded.set(envelope)
    return sealMessage(
      padded,
      head,
      targets.map(({ target }) => target),
      systemRandom,
    )
  }
  return { world, ann, ben, host, owner, seal }
}

const idOf = (sealed: Uint8Array): Uint8Array => sealed.slice(35, 51)

test('mailbox, without agreement, keeps nothing; with it, or by the owner’s rule, it does; a rule that denies wins', async () => {
  const { world, ann, ben, host, seal } = await place()
  assert.equal(await put(world, ann, host, seal()), 'MAILBOX_REFUSED')
  assert.equal(host.mesh.why('ben', 'mailbox').decision, 'denied')
  await host.mail.host('ben')
  assert.equal(await put(world, ann, host, seal()), 'mailbox')
  assert.equal(host.mesh.why('ben', 'mailbox').decision, 'allowed')
  await host.mesh.policy.deny('ben', 'mailbox')
  assert.equal(await put(world, ann, host, seal()), 'MAILBOX_REFUSED')
  await host.mesh.policy.allow('ben', 'mailbox')
  await host.mail.unhost('ben')
  assert.equal(await put(world, ann, host, seal()), 'mailbox')
  assert.equal((await list(world, ben, host)).messages.length, 2, 'what was taken in stays until it is fetched')
  await world.close()
})

test('mailbox, what is kept for one identity, is listed, given and deleted to nobody else', async () => {
  const { world, ann, ben, host, seal } = await place()
  await host.mail.host('ben')
  const expiresMs = world.clock.now() + DAY
  const sealed = seal()
  assert.equal(await put(world, ann, host, sealed), 'mailbox')
  assert.deepEqual(await list(world, ann, host), { messages: [], more: false })
  await assert.rejects(request(world, ann, host, { op: 'get', msgId: idOf(sealed) }), { code: 'NOT_FOUND' })
  assert.equal(decodeDeleteAnswer(await request(world, ann, host, { op: 'delete', msgIds: [idOf(sealed)] })), 0)
  const { messages } = await list(world, ben, host)
  assert.deepEqual(messages, [{ msgId: idOf(sealed), expiresMs, bytes: sealed.length }])
  assert.deepEqual(Buffer.from(decodeGetAnswer(await request(world, ben, host, { op: 'get', msgId: idOf(sealed) }))), Buffer.from(sealed))
  assert.equal(decodeDeleteAnswer(await request(world, ben, host, { op: 'delete', msgIds: [idOf(sealed), idOf(sealed), new Uint8Array(16)] })), 1)
  assert.equal(decodeDeleteAnswer(await request(world, ben, host, { op: 'delete', msgIds: [idOf(sealed)] })), 0)
  assert.equal(host.mail.status().kept.messages, 0)
  await world.close()
})

test('mailbox, the same message again, is answered the same and takes no more room', async () => {
  const { world, ann, host, seal } = await place()
  await host.mail.host('ben')
  const sealed = seal()
  for (let i = 0; i < 3; i++) assert.equal(await put(world, ann, host, sealed), 'mailbox')
  assert.deepEqual(host.mail.status().kept, { messages: 1, bytes: sealed.length })
  await world.close()
})

test('mailbox, dates, sizes and forms that no honest sender makes, are refused before the body is kept', async () => {
  const { world, ann, host, seal } = await place()
  await host.mail.host('ben')
  const good = seal()
  assert.equal(await put(world, ann, host, seal({ lifeMs: 0 })), 'MESSAGE_EXPIRED')
  assert.equal(await put(world, ann, host, seal({ lifeMs: 15 * DAY })), 'MESSAGE_EARLY')
  assert.equal(await put(world, ann, host, seal({ size: 300_000 })), 'MESSAGE_TOO_LARGE')
  const sizes: [string, Uint8Array][] = [
    ['half', good.subarray(0, good.length / 2)],
    ['a byte short', good.subarray(0, -1)],
    ['a byte more', Buffer.concat([good, Buffer.alloc(1)])],
    ['much more', Buffer.concat([good, Buffer.alloc(100_000)])],
    ['a header alone', good.subarray(0, 63)],
    ['less than a header', good.subarray(0, 40)],
    ['nothing', new Uint8Array(0)],
    ['another version', Buffer.from(good).fill(2, 2, 3)],
    ['a bucket of 2 MiB', Buffer.from(good).fill(0x20, 60, 61)],
    ['a bucket of 300', Buffer.concat([good.subarray(0, 59), Uint8Array.of(0, 0, 1, 0x2c), good.subarray(63)])],
  ]
  for (const [name, bytes] of sizes) {
    world.clock.advance(1_000)
    assert.equal(await put(world, ann, host, bytes), 'WIRE_MALFORMED', name)
  }
  for (const bytes of [[], [1], [2, 1], [1, 0], [1, 5], [1, 2], [1, 2, 0, 0, 0], [1, 2, 0, 1, 1], [1, 2, 2, 0, 1], [1, 3], [1, 4, 0], [1, 4, 65]]) {
    world.clock.advance(1_000)
    await assert.rejects(raw(world, ann, host, Uint8Array.from(bytes)), { code: 'WIRE_MALFORMED' }, bytes.join(' '))
  }
  assert.deepEqual(host.mail.status().kept, { messages: 0, bytes: 0 })
  await world.close()
})

test('mailbox, quotas of depositor and owner, refuse what goes beyond and give room back', async () => {
  const small = sealedSize(256, 1)
  const quota = { messages: 3, bytes: 100 * small }
  const known = { isolated: quota, known: quota, partner: quota, federated: quota }
  const { world, ann, ben, host, seal } = await place({ limits: { depositor: known } })
  await host.mail.host('ben')
  const kept: Uint8Array[] = []
  for (let i = 0; i < 3; i++) {
    kept.push(seal())
    assert.equal(await put(world, ann, host, kept[i] as Uint8Array), 'mailbox')
  }
  assert.equal(await put(world, ann, host, seal()), 'MAILBOX_FULL')
  assert.equal(await put(world, ann, host, kept[0] as Uint8Array), 'mailbox', 'what is there already is acknowledged')
  const cem = await world.mailNode('cem')
  await meet(world, cem, host)
  assert.equal(await put(world, cem, host, seal()), 'mailbox', 'others have room of their own')
  await request(world, ben, host, { op: 'delete', msgIds: [idOf(kept[0] as Uint8Array)] })
  assert.equal(await put(world, ann, host, seal()), 'mailbox')
  assert.equal(await put(world, ann, host, seal()), 'MAILBOX_FULL')
  assert.ok(metric(host, 'kith_mailbox_put_total{result="MAILBOX_FULL"}') >= 2)
  await host.stop()
  const back = await world.again(host, { limits: { depositor: known } })
  await world.until(() => back.mesh.links().some(({ did, state }) => did === ann.mesh.did && state === 'connected'), HOUR)
  assert.equal(await put(world, ann, back, seal()), 'MAILBOX_FULL', 'the quota outlives a restart')
  await world.run(2 * DAY)
  await world.until(() => back.mail.status().kept.messages === 0, HOUR)
  await world.until(() => back.mesh.links().some(({ did, state }) => did === ann.mesh.did && state === 'connected'), HOUR)
  assert.equal(await put(world, ann, back, seal()), 'mailbox', 'what expired gives its room back')
  await world.close()
})

test('mailbox, quota in bytes and of the owner, count what is really kept', async () => {
  const each = { messages: 1_000, bytes: 2 * sealedSize(1024, 1) + 100 }
  const { world, ann, host, seal } = await place({ limits: { owner: { isolated: each, known: each, partner: each, federated: each } } })
  await host.mail.host('ben')
  assert.equal(await put(world, ann, host, seal({ size: 600 })), 'mailbox')
  assert.equal(await put(world, ann, host, seal({ size: 600 })), 'mailbox')
  assert.equal(await put(world, ann, host, seal()), 'MAILBOX_FULL')
  assert.deepEqual(host.mail.status().kept, { messages: 2, bytes: 2 * sealedSize(1024, 1) })
  await world.close()
})

test('mailbox, isolated depositors, share one account', async () => {
  const world = createMailWorld()
  const host = await world.mailNode('host', {
    limits: {
      depositor: {
        isolated: { messages: 3, bytes: 100_000 },
        known: { messages: 100, bytes: 1e6 },
        partner: { messages: 100, bytes: 1e6 },
        federated: { messages: 100, bytes: 1e6 },
      },
    },
  })
  const ben = await world.mailNode('ben')
  await meet(world, ben, host)
  await host.mail.host('ben')
  const owner = machine('ben', ben.identity)
  const results: string[] = []
  for (const name of ['s1', 's2', 's3', 's4', 's5']) {
    const stranger = await world.mailNode(name)
    await stranger.mesh.book.add(host.mesh.did, { urls: [host.url] })
    const { envelope, head } = message(machine(name, stranger.identity), owner.did, new Uint8Array(5), {
      msgId: systemRandom.bytes(16),
      expiresMs: world.clock.now() + DAY,
    })
    results.push(await put(world, stranger, host, sealMessage(envelope, head, [owner.target], systemRandom)))
  }
  assert.deepEqual(results, ['mailbox', 'mailbox', 'mailbox', 'MAILBOX_FULL', 'MAILBOX_FULL'])
  await world.close()
})

test('mailbox, a flood of messages, is slowed to the rate of the class and harms no other depositor', async () => {
  const { world, ann, host, seal } = await place()
  await host.mail.host('ben')
  const counts = new Map<string, number>()
  for (let i = 0; i < 60; i++) {
    const result = await put(world, ann, host, seal())
    counts.set(result, (counts.get(result) ?? 0) + 1)
  }
  assert.ok((counts.get('RATE_LIMITED') ?? 0) >= 30, JSON.stringify([...counts]))
  assert.ok((counts.get('mailbox') ?? 0) >= 10)
  const cem = await world.mailNode('cem')
  await meet(world, cem, host)
  assert.equal(await put(world, cem, host, seal()), 'mailbox')
  world.clock.advance(1_000)
  assert.equal(await put(world, ann, host, seal()), 'mailbox', 'a second later the depositor may go on')
  for (let i = 0; i < 30; i++) await put(world, ann, host, seal())
  assert.equal(await put(world, ann, host, seal()), 'RATE_LIMITED')
  await host.mesh.book.add(ann.mesh.did, { class: 'partner' })
  await world.settle(host.mesh.anchor(ann.mesh.did))
  for (let i = 0; i < 20; i++) assert.equal(await put(world, ann, host, seal()), 'mailbox', 'a partner has a larger burst, at once')
  await world.close()
})

test('mailbox, bodies that never end, hold few places, and none for longer than a minute', async () => {
  const { world, ann, host, seal } = await place()
  await host.mail.host('ben')
  const sealed = encodeRequest({ op: 'put', sealed: seal() })
  const open = async (): Promise<{ code: string | undefined }> => {
    const duplex = (await world.settle(ann.mesh.openLean(host.mesh.did, MAILBOX_PROTOCOL))).toDuplex()
    const state: { code: string | undefined } = { code: undefined }
    duplex.on('error', (error) => {
      state.code = asKithError(error, 'INTERNAL').code
    })
    duplex.write(sealed.subarray(0, 500))
    await world.run(10)
    return state
  }
  const slow = [await open(), await open(), await open(), await open()]
  const fifth = await open()
  await world.until(() => fifth.code !== undefined)
  assert.equal(fifth.code, 'BUDGET_EXCEEDED')
  assert.deepEqual(
    slow.map(({ code }) => code),
    [undefined, undefined, undefined, undefined],
  )
  await world.run(61_000)
  assert.deepEqual(
    slow.map(({ code }) => code),
    ['TIMEOUT', 'TIMEOUT', 'TIMEOUT', 'TIMEOUT'],
  )
  assert.deepEqual(host.mail.status().kept, { messages: 0, bytes: 0 })
  assert.equal(await put(world, ann, host, seal()), 'mailbox')
  await world.close()
})

test('mailbox, LIST with any cursor and limit, pages in order and shows nothing twice', async () => {
  const { world, ann, ben, host, seal } = await place()
  await host.mail.host('ben')
  const ids: string[] = []
  for (let i = 0; i < 25; i++) {
    world.clock.advance(1_000)
    const sealed = seal()
    assert.equal(await put(world, ann, host, sealed), 'mailbox')
    ids.push(Buffer.from(idOf(sealed)).toString('hex'))
  }
  const seen: string[] = []
  let after: Uint8Array | undefined
  for (;;) {
    const page: ListAnswer = await list(world, ben, host, after, 10)
    seen.push(...page.messages.map(({ msgId }) => Buffer.from(msgId).toString('hex')))
    after = page.messages.at(-1)?.msgId
    if (!page.more) break
  }
  assert.deepEqual(seen, [...ids].sort())
  assert.equal((await list(world, ben, host, new Uint8Array(16).fill(0xff))).messages.length, 0)
  assert.equal((await list(world, ben, host, new Uint8Array(16))).messages.length, 25)
  for (let i = 0; i < 20; i++) assert.ok((await list(world, ben, host, systemRandom.bytes(16), 1 + i)).messages.length <= 1 + i)
  await world.close()
})

test('mailbox, a message for two machines, goes only when both have deleted it', async () => {
  const { world, ann, ben, host, owner, seal } = await place()
  await host.mail.host('ben')
  const phoneNode = await world.mailNode('phone', { identity: ben.identity })
  await phoneNode.mesh.book.add(host.mesh.did, { name: 'host', urls: [host.url] })
  const phone = machine('phone', ben.identity)
  const [both, one] = [seal({ targets: [owner, phone] }), seal()]
  for (const sealed of [both, one]) assert.equal(await put(world, ann, host, sealed), 'mailbox')
  assert.equal((await list(world, phoneNode, host)).messages.length, 1, 'a machine sees what is sealed to it')
  await assert.rejects(request(world, phoneNode, host, { op: 'get', msgId: idOf(one) }), { code: 'NOT_FOUND' })
  assert.equal(decodeDeleteAnswer(await request(world, phoneNode, host, { op: 'delete', msgIds: [idOf(both), idOf(one)] })), 1)
  assert.equal((await list(world, phoneNode, host)).messages.length, 0)
  assert.equal((await list(world, ben, host)).messages.length, 2)
  assert.equal(decodeDeleteAnswer(await request(world, ben, host, { op: 'delete', msgIds: [idOf(both), idOf(one)] })), 2)
  assert.deepEqual(host.mail.status().kept, { messages: 0, bytes: 0 })
  await world.close()
})

test('own mailbox, a message re-sealed by whoever opened it, or for somebody else, is refused', async () => {
  const { world, ann, ben, host } = await place()
  const inbox = (node: MailNode): number => node.mail.status().inbox.messages
  const [toBen, toHost] = [machine('ben', ben.identity), machine('host', host.identity)]
  const { envelope } = message(machine('ann', ann.identity), toBen.did, new Uint8Array(5), { expiresMs: world.clock.now() + DAY })
  // Ben seals Ann's message anew, to the host, which would read it as Ann's word to itself.
  const seed = await hostKey(host)
  const head = { to: toHost.did, msgId: new Uint8Array(16).fill(1), expiresMs: world.clock.now() + DAY }
  assert.equal(await put(world, ben, host, sealMessage(envelope, head, [seed], systemRandom)), 'SEALED_INVALID', 'another id outside than inside')
  const inner = message(machine('ann', ann.identity), toBen.did, new Uint8Array(5), { msgId: head.msgId, expiresMs: head.expiresMs })
  assert.equal(await put(world, ben, host, sealMessage(inner.envelope, head, [seed], systemRandom)), 'NOT_FOR_US')
  const late = message(machine('ann', ann.identity), toHost.did, new Uint8Array(5), { msgId: head.msgId, expiresMs: head.expiresMs + 1 })
  assert.equal(await put(world, ben, host, sealMessage(late.envelope, head, [seed], systemRandom)), 'SEALED_INVALID', 'another expiry')
  const right = message(machine('ann', ann.identity), toHost.did, new Uint8Array(5), { msgId: head.msgId, expiresMs: head.expiresMs })
  assert.equal(inbox(host), 0)
  assert.equal(await put(world, ben, host, sealMessage(right.envelope, head, [seed], systemRandom)), 'inbox', 'whoever brings it')
  assert.equal(inbox(host), 1)
  assert.equal(await put(world, ann, host, sealMessage(right.envelope, head, [seed], systemRandom)), 'inbox', 'sealed again it is the same message')
  assert.equal(inbox(host), 1)
  await world.close()
})

/** The prekey that a node publishes. */
async function hostKey(node: MailNode): Promise<Machine['target']> {
  const { payload } = node.mesh.messages.readRecord(await node.mail.ownRecord())
  const { device, kid, key } = decodePrekey(decodePeerRecord(payload).prekey as Uint8Array)
  return { device, kid, key }
}

import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import {
  decodeRequest,
  encodeDeleteAnswer,
  encodeGetAnswer,
  encodeListAnswer,
  encodePutAnswer,
  MAILBOX_PROTOCOL,
  type MailboxRequest,
} from '../../src/mesh/mailbox/wire.ts'
import { createMailWorld, type MailNode, type MailWorld, meet, texts } from './mail-support.ts'

const MINUTE = 60_000

/** A host that answers as it likes. */
async function liar(
  world: MailWorld,
  answer: (request: MailboxRequest, count: number) => Uint8Array | undefined,
): Promise<{ node: MailNode; requests: MailboxRequest[] }> {
  const node = await world.mailNode('liar', { startMail: false })
  const requests: MailboxRequest[] = []
  node.mesh.handle(
    MAILBOX_PROTOCOL,
    async (stream: Duplex) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of stream) chunks.push(chunk as Uint8Array)
      const request = decodeRequest(Buffer.concat(chunks))
      requests.push(request)
      const bytes = answer(request, requests.length)
      if (bytes !== undefined) stream.end(bytes)
    },
    { access: 'everyone' },
  )
  return { node, requests }
}

test('host that lies, whatever it answers, puts nothing into the inbox and does not keep the owner busy', async () => {
  const id = (last: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? last : 0))
  const listed = (...ids: number[]): Uint8Array =>
    encodeListAnswer({ messages: ids.map((last) => ({ msgId: id(last), expiresMs: 2 ** 50, bytes: 2_000 })), more: true })
  const lies: [string, (request: MailboxRequest, count: number) => Uint8Array | undefined][] = [
    ['more and nothing', () => encodeListAnswer({ messages: [], more: true })],
    ['the same page for ever', ({ op }) => (op === 'list' ? listed(1, 2) : encodeGetAnswer(systemRandom.bytes(2_000)))],
    ['a page that goes backwards', ({ op }) => (op === 'list' ? listed(2, 1) : encodeGetAnswer(systemRandom.bytes(2_000)))],
    ['messages that are none', (request, count) => (request.op === 'list' ? listed(count % 250) : encodeGetAnswer(systemRandom.bytes(2_000)))],
    ['another kind of answer', () => encodeDeleteAnswer(7)],
    ['an answer of mebibytes', () => new Uint8Array(3 << 20)],
    ['no answer', () => undefined],
    ['half an answer', () => encodePutAnswer({ kept: 'inbox' }).subarray(0, 1)],
  ]
  for (const [name, answer] of lies) {
    const world = createMailWorld()
    const ben = await world.mailNode('ben')
    const { node, requests } = await liar(world, answer)
    await meet(world, ben, node)
    await ben.mail.useHosts(['liar'])
    await world.run(10 * MINUTE)
    assert.ok(requests.length > 0, name)
    assert.ok(requests.length < 2_000, `${name}: ${requests.length} requests in ten minutes`)
    assert.deepEqual(await texts(ben), [], name)
    await world.close()
  }
})

test('peer or host that lies about a message it was given, does not make it delivered where it is not', async () => {
  const world = createMailWorld()
  const ann = await world.mailNode('ann')
  const { node } = await liar(world, () => encodePutAnswer({ kept: 'mailbox' }))
  await meet(world, ann, node)
  const told = await world.settle(ann.mail.tell('liar', 'x'))
  assert.equal(told.state, 'waiting', 'a peer has an inbox, not a mailbox, for its own messages')
  assert.equal(ann.mail.outbox()[0]?.lastError, 'WIRE_MALFORMED')
  await world.close()
})

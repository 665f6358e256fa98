import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { decodeRequest, encodeListAnswer, encodePutAnswer, encodeRequest, MAILBOX_PROTOCOL } from '../../src/mesh/mailbox/wire.ts'
import { ask } from '../../src/mesh/request-stream.ts'
import { createMailWorld, isLinked, meet, texts } from '../mailbox/mail-support.ts'

test('a host that takes a message and leaves rubbish under its id at the other host, does not make it vanish', async () => {
  const world = createMailWorld()
  const ann = await world.mailNode('ann')
  const ben = await world.mailNode('ben')
  const good = await world.mailNode('good')
  const liar = await world.mailNode('liar', { startMail: false })
  await meet(world, liar, good)
  liar.mesh.handle(
    MAILBOX_PROTOCOL,
    async (stream: Duplex) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of stream) chunks.push(chunk as Uint8Array)
      const request = decodeRequest(Buffer.concat(chunks))
      if (request.op !== 'put') return void stream.end(encodeListAnswer({ messages: [], more: false }))
      // The outside as it was, nothing of the inside.
      const rubbish = Uint8Array.from(request.sealed)
      rubbish.fill(7, rubbish.length - 100)
      const put = await liar.mesh.openLean(good.mesh.did, MAILBOX_PROTOCOL)
      await ask(put.toDuplex(), encodeRequest({ op: 'put', sealed: rubbish }), 1_000, { clock: world.clock })
      stream.end(encodePutAnswer({ kept: 'mailbox' }))
    },
    { access: 'everyone' },
  )
  for (const host of [liar, good]) {
    await meet(world, ann, host)
    await meet(world, ben, host)
  }
  await meet(world, ann, ben)
  await good.mail.host('ben')
  await ben.mail.useHosts(['liar', 'good'])
  await ann.mail.learnRecord(ben.published.at(-1) as Uint8Array)
  await ben.stop()
  await world.until(() => !isLinked(ann, ben))
  await world.settle(ann.mail.tell('ben', 'are you there?'))
  await world.run(60_000)
  assert.equal(good.mail.status().kept.messages, 1)
  const [entry] = ann.mail.outbox()
  assert.deepEqual(entry?.hosts, [liar.mesh.did], 'what the other host has is not what Ann left there')
  assert.equal(entry?.lastError, 'MAILBOX_TAKEN')
  // Its owner throws the rubbish away, and the next attempt finds the place free.
  await ann.mesh.policy.deny('ben', 'link')
  const back = await world.again(ben)
  await world.until(() => back.came.length === 1, 4 * 3_600_000)
  assert.deepEqual(await texts(back), ['are you there?'])
  await world.close()
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { CrashStore, Disk } from './crash-store.ts'
import { createMailWorld, isLinked, type MailNode, type MailWorld, meet, texts } from './mail-support.ts'

/** More writes than a message costs anywhere: the last rounds crash nowhere. */
const PLACES = 7
const HOUR = 3_600_000

/** The machine goes off, its store with it, and comes back with what was durable. */
async function restart(world: MailWorld, node: MailNode, disk: Disk): Promise<MailNode> {
  const { store } = node
  if (store instanceof CrashStore) store.pull()
  await world.settle(Promise.allSettled([node.mail.close(), node.mesh.close()]))
  return await world.again(node, { store: await CrashStore.on(disk) })
}

interface Meeting {
  readonly world: MailWorld
  readonly ann: MailNode
  readonly ben: MailNode
  readonly disk: Disk
}

async function meeting(crashing: 'ann' | 'ben'): Promise<Meeting & { readonly store: CrashStore }> {
  const world = createMailWorld()
  const disk = new Disk()
  const store = await CrashStore.on(disk)
  const ann = await world.mailNode('ann', crashing === 'ann' ? { store } : {})
  const ben = await world.mailNode('ben', crashing === 'ben' ? { store } : {})
  await meet(world, ann, ben)
  return { world, ann, ben, disk, store }
}

for (const after of [false, true]) {
  const moment = after ? 'right after' : 'right before'

  test(`message, the recipient crashes ${moment} any of its writes, arrives exactly once`, async () => {
    for (let n = 1; n <= PLACES; n++) {
      const { world, ann, ben, disk, store } = await meeting('ben')
      store.crash(n, after)
      await world.settle(ann.mail.tell('ben', 'once'))
      await world.run(1_000)
      const back = await restart(world, ben, disk)
      await world.until(() => isLinked(ann, back), HOUR)
      await world.until(() => ann.mail.status().pending === 0, HOUR)
      assert.deepEqual(await texts(back), ['once'], `crash at write ${n}`)
      assert.equal(ann.mail.outbox()[0]?.state, 'delivered')
      await world.close()
    }
  })

  test(`message, the sender crashes ${moment} any of its writes, arrives exactly once if it was told`, async () => {
    for (let n = 1; n <= PLACES; n++) {
      const { world, ann, ben, disk, store } = await meeting('ann')
      store.crash(n, after)
      const told = await world.settle(ann.mail.tell('ben', 'once')).then(
        () => true,
        (error: unknown) => {
          assert.ok(isKithError(error, 'STORE_FAILED'))
          return false
        },
      )
      const back = await restart(world, ann, disk)
      await world.until(() => isLinked(back, ben), HOUR)
      await world.until(() => back.mail.status().pending === 0, HOUR)
      const came = await texts(ben)
      assert.ok(came.length <= 1, `crash at write ${n}`)
      if (told) assert.deepEqual(came, ['once'], `crash at write ${n}`)
      await world.close()
    }
  })

  test(`message, its host crashes ${moment} any of its writes, arrives exactly once`, async () => {
    for (let n = 1; n <= PLACES; n++) {
      const world = createMailWorld()
      const disk = new Disk()
      const ann = await world.mailNode('ann')
      const ben = await world.mailNode('ben')
      const store = await CrashStore.on(disk)
      let host = await world.mailNode('host', { store })
      await meet(world, ann, ben)
      await meet(world, ann, host)
      await meet(world, ben, host)
      await host.mail.host('ben')
      await ben.mail.useHosts(['host'])
      await ann.mail.learnRecord(ben.published.at(-1) as Uint8Array)
      await ben.stop()
      await world.until(() => !isLinked(ann, ben))
      store.crash(n, after)
      await world.settle(ann.mail.tell('ben', 'once'))
      if (store.crashed) host = await restart(world, host, disk)
      await world.until(() => ann.mail.outbox()[0]?.state === 'deposited', 3 * HOUR)
      // From here on only the host has it.
      await ann.stop()
      const back = await world.again(ben)
      await world.until(() => store.crashed || host.mail.status().kept.messages === 0, HOUR)
      if (store.crashed) host = await restart(world, host, disk)
      await world.until(() => back.came.length === 1 && host.mail.status().kept.messages === 0, 3 * HOUR)
      await world.run(HOUR / 10)
      assert.deepEqual(await texts(back), ['once'], `crash at write ${n}`)
      await world.close()
    }
  })

  test(`message, its recipient crashes ${moment} any of its writes while it fetches, arrives exactly once`, async () => {
    for (let n = 1; n <= PLACES; n++) {
      const world = createMailWorld()
      const disk = new Disk()
      const ann = await world.mailNode('ann')
      const ben = await world.mailNode('ben', { store: await CrashStore.on(disk) })
      const host = await world.mailNode('host')
      await meet(world, ann, ben)
      await meet(world, ann, host)
      await meet(world, ben, host)
      await host.mail.host('ben')
      await ben.mail.useHosts(['host'])
      await ann.mail.learnRecord(ben.published.at(-1) as Uint8Array)
      await world.settle(Promise.all([ben.mail.close(), ben.mesh.close()]))
      await world.until(() => !isLinked(ann, ben))
      for (const text of ['one', 'two', 'three']) await world.settle(ann.mail.tell('ben', text))
      await ann.stop()
      const store = await CrashStore.on(disk)
      store.crash(n, after)
      // It may fail in its very first write, the one that counts its start.
      const first = await world.again(ben, { store }).catch(() => undefined)
      if (first !== undefined) await world.until(() => store.crashed || host.mail.status().kept.messages === 0, HOUR)
      const back = first === undefined ? await world.again(ben, { store: await CrashStore.on(disk) }) : await restart(world, first, disk)
      await world.until(() => host.mail.status().kept.messages === 0, 3 * HOUR)
      const came = await texts(back)
      assert.deepEqual([...came].sort(), ['one', 'three', 'two'], `crash at write ${n}`)
      await world.close()
    }
  })
}

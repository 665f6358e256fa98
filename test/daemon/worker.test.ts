import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { loadOperations } from '../../src/daemon/worker/module.ts'
import { type RunningWorker, runWorker } from '../../src/daemon/worker/run.ts'
import { parseDid } from '../../src/identity/did.ts'
import { KithError, type Node } from '../../src/index.ts'
import { codeOf, threeNodes, until } from './three-nodes.ts'

const three = threeNodes(['hub', 'box', 'laptop'])
const { nodes } = three

const MODULE = `
export const say = {
  name: 'echo/say', kind: 'query', access: 'everyone', input: { type: 'object' }, output: true,
  handler: (input, { caller }) => ({ ...input, caller: caller.id }),
}
export const bytes = { name: 'echo/bytes', kind: 'query', access: 'everyone', input: true, output: true, handler: () => Buffer.from('raw') }
export const nested = { name: 'echo/nested', kind: 'query', access: 'everyone', input: true, output: true, handler: async (_input, context) => await context.call('/node/about') }
export const hidden = { name: 'echo/hidden', kind: 'query', input: true, output: true, handler: (_input, context) => context.call('/node/status') }
export default [{ name: 'echo/count', kind: 'subscription', access: 'everyone', input: true, output: true, async *handler(_input, { signal }) {
  for (let at = 1; !signal.aborted; at++) { yield at; await new Promise((wake) => setTimeout(wake, 1)) }
} }]
export const helper = () => 'nobody calls this'
`

async function beside(name: string, alias: string, heads: readonly string[] = []): Promise<{ worker: RunningWorker; phases: string[]; news: string[] }> {
  const file = join(three.folder, `${alias}.mjs`)
  await writeFile(file, MODULE)
  const { socket, early, did } = await createControlClient({ home: join(three.folder, name) }).worker(heads)
  const phases: string[] = []
  const news: string[] = []
  const worker = runWorker({
    socket,
    early,
    did: parseDid(did),
    alias,
    operations: await loadOperations(file),
    onState: ({ phase, error }) => phases.push(error === undefined ? phase : `${phase} ${error.code}`),
    onHead: ({ phase, error, next }) => news.push([phase, error, next].filter((part) => part !== null).join(' ')),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  })
  return { worker, phases, news }
}

test('a module beside the daemon, registered here and at a head, answers the owner, a peer and a peer of the head', async () => {
  const [hub, box, laptop] = nodes as [Node, Node, Node]
  const { worker, phases, news } = await beside('box', 'dev1', ['hub'])
  await until(() => phases.includes('registered') && news.length > 0)
  assert.deepEqual(news, [`refused WORKER_DENIED kith allow ${box.did} offer dev1/echo`])
  assert.deepEqual(await box.call('echo/say', { text: 'a' }), { text: 'a', caller: 'local' })
  assert.deepEqual(await box.call('dev1/echo/say', { text: 'b' }), { text: 'b', caller: 'local' })
  assert.deepEqual(await hub.call('/box/echo/say', { text: 'c' }), { text: 'c', caller: hub.did })
  assert.deepEqual(Buffer.from((await hub.call('/box/echo/bytes')) as Uint8Array), Buffer.from('raw'))
  assert.equal(((await hub.call('/box/echo/nested')) as { name: string }).name, 'box')
  assert.equal(await codeOf(hub.call('/box/echo/hidden')), 'CALL_UNKNOWN', 'without an access it is the owner’s alone')
  assert.equal(((await box.call('echo/hidden')) as { did: string }).did, box.did, 'a call of a handler has the authority of its caller, here the owner')
  await box.policy.allow('hub', 'call', 'echo/hidden')
  assert.equal(await codeOf(hub.call('/box/echo/hidden')), 'CALL_FAILED', 'and no more: hub has not the scope for node/status')

  await hub.policy.allow('box', 'offer', 'dev1/echo')
  await worker.close()
  const again = await beside('box', 'dev1', ['hub'])
  await until(() => again.news.includes('registered'))
  assert.deepEqual(await laptop.call('/hub/dev1/echo/say', { text: 'd' }), { text: 'd', caller: laptop.did })
  const items: unknown[] = []
  for await (const item of laptop.stream('/hub/echo/count')) {
    items.push(item)
    if (items.length === 3) break
  }
  assert.deepEqual(items, [1, 2, 3])
  await until(() => again.worker.running === 0)

  const stream = laptop.stream('/hub/dev1/echo/count')
  await stream.next()
  await again.worker.close()
  assert.equal(
    await codeOf(
      (async () => {
        for await (const _item of stream);
      })(),
    ),
    'WORKER_LOST',
  )
  assert.equal(await codeOf(laptop.call('/hub/dev1/echo/say', {})), 'CALL_UNKNOWN')
  assert.deepEqual(
    (await box.operations()).filter(({ name }) => name.startsWith('echo/')),
    [],
  )
})

test('a module beside the daemon, the owner of its head takes the right back, hears of it at once and how to get it back when it asked again', async () => {
  const [hub, box] = nodes as [Node, Node, Node]
  await hub.policy.allow('box', 'offer', 'dev4/echo')
  const { worker, news } = await beside('box', 'dev4', ['hub'])
  await until(() => news.includes('registered'))
  await hub.policy.deny('box', 'offer', 'dev4/echo')
  await until(() => news.at(-1)?.startsWith('refused') === true)
  assert.deepEqual(news.slice(-3), ['registered', 'connecting WORKER_DENIED', `refused WORKER_DENIED kith allow ${box.did} offer dev4/echo`])
  await worker.close()
})

test('a module beside the daemon that drains, a stream runs, ends when the stream has', async () => {
  const [, box] = nodes as [Node, Node, Node]
  const { worker, phases } = await beside('box', 'dev2')
  await until(() => phases.includes('registered'))
  const stream = box.stream('dev2/echo/count')
  await stream.next()
  const drained = worker.drain(60_000)
  await until(() => phases.includes('draining'))
  await until(() => box.status().services.length > 0)
  await assert.rejects(
    async () => {
      for (;;) await box.call('dev2/echo/say', {})
    },
    { code: 'WORKER_DRAINING' },
  )
  await stream.next()
  await stream.return?.()
  await drained
  assert.equal(phases.at(-1), 'closed')
  await worker.close()
})

test('an alias taken by another process of this node, is refused', async () => {
  const first = await beside('box', 'dev3')
  await until(() => first.phases.includes('registered'))
  const second = await beside('box', 'dev3')
  await until(() => second.phases.length > 0)
  assert.deepEqual(second.phases, ['refused WORKER_CONFLICT'])
  await second.worker.close()
  await first.worker.close()
})

test('a module that cannot be loaded, exports nothing or what is no operation, is named with the reason', async () => {
  const cases = [
    ['export const = 1', /cannot be loaded/],
    ['throw new Error("on purpose")', /on purpose/],
    ['export const a = 1', /exports no operation/],
    [`export const a = { name: 'nothing', kind: 'query', input: true, output: true, handler() {} }`, /export a of/],
  ] as const
  for (const [index, [text, pattern]] of cases.entries()) {
    const file = join(three.folder, `bad${index}.mjs`)
    await writeFile(file, text)
    await assert.rejects(loadOperations(file), (error) => error instanceof KithError && error.code === 'WORKER_MODULE' && pattern.test(error.message))
  }
})

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { z } from 'zod'
import { createEnvelopeClient } from '../../src/call/envelope-client.ts'
import { defineOperation } from '../../src/call/index.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { KithError, Node } from '../../src/index.ts'
import { codeOf, threeNodes, until } from './three-nodes.ts'

let [hub, worker, laptop]: Node[] = []
threeNodes(['hub', 'worker', 'laptop'], (nodes) => {
  ;[hub, worker, laptop] = nodes
})

const read = defineOperation({
  name: 'fs/read',
  kind: 'query',
  access: 'everyone',
  input: z.object({ path: z.string() }),
  output: z.object({ path: z.string(), caller: z.string(), through: z.string() }),
  handler: ({ path }, { caller }) => ({ path, caller: caller.id, through: caller.through?.id ?? 'nobody' }),
})
const secret = defineOperation({ name: 'fs/secret', kind: 'query', input: z.unknown(), output: z.unknown(), handler: () => 'for the owner' })
const count = defineOperation({
  name: 'fs/count',
  kind: 'subscription',
  access: 'everyone',
  input: z.object({ to: z.number() }),
  output: z.number(),
  async *handler({ to }) {
    for (let at = 1; at <= to; at++) yield at
  },
})

test('an operation of a node, called by its owner, by a peer and through a head, answers each', async (t) => {
  assert.ok(hub !== undefined && worker !== undefined && laptop !== undefined)
  for (const operation of [read, secret, count]) t.after(worker.operation(operation))
  assert.throws(() => worker?.operation(read), { code: 'CALL_CONFLICT' })
  assert.deepEqual(await worker.call<typeof read>('fs/read', { path: 'a' }), { path: 'a', caller: 'local', through: 'nobody' })
  assert.equal((await hub.call<typeof read>('/worker/fs/read', { path: 'b' })).caller, hub.did)

  await using registration = worker.offerAt('hub', { alias: 'dev1' })
  await until(() => registration.phase === 'refused')
  assert.equal(await codeOf(laptop.call('/hub/dev1/fs/read', { path: 'c' })), 'CALL_UNKNOWN', 'nobody may register by default')
  assert.deepEqual(
    worker.status().degraded.map(({ code }) => code),
    ['WORKER_DENIED'],
  )

  await hub.policy.allow('worker', 'offer', 'dev1/fs')
  await using again = worker.offerAt('hub', { alias: 'dev2' })
  await until(() => again.phase === 'refused')
  await again.close()
  await registration.close()
  await using allowed = worker.offerAt('hub', { alias: 'dev1' })
  await until(() => allowed.phase === 'registered')

  assert.deepEqual(await hub.call('dev1/fs/read', { path: 'd' }), { path: 'd', caller: hub.did, through: 'nobody' })
  assert.deepEqual(await laptop.call<typeof read>('/hub/dev1/fs/read', { path: 'e' }), { path: 'e', caller: laptop.did, through: hub.did })
  assert.deepEqual(await laptop.call<typeof read>('/hub/fs/read', { path: 'f' }), { path: 'f', caller: laptop.did, through: hub.did })
  const items: number[] = []
  for await (const item of laptop.stream<typeof count>('/hub/dev1/fs/count', { to: 5 })) items.push(item)
  assert.deepEqual(items, [1, 2, 3, 4, 5])
  assert.equal(await codeOf(laptop.call('/hub/dev1/fs/read', { wrong: true })), 'CALL_INPUT')
  assert.deepEqual(
    (await laptop.operations('hub')).map(({ path }) => path),
    ['hub/node/about', 'hub/services/list', 'hub/services/schema', 'hub/dev1/fs/count', 'hub/dev1/fs/read'],
  )
  const hidden = await laptop.call('/hub/dev1/fs/secret', {}).catch((error: KithError) => JSON.stringify(error).replaceAll('secret', 'nothing'))
  const unknown = await laptop.call('/hub/dev1/fs/nothing', {}).catch((error: KithError) => JSON.stringify(error))
  assert.equal(hidden, unknown)
  const audit = await hub.audit.list({ limit: 20 })
  assert.deepEqual(
    audit.filter(({ action }) => action.startsWith('worker.')).map(({ actor, subject }) => `${actor} ${subject}`),
    [`${worker.did} dev1`],
  )
})

test('a head that this node did not register with, says it calls for somebody, is not believed', async (t) => {
  assert.ok(hub !== undefined && worker !== undefined && laptop !== undefined)
  t.after(worker.operation(read))
  await hub.policy.allow('worker', 'offer', 'dev1/fs')
  const registration = worker.offerAt('hub', { alias: 'dev1' })
  await until(() => registration.phase === 'registered')
  assert.equal((await laptop.call<typeof read>('/hub/dev1/fs/read', { path: 'a' })).through, hub.did)
  await registration.close()
  assert.equal(await codeOf(laptop.call('/hub/dev1/fs/read', { path: 'a' })), 'CALL_UNKNOWN')
})

test('a peer whom the owner calls as a worker here is called, is who is meant by the name', async (t) => {
  assert.ok(hub !== undefined && worker !== undefined)
  t.after(worker.operation(read))
  await hub.policy.allow('worker', 'offer', 'late/fs')
  await using registration = worker.offerAt('hub', { alias: 'late' })
  await until(() => registration.phase === 'registered')
  assert.equal((await hub.call<typeof read>('/late/fs/read', { path: 'a' })).path, 'a')
  await hub.peers.rename('laptop', 'Late')
  t.after(() => hub?.peers.rename('Late', 'laptop'))
  assert.equal(await codeOf(hub.call('/late/fs/read', { path: 'meant for the peer' })), 'CALL_UNKNOWN')
})

test('a program behind a forward to the control channel, allowed by its exact name, calls in the open form as the peer whose forward it is', async () => {
  const [head, guest] = [hub as Node, laptop as Node]
  const options = { peer: head.did, target: 'alknet-control:1' }
  assert.equal(await codeOf(guest.forward(options)), 'FORWARD_DENIED')
  await head.policy.allow(guest.did, 'forward', 'alknet-control:1')
  await using forward = await guest.forward(options)
  const [host, port] = forward.address.split(':')
  const socket = connect({ host: host as string, port: Number(port) })
  const calls = createEnvelopeClient(socket, { clock: systemClock })
  const about = (await calls.call('node/about', {})) as { readonly did: string }
  assert.equal(about.did, head.did)
  // What needs a scope that the peer does not have does not exist for it.
  assert.equal(await codeOf(calls.call('node/status', {})), 'CALL_UNKNOWN')
  calls.close()
  socket.destroy()
})

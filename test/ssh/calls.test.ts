import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type ssh2 from 'ssh2'
import { z } from 'zod'
import { defineOperation } from '../../src/call/define.ts'
import { createEnvelopeClient } from '../../src/call/envelope-client.ts'
import { createEnvelopeSession } from '../../src/call/envelope-session.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { byAccess } from '../call/support.ts'
import { exec, login, testDoor, userKey } from './support.ts'

function operations() {
  const registry = createRegistry()
  registry.registerAll([
    defineOperation({
      name: 'text/upper',
      kind: 'query',
      access: 'everyone',
      input: z.object({ text: z.string() }),
      output: z.string(),
      handler: ({ text }) => text.toUpperCase(),
    }),
    defineOperation({
      name: 'text/secret',
      kind: 'query',
      access: { all: ['secrets'] },
      input: z.object({}),
      output: z.string(),
      handler: () => 'secret',
    }),
  ])
  return createLocalCallee({ registry, authorize: byAccess, clock: systemClock, random: systemRandom, logger: silentLogger })
}

async function at(scopes: readonly string[]) {
  const callee = operations()
  const door = testDoor({ callee, control: (channel, caller) => void createEnvelopeSession(channel, { callee, caller, clock: systemClock }) })
  const key = userKey()
  door.identity.allow(key, { scopes: new Set(scopes) })
  const client = await login(door.dial(), { key })
  return { client, door: door.door }
}

test('operations, are called by exec under the same access and the same answers as anywhere', async () => {
  const { client, door } = await at([])
  assert.equal((await exec(client, 'call text/upper {"text":"a"}')).out, '"A"\n')
  const input = await exec(client, 'call text/upper {"text":1}')
  assert.deepEqual([input.status, (JSON.parse(input.err) as { error: { code: string } }).error.code], [2, 'CALL_INPUT'])
  // What may not be known of is answered as what does not exist.
  const [hidden, unknown] = [await exec(client, 'call text/secret {}'), await exec(client, 'call text/nothing {}')]
  assert.deepEqual(hidden, unknown)
  assert.ok(!(await exec(client, 'ops')).out.includes('secret'))
  client.end()
  door.close()
})

test('the control channel, carries calls of the caller who logged in', async () => {
  const { client, door } = await at(['secrets'])
  const channel = await new Promise<ssh2.ClientChannel>((resolve, reject) =>
    client.forwardOut('127.0.0.1', 0, 'alknet-control', 0, (error, opened) => (error === undefined ? resolve(opened) : reject(error))),
  )
  const calls = createEnvelopeClient(channel, { clock: systemClock })
  assert.equal(await calls.call('text/upper', { text: 'abc' }), 'ABC')
  assert.equal(await calls.call('text/secret', {}), 'secret')
  await assert.rejects(calls.call('text/none', {}), (error) => isKithError(error, 'CALL_UNKNOWN'))
  client.end()
  await once(client, 'close')
  door.close()
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { apiKeyHash } from '../../src/access/api-key.ts'
import { createIdentityProvider, type OpenIdentityProvider } from '../../src/access/identity-provider.ts'
import { ReplayCache } from '../../src/access/replay-cache.ts'
import { type AccessTable, type ApiKeyRecord, accessTable, tableSource } from '../../src/access/sources.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { defineOperation, openWorld, type World } from './support.ts'

/** Handlers under way, by what they were asked. */
const held = new Map<string, AbortSignal>()
const begun: (() => void)[] = []

const operations = [
  defineOperation({ name: 'echo/say', kind: 'query', input: true, output: true, access: { all: ['read'] }, handler: (input) => input ?? null }),
  defineOperation({
    name: 'slow/wait',
    kind: 'mutation',
    input: true,
    output: true,
    access: { all: ['read'] },
    handler: async (input, { signal }) => {
      held.set(String(input), signal)
      for (const tell of begun.splice(0)) tell()
      await once(signal, 'abort')
      return null
    },
  }),
]

const KEY = 'alk_testsecret123'
const OTHER = 'alk_othersecret123'
const LEAVING = 'alk_leavesecret123'
const STAYING = 'alk_staysecret123'
let table: AccessTable
let provider: OpenIdentityProvider
let world: World

function recordOf(text: string, ...scopes: readonly string[]): ApiKeyRecord {
  return { name: text.slice(4, 9), hash: apiKeyHash(text), grant: { scopes } }
}

function put(...apiKeys: readonly ApiKeyRecord[]): void {
  table = accessTable({ apiKeys })
}

before(async () => {
  put()
  provider = createIdentityProvider({
    sources: [tableSource('test', () => table)],
    replay: await ReplayCache.open(systemClock, createMemoryStore()),
    clock: systemClock,
    logger: silentLogger,
  })
  world = await openWorld(operations, { identities: provider })
})
after(async () => {
  await world.close()
  provider.close()
})

function requestText(key: string, path: string, body: string): string {
  const lines = ['Host: localhost', `Authorization: Bearer ${key}`, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`]
  return `POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`
}

/** One connection for many requests, and the answers in their order. */
class Kept {
  readonly socket: Socket = connect(world.port, '127.0.0.1')
  #text = ''

  constructor() {
    this.socket.on('error', () => undefined)
    this.socket.on('data', (chunk) => {
      this.#text += String(chunk)
    })
  }

  /** Status and body of the next answer. */
  async next(): Promise<readonly [status: number, body: string]> {
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(this.#text)?.[1] ?? 0)
      if (end !== -1 && this.#text.length >= end + 4 + length) {
        const answer = [Number(this.#text.slice(9, 12)), this.#text.slice(end + 4, end + 4 + length)] as const
        this.#text = this.#text.slice(end + 4 + length)
        return answer
      }
      await once(this.socket, 'data')
    }
  }

  async ask(key: string, path: string, body = '{"a":1}'): Promise<readonly [status: number, body: string]> {
    this.socket.write(requestText(key, path, body))
    return await this.next()
  }
}

/** Until that many handlers are under way. */
async function untilHeld(count: number): Promise<void> {
  while (held.size < count) await new Promise<void>((resolve) => begun.push(resolve))
}

test('a key that is taken back, used before on the same connection, is refused by the next request', async () => {
  const kept = new Kept()
  put(recordOf(KEY, 'read'))
  for (let i = 0; i < 3; i++) assert.deepEqual(await kept.ask(KEY, '/v1/echo/say'), [200, '{"a":1}'])
  put()
  assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 401)
  put(recordOf(KEY, 'read'))
  assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 200)
  kept.socket.destroy()
})

test('a key that is given less, used before on the same connection, reaches no more than it may from the next request on', async () => {
  const kept = new Kept()
  put(recordOf(KEY, 'read'))
  for (let i = 0; i < 3; i++) assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 200)
  put(recordOf(KEY, 'write'))
  assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 404)
  kept.socket.destroy()
})

test('a connection, on which one key was known, knows nobody by another or by none', async () => {
  const kept = new Kept()
  put(recordOf(KEY, 'read'), recordOf(OTHER, 'write'))
  assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 200)
  assert.equal((await kept.ask(OTHER, '/v1/echo/say'))[0], 404)
  assert.equal((await kept.ask(`${KEY}4`, '/v1/echo/say'))[0], 401)
  assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 200)
  kept.socket.write('POST /v1/echo/say HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n')
  assert.equal((await kept.next())[0], 401)
  kept.socket.destroy()
})

test('a call under way, whose key is taken back for good, ends with 401; one of another key goes on', async () => {
  held.clear()
  const [leaving, staying] = [new Kept(), new Kept()]
  put(recordOf(LEAVING, 'read'), recordOf(STAYING, 'read'))
  for (const [kept, key] of [
    [leaving, LEAVING],
    [staying, STAYING],
  ] as const)
    assert.equal((await kept.ask(key, '/v1/echo/say'))[0], 200)
  const answer = leaving.ask(LEAVING, '/v1/slow/wait', '"leaving"')
  staying.socket.write(requestText(STAYING, '/v1/slow/wait', '"staying"'))
  await untilHeld(2)
  put(recordOf(STAYING, 'read'))
  await provider.recheck({ disconnect: true })
  assert.equal((await answer)[0], 401)
  assert.equal(held.get('leaving')?.aborted, true)
  assert.equal(held.get('staying')?.aborted, false)
  assert.equal(world.gateway.inFlight, 1)
  const ended = once(held.get('staying') as AbortSignal, 'abort')
  staying.socket.destroy()
  await ended
  leaving.socket.destroy()
})

test('a connection that ends, with several requests sent one behind the other, ends all their handlers and frees their places', async () => {
  held.clear()
  put(recordOf(KEY, 'read'))
  const kept = new Kept()
  assert.equal((await kept.ask(KEY, '/v1/slow/none'))[0], 404)
  kept.socket.write(['"one"', '"two"', '"three"'].map((body) => requestText(KEY, '/v1/slow/wait', body)).join(''))
  await untilHeld(3)
  assert.equal(world.gateway.inFlight, 3)
  const ended = [...held.values()].map((signal) => once(signal, 'abort'))
  kept.socket.destroy()
  await Promise.all(ended)
  while (world.gateway.inFlight > 0) await new Promise((resolve) => setImmediate(resolve))
})

test('a body that comes after its head, in pieces, is read whole', async () => {
  put(recordOf(KEY, 'read'))
  const kept = new Kept()
  assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 200)
  const text = requestText(KEY, '/v1/echo/say', '{"text":"in three pieces"}')
  const head = text.indexOf('\r\n\r\n') + 4
  for (const [from, to] of [
    [0, head],
    [head, head + 5],
    [head + 5, text.length],
  ]) {
    await new Promise<void>((resolve) => kept.socket.write(text.slice(from, to), () => resolve()))
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.deepEqual(await kept.next(), [200, '{"text":"in three pieces"}'])
  // Nothing is left over for the next one.
  assert.deepEqual(await kept.ask(KEY, '/v1/echo/say', '2'), [200, '2'])
  kept.socket.destroy()
})

test('requests sent one behind the other, of which one is refused, are answered in their order', async () => {
  put(recordOf(KEY, 'read'))
  const kept = new Kept()
  assert.equal((await kept.ask(KEY, '/v1/echo/say'))[0], 200)
  const asked = [
    requestText(KEY, '/v1/echo/say', '1'),
    requestText(KEY, '/v1/echo/say', '{'),
    requestText(KEY, '/v1/none/none', '{}'),
    requestText(KEY, '/v1/echo/say', '4'),
  ]
  kept.socket.write(asked.join(''))
  const statuses: number[] = []
  for (let i = 0; i < asked.length; i++) statuses.push((await kept.next())[0])
  assert.deepEqual(statuses, [200, 400, 404, 200])
  kept.socket.destroy()
})

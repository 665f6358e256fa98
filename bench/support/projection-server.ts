/** The two servers of bench/projection.ts: the gateway in front of a real callee, identity provider and policy; and fastify with the same schema. */
import Fastify from 'fastify'
import { apiKeyHash, generateApiKey } from '../../src/access/api-key.ts'
import { createIdentityProvider } from '../../src/access/identity-provider.ts'
import { ReplayCache } from '../../src/access/replay-cache.ts'
import { accessTable, tableSource } from '../../src/access/sources.ts'
import { defineOperation } from '../../src/call/define.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createAuthorizer } from '../../src/daemon/access/authorize.ts'
import { createGateway } from '../../src/gateway/server.ts'

const schema = {
  type: 'object',
  properties: {
    text: { type: 'string', maxLength: 1_000 },
    count: { type: 'integer', minimum: 0 },
    tags: { type: 'array', items: { type: 'string', maxLength: 50 }, maxItems: 20 },
    at: { type: 'string', maxLength: 40 },
    ok: { type: 'boolean' },
  },
  required: ['text', 'count'],
  additionalProperties: false,
}

const parts = { clock: systemClock, random: systemRandom, logger: silentLogger }
const key = generateApiKey(systemRandom)
const table = accessTable({ apiKeys: [{ name: 'bench', hash: apiKeyHash(key), grant: { scopes: ['echo:say'] } }] })
const identities = createIdentityProvider({
  sources: [tableSource('bench', () => table)],
  replay: await ReplayCache.open(systemClock, createMemoryStore()),
  ...parts,
})
const registry = createRegistry([
  defineOperation({ name: 'echo/say', kind: 'query', input: schema, output: schema, access: { all: ['echo:say'] }, handler: (input) => input }),
])
const callee = createLocalCallee({ registry, authorize: createAuthorizer({ policy: { ruled: () => undefined } }), ...parts })
const gateway = createGateway({ callee, identities, ...parts })
const { port: kith } = await gateway.listen('127.0.0.1', 0)

const app = Fastify()
app.post('/v1/echo/say', { schema: { body: schema, response: { 200: schema } } }, async (request) => request.body)
await app.listen({ host: '127.0.0.1', port: 0 })
const address = app.server.address()
process.stdout.write(`${JSON.stringify({ kith, fastify: typeof address === 'object' ? address?.port : 0, key })}\n`)

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'

const run = promisify(execFile)
const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'kith.mjs')
const TOOLS = join(import.meta.dirname, '..', 'gateway', 'tool-server.mjs')
let folder: string
let home: string
let env: NodeJS.ProcessEnv
let gateway: string
let key: string
const asked: (string | undefined)[] = []
const service = createServer((request, response) => {
  asked.push(request.headers.authorization)
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"name":"rex"}')
})

async function kith(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run(process.execPath, [LAUNCHER, '--home', home, '--json', ...args], { env })
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as Record<string, unknown>
}

/** The whole answer of curl, head and body. */
async function curl(...args: string[]): Promise<string> {
  const { stdout } = await run('curl', ['-sS', '-i', '--max-time', '20', ...args])
  return stdout
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kith-gateway-'))
  home = join(folder, 'home')
  env = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
  await kith('init', '--name', 'gate', '--no-passphrase')
  const pet = {
    200: { description: '', content: { 'application/json': { schema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } } } },
  }
  const parameters = [{ name: 'id', in: 'path', required: true, schema: { type: 'integer' } }]
  await writeFile(
    join(folder, 'pets.json'),
    JSON.stringify({ openapi: '3.1.0', info: {}, paths: { '/pets/{id}': { get: { operationId: 'get', parameters, responses: pet } } } }),
  )
  await writeFile(join(folder, 'token'), 'token-of-the-pets\n', { mode: 0o600 })
  const config = [
    `gateway.raw_socket = "${join(folder, 'calls.sock')}"`,
    `[openapi.pets]\nfile = "${join(folder, 'pets.json')}"\nurl = "http://127.0.0.1:${(service.address() as AddressInfo).port}"\ncredential = "pets"\naccess = { all = ["pets:read"] }`,
    `[openapi.broken]\nfile = "${join(folder, 'none.json')}"\nurl = "https://pets.example"`,
    `[mcp.tools]\ncommand = "${process.execPath}"\nargs = ["${TOOLS}"]\naccess = { all = ["pets:read"] }`,
    `[credentials.pets]\ntype = "bearer"\nsecret_file = "${join(folder, 'token')}"`,
  ]
  await writeFile(join(home, 'config.toml'), config.join('\n'))
  const ready = await kith('up', '--detach', '--listen', 'tcp://127.0.0.1:0', '--gateway', '127.0.0.1:0')
  gateway = String(ready.gateway)
  const made = await kith('access', 'key', 'add', 'assistant', '--scope', 'pets:read')
  key = String(made.key ?? made.token ?? made.secret)
  await writeFile(join(folder, 'key'), `${key}\n`)
  await chmod(join(folder, 'key'), 0o600)
})
after(async () => {
  await kith('down').catch(() => undefined)
  service.closeAllConnections()
  service.close()
  await rm(folder, { recursive: true, force: true })
})

test('curl, with a key, calls an operation of the node and one imported from a file, by GET and POST', async () => {
  const bearer = ['-H', `Authorization: Bearer ${key}`]
  assert.match(await curl(...bearer, `${gateway}/v1/node/about`), /^HTTP\/1.1 200 [\s\S]*"name":"gate"/)
  assert.match(await curl(...bearer, `${gateway}/v1/pets/get?id=3`), /\{"name":"rex"\}$/)
  assert.match(await curl(...bearer, '--json', '{"id":3}', `${gateway}/v1/pets/get`), /\{"name":"rex"\}$/)
  assert.deepEqual(asked, ['Bearer token-of-the-pets', 'Bearer token-of-the-pets'])
  assert.match(await curl(...bearer, `${gateway}/v1/pets/get?id=x`), /^HTTP\/1.1 400 /)
  assert.match(await curl(`${gateway}/v1/node/about`), /^HTTP\/1.1 401 /)
  assert.match(await curl(...bearer, `${gateway}/v1/node/status`), /^HTTP\/1.1 404 /)
  assert.match(await curl(...bearer, '-H', 'Host: evil.example', `${gateway}/v1/node/about`), /^HTTP\/1.1 403 /)
  assert.match(await curl(...bearer, `${gateway}/v1/schema`), /"\/v1\/pets\/get"/)
})

test('a file that is not there, in the configuration, is a trouble and nothing else', async () => {
  const { degraded } = (await kith('status')) as { degraded: { service: string; code: string; message: string }[] }
  assert.deepEqual(
    degraded.filter(({ service: name }) => name === 'gateway').map(({ code }) => code),
    ['OPENAPI_INVALID'],
  )
})

test('a client of tools, by HTTP with the key, calls an imported tool', async () => {
  const client = new Client({ name: 'test', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway}/mcp`), { requestInit: { headers: { authorization: `Bearer ${key}` } } })
  await client.connect(transport as Transport)
  let result = await client.callTool({ name: 'tools_add', arguments: { a: 1, b: 2 } })
  // Tools are there when their server has answered.
  for (let i = 0; i < 50 && result.isError === true; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    result = await client.callTool({ name: 'tools_add', arguments: { a: 1, b: 2 } })
  }
  assert.deepEqual(result.structuredContent, { sum: 3 })
  await client.close()
})

test('a client of tools, on stdin, has what the key has; without one, what the owner named', async () => {
  const connected = async (...args: string[]): Promise<Client> => {
    const client = new Client({ name: 'test', version: '1' })
    await client.connect(
      new StdioClientTransport({ command: process.execPath, args: [LAUNCHER, '--home', home, 'mcp', ...args], env: env as Record<string, string> }),
    )
    return client
  }
  const byKey = await connected('--key-file', join(folder, 'key'))
  const names = (await byKey.listTools()).tools.map(({ name }) => name)
  assert.ok(names.includes('pets_get'))
  assert.ok(!names.includes('node_status'))
  assert.deepEqual((await byKey.callTool({ name: 'pets_get', arguments: { id: 3 } })).structuredContent, { name: 'rex' })
  assert.equal((await byKey.callTool({ name: 'node_status', arguments: {} })).isError, true)
  await byKey.close()
  const byName = await connected('--tools', 'node/status')
  assert.deepEqual(
    (await byName.listTools()).tools.map(({ name }) => name),
    ['node_status'],
  )
  assert.equal((await byName.callTool({ name: 'pets_get', arguments: { id: 3 } })).isError, true)
  await byName.close()
  await assert.rejects(run(process.execPath, [LAUNCHER, '--home', home, 'mcp'], { env }), { code: 2 })
})

test('a reload, while the node runs, takes in services and tools that were added, changed and removed, and refuses what cannot be had', async () => {
  const names = async (): Promise<string[]> => {
    const { operations } = (await kith('ops')) as { operations: { name: string }[] }
    return operations.map(({ name }) => name).filter((name) => /^(pets|more|tools|other)\//.test(name))
  }
  const config = await readFile(join(home, 'config.toml'), 'utf8')
  const tables = config.split(/^(?=\[)/m)
  const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
  const more = `[openapi.more]\nfile = "${join(folder, 'pets.json')}"\nurl = "${url}"\n`
  const write = (...parts: readonly string[]): Promise<void> => writeFile(join(home, 'config.toml'), parts.join('\n'))
  await write(config, more)
  // The file that was missing at the start is missing still: a trouble as before, which holds nothing else up.
  assert.deepEqual((await kith('config', 'reload')).applied, ['openapi'])
  assert.ok((await names()).includes('more/get') && (await names()).includes('pets/get'))
  await write(config, more, `[openapi.worse]\nfile = "${join(folder, 'none.json')}"\nurl = "${url}"`)
  await assert.rejects(
    kith('config', 'reload'),
    (error: Error & { stderr: string }) => /OPENAPI_INVALID/.test(error.stderr) && /openapi\.worse/.test(error.stderr),
  )
  assert.ok((await names()).includes('more/get'))
  const without = tables.filter((table) => !/^\[(openapi\.pets|openapi\.broken|mcp\.tools)\]/.test(table))
  await write(...without, more, `[mcp.other]\ncommand = "${process.execPath}"\nargs = ["${TOOLS}"]`)
  assert.deepEqual(((await kith('config', 'reload')).applied as string[]).sort(), ['mcp', 'openapi'])
  let found = await names()
  for (let i = 0; i < 50 && !found.includes('other/add'); i++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    found = await names()
  }
  assert.ok(found.includes('other/add') && found.includes('more/get'), found.join(' '))
  assert.ok(!found.some((name) => /^(pets|tools)\//.test(name)), found.join(' '))
  const { degraded } = (await kith('status')) as { degraded: { service: string }[] }
  assert.deepEqual(
    degraded.filter(({ service: name }) => name === 'gateway'),
    [],
  )
})

test('the node, asked for beyond loopback, opens nothing', async () => {
  await kith('down')
  await assert.rejects(kith('up', '--detach', '--gateway', '0.0.0.0:8787'), { code: 2 })
})

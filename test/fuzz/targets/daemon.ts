import assert from 'node:assert/strict'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { createAssembly } from '../../../src/assembly/assembly.ts'
import type { Assembly } from '../../../src/assembly/types.ts'
import { utf8 } from '../../../src/core/bytes.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { ERROR_TABLE } from '../../../src/core/error-table.ts'
import type { KithError } from '../../../src/core/errors.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { createMemoryStore } from '../../../src/core/store/memory.ts'
import { formatDuration, parseDuration } from '../../../src/daemon/config/duration.ts'
import { configFile, loadConfig } from '../../../src/daemon/config/load.ts'
import { SETTING_PATHS } from '../../../src/daemon/config/settings.ts'
import type { NodeContext } from '../../../src/daemon/context.ts'
import { controlPlace, prepareControlPlace } from '../../../src/daemon/control/place.ts'
import { controlRoutes } from '../../../src/daemon/control/routes/index.ts'
import { type ControlServer, startControlServer } from '../../../src/daemon/control/server.ts'
import { writeToken } from '../../../src/daemon/control/token.ts'
import { openRuntime, type Runtime } from '../../../src/daemon/runtime.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../../src/transport/memory.ts'
import { testDevice, testIdentity } from '../../mesh/fixtures.ts'
import type { FuzzTarget } from '../mutate.ts'

// ---- configuration

let home = ''
async function openHome(): Promise<void> {
  home = await realpath(await mkdtemp(join(tmpdir(), 'kith-fuzz-')))
}
async function closeHome(): Promise<void> {
  await rm(home, { recursive: true, force: true })
}

const TOML = [
  'listen = ["tcp://0.0.0.0:4433", "quic://[::]:4433"]\n[link]\nprefer = ["tcp", "quic"]\nrequire_pq = true\n',
  '[discovery]\nmdns = false\nhome_networks = ["192.168.1.0/24"]\n[shutdown]\ndrain = "5s"\n[log]\nlevel = "debug"\nmax_bytes = 65536\nkeep = 0\n',
  'link.require_pq = false # comment\n"log".keep = 1_0\n',
]

/** Without the names that the input made up. */
function configReason({ details }: KithError): string {
  if (details.expected !== undefined) return `${details.path}: ${details.expected}`
  return details.nearest === undefined ? 'no TOML' : 'no setting'
}

const configToml: FuzzTarget = {
  name: 'config-toml',
  seeds: [...TOML.map((text) => utf8(text)), new Uint8Array(0)],
  codes: ['CONFIG_INVALID'],
  reason: configReason,
  tokens: [
    ...SETTING_PATHS,
    '__proto__',
    'constructor',
    '[',
    ']',
    '[[',
    '"""',
    "'''",
    '= ',
    '{ ',
    '}',
    '1979-05-27T07:32:00Z',
    'inf',
    'nan',
    '0x',
    '\\u0000',
    '10s',
    '-1',
    'true',
    '\n',
  ].map((text) => utf8(text)),
  arbitrary: fc
    .array(fc.tuple(fc.constantFrom(...SETTING_PATHS, 'x', '__proto__.x'), fc.jsonValue()), { maxLength: 5 })
    .map((lines) => utf8(lines.map(([path, value]) => `${path} = ${JSON.stringify(value)}`).join('\n'))),
  open: openHome,
  close: closeHome,
  async run(input) {
    await writeFile(configFile(home), input)
    const { values, sources } = await loadConfig({ home, env: {} })
    assert.deepEqual(Object.keys(values).sort(), [...SETTING_PATHS].sort())
    assert.equal(({} as { polluted?: unknown }).polluted, undefined)
    return `${SETTING_PATHS.filter((path) => sources[path] === 'file').length}`
  },
  iterations: 4_000,
}

/** Lines `NAME=VALUE`, as an environment. */
const configEnvironment: FuzzTarget = {
  name: 'config-environment',
  seeds: [
    'KITH_LOG_LEVEL=warn\nKITH_LISTEN=tcp://127.0.0.1:1,tcp://127.0.0.1:2',
    'KITH_SHUTDOWN_DRAIN=1.5s\nKITH_LINK_REQUIRE_PQ=1\nPATH=/bin',
    'KITH_LOG_KEEP=7',
  ].map((text) => utf8(text)),
  codes: ['CONFIG_INVALID'],
  reason: configReason,
  tokens: ['KITH_', 'LOG_MAX_BYTES', '=', ',', '\n', '://', ':0', '[::]', '10m', 'true'].map((text) => utf8(text)),
  open: openHome,
  close: closeHome,
  async run(input) {
    const env = Object.fromEntries(
      Buffer.from(input)
        .toString('utf8')
        .split('\n')
        .map((line) => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]),
    )
    const { sources } = await loadConfig({ home, env })
    return `${SETTING_PATHS.filter((path) => sources[path] === 'environment').length}`
  },
  iterations: 4_000,
}

const durations: FuzzTarget = {
  name: 'duration',
  seeds: ['10s', '1.5m', '250ms', '30d', '0s'].map((text) => utf8(text)),
  codes: [],
  run(input) {
    const ms = parseDuration(Buffer.from(input).toString('utf8'))
    if (ms === undefined) return 'refused'
    assert.ok(Number.isSafeInteger(ms) && ms >= 0)
    assert.equal(parseDuration(formatDuration(ms)), ms)
    return 'taken'
  },
}

// ---- control interface

const TOKEN = '@TOKEN@'
const bob = testDevice(testIdentity('bob'), 'bob')
/** What would end the server, or takes seconds of scrypt each: not a matter of parsing. */
const NOT_HERE: readonly string[] = ['/v1/identity/']

function get(path: string, query = ''): string {
  return `GET ${path}${query} HTTP/1.1\r\nhost: kith\r\nauthorization: Bearer ${TOKEN}\r\nconnection: close\r\n\r\n`
}
function post(path: string, body: object | string): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return `POST ${path} HTTP/1.1\r\nhost: kith\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`
}

const REQUESTS: readonly string[] = [
  get('/v1/status'),
  get('/v1/health'),
  get('/v1/logs', '?count=3&level=info'),
  get('/v1/identity'),
  get('/v1/invites'),
  get('/v1/peers'),
  get('/v1/network/peers'),
  get('/v1/network/stats'),
  get('/v1/network/status'),
  get('/v1/policy'),
  post('/v1/config/reload', {}),
  post('/v1/invites', { class: 'known', expires_ms: 60_000, uses: 1, trust_ticket: false }),
  post('/v1/invites', { expires_ms: Number.MAX_SAFE_INTEGER }),
  post('/v1/invites', { uses: Number.MAX_SAFE_INTEGER }),
  post('/v1/invites/revoke', { id: '00112233' }),
  post('/v1/join', { ticket: 'kith1abc', name: 'x' }),
  post('/v1/confirm', { peer: 'bob' }),
  post('/v1/peers/add', { did: bob.did, urls: ['tcp://127.0.0.1:1'], name: 'bob' }),
  post('/v1/peers/rename', { peer: 'bob', name: 'rob' }),
  post('/v1/peers/forget', { peer: 'rob' }),
  post('/v1/ping', { peer: bob.did, count: 1 }),
  post('/v1/why', { peer: bob.did, action: 'forward', target: 'localhost:1' }),
  post('/v1/network/dial', { peer: bob.did, url: 'tcp://127.0.0.1:1' }),
  post('/v1/policy/allow', { peer: bob.did, action: 'forward', target: 'localhost:5432' }),
  post('/v1/policy/deny', { peer: '*', action: 'file' }),
  post('/v1/policy/test', { peer: bob.did, action: 'forward', target: 'localhost:5432' }),
  get('/v1/metrics'),
  get('/v1/topics'),
  get('/v1/subscribe', '?topic=news&replay=true'),
  get('/v1/trust'),
  get('/v1/audit', '?limit=3&before=9'),
  get('/v1/outbox', '?limit=3'),
  get('/v1/mailbox'),
  post('/v1/topics/create', { name: 'news', access: 'list', members: [bob.did] }),
  post('/v1/topics/create', { name: 'open:1', access: 'open' }),
  post('/v1/publish', { topic: 'news', data: 'aGVsbG8=' }),
  post('/v1/topics/remove', { name: 'news' }),
  post('/v1/trust/show', { peer: bob.did }),
  post('/v1/trust/set', { peer: bob.did, weight: 0.25 }),
  post('/v1/trust/set', { peer: bob.did, class: 'partner' }),
  post('/v1/trust/attest', { peer: bob.did, weight: 1, labels: ['baker'] }),
  post('/v1/trust/revoke', { peer: bob.did }),
  post('/v1/trust/graph', { peer: bob.did }),
  post('/v1/trust/ban', { peer: bob.did, reason: 'x', for_ms: 1_000 }),
  post('/v1/trust/unban', { peer: bob.did, reason: 'x' }),
  post('/v1/trust/pardon', { peer: bob.did, reason: 'x' }),
  post('/v1/audit/verify', { noted: `1:${'0'.repeat(64)}` }),
  post('/v1/tell', { peer: bob.did, data: 'aGVsbG8=', life_ms: 60_000, wait_ms: 0 }),
  post('/v1/messages/read', { cursors: [1, 2] }),
  post('/v1/messages/delete', { id: '0011223344556677' }),
  post('/v1/mailbox/host', { peer: bob.did }),
  post('/v1/mailbox/unhost', { peer: bob.did }),
  post('/v1/mailbox/use', { peers: [bob.did] }),
]

let server: ControlServer
let token = ''
let assembly: Assembly
let runtime: Runtime

async function openControl(): Promise<void> {
  await openHome()
  const device = testDevice(testIdentity('ann'), 'ann')
  // Addresses are mutated too: only a network inside this process is ever dialled.
  const transport = createMemoryTransport({ network: createMemoryNetwork(), signer: device.linkSigner, random: systemRandom, clock: systemClock })
  assembly = await createAssembly({
    device,
    store: createMemoryStore(),
    transports: [transport],
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    interfaces: () => [],
  })
  const { mesh } = assembly
  await mesh.listen('memory://ann')
  runtime = await openRuntime({ home, env: {}, control: false, start: false })
  const own: { readonly [name: string]: unknown } = { mesh, assembly, stop: async () => {}, logger: silentLogger }
  const context = new Proxy(runtime as NodeContext, {
    get(target, name) {
      if (Object.hasOwn(own, name)) return own[String(name)]
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const place = controlPlace(home)
  await prepareControlPlace(place)
  token = await writeToken(place.token, systemRandom)
  server = await startControlServer({ place, token, routes: controlRoutes, context, logger: silentLogger })
}

async function closeControl(): Promise<void> {
  await server.close()
  await assembly.close()
  await runtime.close()
  await closeHome()
}

/** Sends bytes as they are; whatever comes back until the server ends, or says nothing more for a while. */
function exchange(bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(server.socket)
    let text = ''
    const quiet = systemClock.after(150, () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      quiet.cancel()
      resolve(text)
    })
    socket.end(bytes)
  })
}

/** Fields of requests, whichever. */
const FIELDS = 'peer action target did urls name id ticket count uses expires_ms class topic data weight labels reason members'.split(' ')

const control: FuzzTarget = {
  name: 'control',
  seeds: REQUESTS.map((text) => utf8(text)),
  codes: [],
  tokens: [
    'GET ',
    'POST ',
    ' HTTP/1.1\r\n',
    '\r\n\r\n',
    '\r\n',
    'content-length: ',
    'transfer-encoding: chunked\r\n',
    'expect: 100-continue\r\n',
    'upgrade: websocket\r\n',
    '0\r\n\r\n',
    '{"',
    '":',
    '[]',
    'null',
    '-1',
    '1e400',
    '9007199254740991',
    '"__proto__"',
    '%00',
    '..',
    '?',
    '&follow=true',
    TOKEN,
    'kith1',
  ].map((text) => utf8(text)),
  arbitrary: fc
    .tuple(fc.constantFrom(...Object.keys(controlRoutes)), fc.jsonValue(), fc.array(fc.tuple(fc.constantFrom(...FIELDS), fc.jsonValue())))
    .map(([key, value, fields]) => {
      const [method, path = ''] = key.split(' ')
      return utf8(
        method === 'GET'
          ? get(path, `?${fields.map(([name, item]) => `${name}=${encodeURIComponent(JSON.stringify(item))}`).join('&')}`)
          : post(path, fields.length === 0 ? JSON.stringify(value) : Object.fromEntries(fields)),
      )
    }),
  open: openControl,
  close: closeControl,
  async run(input) {
    const text = Buffer.from(input).toString('latin1')
    if (NOT_HERE.some((path) => text.includes(path))) return 'left out'
    const whole = await exchange(Buffer.from(text.replaceAll(TOKEN, token), 'latin1'))
    const answer = whole.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '')
    if (answer === '') return 'silence'
    const status = /^HTTP\/1\.1 ([0-9]{3}) /.exec(answer)?.[1]
    assert.ok(status !== undefined, answer.slice(0, 200))
    assert.notEqual(status, '500', answer)
    assert.ok(!answer.includes(token), 'the token came back')
    if (!status.startsWith('2') && !/^(HEAD|OPTIONS)/.test(text)) assert.match(answer, /"error":\{"code":"[A-Z_]+","message":/, 'a failure in another shape')
    const code = /"error":\{"code":"([A-Z_]+)"/.exec(answer)?.[1]
    assert.ok(code === undefined || Object.hasOwn(ERROR_TABLE, code), answer.slice(0, 300))
    assert.notEqual(code, 'INTERNAL', answer)
    return `${status} ${code ?? ''}`
  },
  iterations: 2_500,
  seconds: 12,
}

const BODIES: readonly (readonly [string, object])[] = REQUESTS.filter((text) => text.startsWith('POST')).map((text) => [
  text.split(' ')[1] as string,
  JSON.parse(text.slice(text.indexOf('\r\n\r\n'))) as object,
])

/** `u8 route | JSON text`: a request that is whole, with whatever body. */
const controlBody: FuzzTarget = {
  ...control,
  name: 'control-body',
  seeds: BODIES.map(([, body], route) => Buffer.concat([Uint8Array.of(route), utf8(JSON.stringify(body))])),
  tokens: [
    '{"',
    '":',
    '","',
    '[]',
    'null',
    '-1',
    '1e400',
    '9007199254740991',
    '8.64e15',
    '"__proto__":',
    '\\ud800',
    '\\u0000',
    'localhost',
    ':0',
    '*',
    'memory://ann',
    bob.did,
  ].map((text) => utf8(text)),
  arbitrary: fc
    .tuple(fc.nat(BODIES.length - 1), fc.dictionary(fc.constantFrom(...FIELDS), fc.jsonValue()))
    .map(([route, body]) => Buffer.concat([Uint8Array.of(route), utf8(JSON.stringify({ ...BODIES[route]?.[1], ...body }))])),
  run(input) {
    const [path = ''] = BODIES[(input[0] ?? 0) % BODIES.length] ?? []
    const head = post(path, '').replace(/content-length: 0/, `content-length: ${Math.max(0, input.length - 1)}`)
    return control.run(Buffer.concat([utf8(head), input.subarray(1)]))
  },
}

export const daemonTargets: readonly FuzzTarget[] = [configToml, configEnvironment, durations, control, controlBody]

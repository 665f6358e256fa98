import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { untilPartial } from '../first-five-minutes/files.ts'
import { createStage, errorOf, type Stage } from './support.ts'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
const MIB = 1_048_576
let stage: Stage
let web: Server
let port = 0
const dids = { alice: '', bob: '' }
const on = (name: string, ...args: string[]): string[] => [...args, '--home', stage.home(name)]

before(async () => {
  stage = await createStage()
  web = createServer((_request, response) => response.end('from alice')).listen(0, '127.0.0.1')
  await once(web, 'listening')
  port = (web.address() as AddressInfo).port
  for (const name of ['alice', 'bob'] as const) {
    dids[name] = (await stage.json<{ did: string }>(on(name, 'init', '--name', name))).did
    await stage.up(stage.home(name))
  }
})
after(async () => {
  await stage.close()
  web.close()
})

async function ended(child: ChildProcess): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  const [status] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  return { status, ...output }
}

test('kith invite | kith join -, in one line, pairs: the ticket alone goes through the pipe', async () => {
  const { status, stdout, stderr } = await stage.shell('kith --home alice invite | kith --home bob join -')
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^paired with alice {2}did:icn:z/)
  assert.doesNotMatch(stdout, /next:/)
  assert.match(stderr, /On the other machine: kith join -/)
  assert.match(stderr, /next: node .*kith\.mjs status --home bob/)
})

test('forward, refused, exits 4 and names the command; typed on the other machine as printed, it works', async () => {
  const wanted = on('bob', 'forward', `alice:localhost:${port}`, '--local', '127.0.0.1:0')
  const refused = await stage.kith(wanted)
  assert.equal(refused.status, 4, refused.stderr)
  assert.match(refused.stderr, /^error\[FORWARD_DENIED\] This node may not reach localhost:\d+ through alice\.$/m)
  const printed = /^next: on the other machine: (kith allow .*)$/m.exec(refused.stderr)?.[1] ?? ''
  assert.equal(printed, `kith allow ${dids.bob} forward localhost:${port}`)
  const allowed = await stage.shell(printed, { KITH_HOME: stage.home('alice') })
  assert.equal(allowed.status, 0, allowed.stderr)
  const made = await stage.json<{ id: string; local: string; peer: string; name: string; target: string }>(wanted)
  assert.deepEqual({ ...made, id: '', local: '' }, { ...made, id: '', local: '', peer: dids.alice, name: 'alice', target: `localhost:${port}` })
  assert.equal(await (await fetch(`http://${made.local}/`)).text(), 'from alice')
  const { tunnels } = await stage.json<{ tunnels: { id: string; total: number }[] }>(on('bob', 'tunnels'))
  assert.deepEqual(
    tunnels.map(({ id, total }) => [id, total]),
    [[made.id, 1]],
  )
  const shown = await stage.kith(on('bob', 'tunnels'))
  assert.match(shown.stdout, new RegExp(`^${made.id} +127\\.0\\.0\\.1:\\d+ +alice +localhost:${port} `, 'm'))
  assert.match((await stage.kith(on('bob', 'status'))).stdout, new RegExp(`${made.local} +alice`))
  assert.equal((await stage.json(on('bob', 'tunnels', 'close', made.id))).closed, true)
  const gone = await stage.kith(on('bob', 'tunnels', 'close', made.id, '--json'))
  assert.equal(errorOf(gone.stderr).code, 'NOT_FOUND')
})

test('forward, both nodes on one machine and the server not up yet, leaves the port to the server', async () => {
  const server = createServer((_request, response) => response.end('late')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const late = (server.address() as AddressInfo).port
  await new Promise((resolve) => server.close(resolve))
  await stage.json(on('alice', 'allow', 'bob', 'forward', `localhost:${late}`))
  const { stdout, stderr } = await stage.kith(on('bob', 'forward', `alice:localhost:${late}`))
  const local = /^(127\.0\.0\.1:\d+) {2}->/.exec(stdout)?.[1] ?? ''
  assert.notEqual(local, `127.0.0.1:${late}`)
  assert.match(stderr, new RegExp(`^Port ${late} is taken on this machine`))
  await once(server.listen(late, '127.0.0.1'), 'listening')
  try {
    assert.equal(await (await fetch(`http://${local}/`)).text(), 'late')
  } finally {
    server.closeAllConnections()
    server.close()
  }
  await stage.json(on('bob', 'tunnels', 'close', (await stage.kith(on('bob', 'tunnels', '--quiet'))).stdout.trim()))
})

test('forward, by DID, with --quiet, prints the local address alone', async () => {
  const { status, stdout, stderr } = await stage.kith(on('bob', 'forward', `${dids.alice}:localhost:${port}`, '--quiet'))
  assert.equal(status, 0, stderr)
  // The same number is taken by the server itself, so any free port is.
  assert.match(stdout, /^127\.0\.0\.1:\d+\n$/)
  assert.equal(stderr, '')
  assert.equal(await (await fetch(`http://${stdout.trim()}/`)).text(), 'from alice')
  const ids = (await stage.kith(on('bob', 'tunnels', '--quiet'))).stdout
  assert.match(ids, /^f\d+\n$/)
  await stage.json(on('bob', 'tunnels', 'close', ids.trim()))
})

test('forward, mistakes, have their codes and statuses', async () => {
  const cases: [string[], number, string][] = [
    [['forward', 'alice:8080'], 2, 'USAGE'],
    [['forward', 'alice:bad_host!:80'], 2, 'FORWARD_TARGET'],
    [['forward', 'nobody:localhost:80'], 1, 'PEER_UNKNOWN'],
    [['forward', `alice:localhost:${port}`, '--local', '0.0.0.0:0'], 4, 'BIND_REFUSED'],
    [['forward', `alice:localhost:${port}`, '--local', `127.0.0.1:${port}`], 1, 'ADDRESS_IN_USE'],
  ]
  for (const [args, status, code] of cases) {
    const outcome = await stage.kith(on('bob', ...args, '--json'))
    assert.equal(errorOf(outcome.stderr).code, code, args.join(' '))
    assert.equal(outcome.status, status, args.join(' '))
  }
  const open = await stage.json<{ local: string; id: string }>(on('bob', 'forward', `alice:localhost:${port}`, '--local', '0.0.0.0:0', '--allow-public-bind'))
  assert.match(open.local, /^0\.0\.0\.0:\d+$/)
  await stage.json(on('bob', 'tunnels', 'close', open.id))
})

test('send, refused, then allowed by the printed command, arrives and is in the inbox', async () => {
  const data = randomBytes(2 * MIB + 5)
  await writeFile(join(stage.folder, 'photo one.jpg'), data)
  const refused = await stage.kith(on('bob', 'send', 'alice', 'photo one.jpg'))
  assert.equal(refused.status, 4, refused.stderr)
  const printed = /^next: on the other machine: (kith allow .*)$/m.exec(refused.stderr)?.[1] ?? ''
  assert.equal((await stage.shell(printed, { KITH_HOME: stage.home('alice') })).status, 0)
  const sent = await stage.json<{ duration_ms: number }>(on('bob', 'send', 'alice', 'photo one.jpg'))
  const sha256 = createHash('sha256').update(data).digest('hex')
  assert.deepEqual({ ...sent, duration_ms: 0 }, { bytes: data.length, sha256, duration_ms: 0, name: 'photo one.jpg', resumed: 0, providers: 1 })
  assert.equal((await stage.kith(on('bob', 'send', 'alice', 'photo one.jpg', '--quiet'))).stdout, 'photo one (1).jpg\n')
  const { inbox, files } = await stage.json<{ inbox: string; files: { name: string; from: string; from_name: string; bytes: number; sha256: string }[] }>(
    on('alice', 'inbox'),
  )
  assert.equal(inbox, join(stage.home('alice'), 'inbox'))
  assert.deepEqual(
    files.map(({ name, from, from_name, bytes, sha256: digest }) => [name, from, from_name, bytes, digest]),
    ['photo one (1).jpg', 'photo one.jpg'].map((name) => [name, dids.bob, 'bob', data.length, sha256]),
  )
  const paths = (await stage.kith(on('alice', 'inbox', '--quiet', '-n', '1'))).stdout
  assert.deepEqual(await readFile(paths.trimEnd()), data)
})

test('send, no file, a folder, a name that cannot be stored, exits 1 before anything is sent', async () => {
  await writeFile(join(stage.folder, '.hidden'), 'x')
  for (const [file, code] of [
    ['nothing.bin', 'FILE_MISSING'],
    ['.', 'FILE_MISSING'],
    ['.hidden', 'FILE_NAME'],
  ] as const) {
    const { status, stderr } = await stage.kith(on('bob', 'send', 'alice', file, '--json'))
    assert.equal(status, 1, file)
    assert.equal(errorOf(stderr).code, code, file)
  }
})

test('send, Ctrl-C, exits 130 and says how to go on; --resume takes up what arrived', async () => {
  const data = randomBytes(160 * MIB)
  const sha256 = createHash('sha256').update(data).digest('hex')
  await writeFile(join(stage.folder, 'disk.img'), data)
  const env = { ...process.env, XDG_STATE_HOME: join(stage.folder, 'state'), NO_COLOR: '1' }
  const child = spawn(process.execPath, [BIN, ...on('bob', 'send', 'alice', 'disk.img')], { cwd: stage.folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const over = ended(child)
  await untilPartial(stage.home('alice'), 20 * MIB, 30_000)
  child.kill('SIGINT')
  const { status, stdout, stderr } = await over
  assert.equal(status, 130, stderr)
  assert.equal(stdout, '')
  const again = /To go on: .*kith\.mjs (send alice disk\.img --resume --home .*)$/m.exec(stderr)?.[1] ?? stderr
  const sent = await stage.json<{ bytes: number; sha256: string; resumed: number }>(again.split(' '))
  assert.ok(sent.resumed >= 16 * MIB, String(sent.resumed))
  assert.deepEqual([sent.bytes, sent.sha256], [data.length, sha256])
})

test('--quiet, every result, is the one value a program wants, and nothing else', async () => {
  const quiet = async (name: string, ...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await stage.kith(on(name, ...args, '--quiet'))
    assert.equal(stderr, '', args.join(' '))
    assert.equal(status, 0, args.join(' '))
    return stdout
  }
  assert.match(await quiet('alice', 'invite'), /^kith1\S+\n$/)
  assert.equal(await quiet('alice', 'init'), `${dids.alice}\n`)
  assert.equal(await quiet('alice', 'status'), `${dids.alice}\n`)
  assert.equal(await quiet('alice', 'id', 'show'), `${dids.alice}\n`)
  assert.equal(await quiet('bob', 'peers'), 'alice\n')
  assert.match(await quiet('bob', 'ping', 'alice'), /^\d+\.\d{3}\n$/)
  assert.match(await quiet('bob', 'why', 'alice'), /^tcp:\/\/127\.0\.0\.1:\d+\n$/)
  assert.equal(await quiet('alice', 'why', 'bob', 'file'), 'allowed\n')
  assert.match(await quiet('alice', 'policy', 'list'), /^allow did:icn:z\w+ f\w+/)
  assert.equal(await quiet('bob', 'tunnels'), '')
  assert.match(await quiet('bob', 'network', 'status'), /^tcp:\/\/127\.0\.0\.1:\d+\n$/)
  assert.match(await quiet('bob', 'config', 'show'), /^listen = \[\]\n/)
  assert.match(await quiet('bob', 'id', 'device', 'list'), /^[0-9a-f]{64}\n$/)
  assert.match(await quiet('alice', 'invite', '--list'), /^\S+\n$/)
})

test('metrics, printed, is the text that Prometheus reads, and one value with --json', async () => {
  const { status, stdout } = await stage.kith(on('alice', 'metrics'))
  assert.equal(status, 0)
  assert.match(stdout, /^# TYPE kith_links gauge\nkith_links 1$/m)
  assert.match(stdout, /^kith_service_running\{service="mesh"\} 1$/m)
  const { content_type, text } = await stage.json<{ content_type: string; text: string }>(on('alice', 'metrics'))
  assert.equal(content_type, 'text/plain; version=0.0.4; charset=utf-8')
  assert.ok(text.startsWith('# HELP '))
})

test('audit, after what the owner did, lists it, verifies, and notices a head that it does not contain', async () => {
  const { rows } = await stage.json<{ rows: { seq: number; actor: string; action: string; name: string | null; details: object }[] }>(on('alice', 'audit'))
  assert.deepEqual(rows.at(-1)?.action, 'invite.create')
  const allowed = rows.find(({ action }) => action === 'policy.allow')
  assert.deepEqual([allowed?.actor, allowed?.name, allowed?.details], ['owner', 'bob', { action: 'file' }])
  const shown = await stage.kith(on('alice', 'audit', 'list', '-n', '1'))
  assert.match(shown.stdout, new RegExp(`^${rows[0]?.seq}  \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d  owner  ${rows[0]?.action}  `))
  const head = (await stage.kith(on('alice', 'audit', 'verify', '--quiet'))).stdout.trimEnd()
  const verified = await stage.json(on('alice', 'audit', 'verify', '--noted', head))
  assert.deepEqual([verified.ok, verified.rows, verified.broken_at, `${verified.last}:${verified.head}`], [true, rows.length, null, head])
  const other = await stage.kith(on('alice', 'audit', 'verify', '--noted', `1:${'0'.repeat(64)}`))
  assert.equal(other.status, 1)
  assert.match(other.stdout, /^broken {2}row 1 does not follow/)
  const bad = await stage.kith(on('alice', 'audit', 'verify', '--noted', 'x', '--json'))
  assert.deepEqual([bad.status, errorOf(bad.stderr).code], [2, 'USAGE'])
})

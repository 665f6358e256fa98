import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openNode } from '../../src/cli/commands/up/handler.ts'
import { spec as upSpec } from '../../src/cli/commands/up/index.ts'
import type { CommandContext } from '../../src/cli/context.ts'
import { parse } from '../../src/cli/parse.ts'
import { Secret } from '../../src/core/secret.ts'
import { didOfPhrase } from '../../src/daemon/identity/setup.ts'
import type { Runtime } from '../../src/daemon/runtime.ts'
import { runInside } from './inside.ts'
import type { Outcome } from './support.ts'

let folder: string
let env: NodeJS.ProcessEnv
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-doors-')))
  env = { XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  const made = await kith('init', '--name', 'desk', '--no-passphrase')
  assert.equal(made.status, 0, made.stderr)
})
after(() => rm(folder, { recursive: true, force: true }))

const kith = (...args: string[]): Promise<Outcome> => runInside([...args, '--home', 'node'], { cwd: folder, env })
const errorOf = ({ stderr }: Outcome): { code: string; message: string; next: string; details: Record<string, unknown> } => JSON.parse(stderr).error
const settle = (text: string): Promise<void> => writeFile(join(folder, 'node', 'config.toml'), text)

async function up(...flags: string[]): Promise<Runtime> {
  const parsed = parse(upSpec, flags)
  assert.ok(parsed.kind === 'run')
  return await openNode({ home: join(folder, 'node'), env } as CommandContext, parsed.options)
}

const QUIET = 'listen = ["tcp://127.0.0.1:0"]\n[discovery]\nmdns = false\n'

test('status, doors open, shows each of them, plainly and as JSON; up --no-gateway leaves the gateway closed', async () => {
  const socket = join(folder, 'calls.sock')
  await settle(`${QUIET}[gateway]\nlisten = "127.0.0.1:0"\nraw_listen = "127.0.0.1:0"\nraw_socket = "${socket}"\n[ssh]\nlisten = "127.0.0.1:0"\n`)
  const node = await up()
  try {
    const told = JSON.parse((await kith('status', '--json')).stdout)
    assert.match(told.gateway, /^http:\/\/127\.0\.0\.1:\d+$/)
    assert.match(told.raw.listen, /^127\.0\.0\.1:\d+$/)
    assert.equal(told.raw.socket, socket)
    assert.match(told.ssh.listen, /^127\.0\.0\.1:\d+$/)
    assert.equal(told.ssh.sessions, 0)
    assert.equal(told.front, null)
    const refused = (await (await fetch(`${told.gateway}/v1/node/about`)).json()) as { error: { code: string; next: string } }
    assert.deepEqual([refused.error.code, refused.error.next], ['GATEWAY_UNAUTHORIZED', 'on the node: kith access key add NAME --scope SCOPE'])
    const { stdout } = await kith('status')
    assert.match(stdout, new RegExp(`^gateway +${told.gateway}$`, 'm'))
    assert.match(stdout, new RegExp(`^raw calls +${told.raw.listen} {2}${socket}$`, 'm'))
    assert.match(stdout, new RegExp(`^ssh +${told.ssh.listen}$`, 'm'))
  } finally {
    await node.close()
  }
  const closed = await up('--no-gateway')
  try {
    const told = JSON.parse((await kith('status', '--json')).stdout)
    assert.equal(told.gateway, null)
    assert.equal(told.raw.socket, socket, 'the other doors stay as configured')
    assert.doesNotMatch((await kith('status')).stdout, /^gateway/m)
  } finally {
    await closed.close()
  }
})

test('a forward to what is no port, exit 2 and say what a port is; an operation that is not there, exit 1 and say where to look', async () => {
  await settle(QUIET)
  const node = await up()
  try {
    const did = 'did:icn:zCKqgY5BKEZ7G1rNw47iP7xzbRUxXnXcvE3m6Uu5dWsJc'
    assert.equal((await kith('peers', 'add', did, '--name', 'laptop')).status, 0)
    const port = await kith('forward', 'laptop:localhost:99999', '--json')
    assert.equal(port.status, 2)
    assert.equal(errorOf(port).code, 'FORWARD_TARGET')
    assert.match(errorOf(port).message, /^99999 is no port of a target: ports go from 1 to 65535\.$/)
    const text = await kith('forward', 'laptop:localhost:80', '--local', 'here', '--json')
    assert.equal(text.status, 2)
    assert.match(errorOf(text).message, /is written HOST:PORT/)

    const short = await kith('ops', 'laptop', '--schema', 'nix', '--json')
    assert.equal(short.status, 2)
    assert.equal(errorOf(short).next, 'kith ops laptop --home node')
    const unknown = await kith('ops', '--schema', 'notes/nix', '--json')
    assert.equal(unknown.status, 1)
    assert.equal(errorOf(unknown).code, 'CALL_UNKNOWN')
    assert.equal(errorOf(unknown).next, 'kith ops --home node')
    const again = await kith('init')
    assert.match(again.stderr, /^next: kith status --home node$/m, 'it runs already')
    const over = await kith('init', '--restore', '--json')
    assert.equal(errorOf(over).code, 'IDENTITY_EXISTS', 'what was asked for is not left out without a word')
    assert.match((await kith('access', 'ssh', 'list')).stdout, /kith access ssh add FILE --home node/)
  } finally {
    await node.close()
  }
})

test('config, a file that is not valid, is told with its line and what may stand there, by a command that works', async () => {
  const cases: [string, number, RegExp, RegExp, string][] = [
    [
      '[gateway]\n\nlistn = "x"\n',
      3,
      /^gateway\.listn in line 3 of .*config\.toml is not a setting; did you mean gateway\.listen\?$/,
      /^gateway\.listn$/,
      'gateway.listen ',
    ],
    ['nonsense = 1\n', 1, /^nonsense in line 1 of .* is not a setting\.$/, /^nonsense$/, ''],
    ['name = "x"\nssh.listen = 5\n', 1, /^name in line 1 /, /^name$/, ''],
    ['[ssh]\nlisten = 5\n', 2, /^ssh\.listen in line 2 of .* is not valid: expected ADDRESS:PORT\.$/, /^ssh\.listen$/, 'ssh.listen '],
    ['[[forward]]\nname = 5\n', 1, /^forward\.0\.\w+ in line 1 of .* is not valid: /, /^forward\.0/, 'forward '],
  ]
  for (const [text, line, message, path, shown] of cases) {
    await settle(text)
    const failed = await kith('config', 'check', '--json')
    assert.equal(failed.status, 2, text)
    assert.match(errorOf(failed).message, message)
    assert.match(String(errorOf(failed).details.path), path)
    assert.equal(errorOf(failed).details.line, line, text)
    if (shown !== '' || text.startsWith('nonsense')) assert.equal(errorOf(failed).next, `kith config show ${shown}--defaults --home node`)
    const [, ...next] = errorOf(failed).next.split(' ')
    assert.equal((await runInside(next, { cwd: folder, env })).status, 0, 'the command that is named works')
  }
  await settle('listen = [\n')
  const broken = await kith('config', 'check', '--json')
  assert.match(errorOf(broken).message, /^The configuration is not valid TOML at line \d+, column \d+ of .*config\.toml: \w/)
  await settle('')
  const one = await kith('config', 'show', 'ssh.listen', '--quiet')
  assert.equal(one.stdout, 'ssh.listen = ""\n')
  assert.match((await kith('config', 'show', 'gateway')).stdout, /^gateway\.listen = ""/m)
  const wrong = await kith('config', 'show', 'ssh.listn', '--json')
  assert.equal(wrong.status, 2)
  assert.equal(errorOf(wrong).next, 'kith config show ssh.listen --defaults --home node')
  const flag = await kith('up', '--gateway', '0.0.0.0:1', '--json')
  assert.match(errorOf(flag).message, /^gateway\.listen in --gateway is not valid: expected a loopback address/)
})

test('a command line that is not understood, with a home, names the next command for that home', async () => {
  const failed = await kith('status', '--jsno')
  assert.equal(failed.status, 2)
  assert.match(failed.stderr, /^next: kith status --help --home node$/m)
  assert.match((await runInside(['--home=x y', 'stauts'], { cwd: folder, env })).stderr, /^next: kith --help --home 'x y'$/m)
})

test('init --restore --phrase-file, a file of its owner, gives the identity of the phrase; one that others can read is refused', async () => {
  const words = `${'abandon '.repeat(23)}art\n`
  const file = join(folder, 'words')
  await writeFile(file, words, { mode: 0o600 })
  const init = (home: string, ...args: string[]): Promise<Outcome> => runInside(['init', '--no-passphrase', '--home', home, ...args], { cwd: folder, env })
  const made = await init('again', '--restore', '--phrase-file', 'words', '--json')
  assert.equal(made.status, 0, made.stderr)
  using phrase = Secret.take(Buffer.from(words.trim()))
  assert.equal(JSON.parse(made.stdout).did, didOfPhrase(phrase))
  await chmod(file, 0o644)
  assert.equal(errorOf(await init('other', '--restore', '--phrase-file', 'words', '--json')).code, 'HOME_UNSAFE')
  assert.equal(errorOf(await init('other', '--restore', '--phrase-file', 'none', '--json')).code, 'FILE_MISSING')
  assert.equal(errorOf(await init('other', '--phrase-file', 'words', '--json')).code, 'USAGE')
})

test('up, the port of a door taken by another program, says which door and where', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  await settle(`${QUIET}[gateway]\nlisten = "127.0.0.1:${port}"\n[ssh]\nlisten = "127.0.0.1:${port}"\n`)
  const node = await up()
  try {
    const told = node.status().degraded.map(({ service, code, message }) => [service, code, message])
    assert.deepEqual(told, [
      ['gateway', 'ADDRESS_IN_USE', `The gateway cannot listen on 127.0.0.1:${port}: another program does.`],
      ['ssh', 'ADDRESS_IN_USE', `The SSH door cannot listen on 127.0.0.1:${port}: another program does.`],
    ])
  } finally {
    other.close()
    await node.close()
  }
})

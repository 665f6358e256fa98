import assert from 'node:assert/strict'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { createStage, errorOf, type Stage } from './support.ts'

let stage: Stage
before(async () => {
  stage = await createStage()
})
after(() => stage.close())

test('up, no identity, runs degraded, answers, and init makes it whole without a restart', async () => {
  const home = stage.home('fresh')
  const node = await stage.up(home)
  assert.equal(node.ready.did, null)
  assert.deepEqual(
    node.ready.degraded.map(({ code }) => code),
    ['IDENTITY_MISSING'],
  )
  assert.match(node.ready.degraded[0]?.next ?? '', /init --home/)
  const invite = await stage.kith(['invite', '--home', home, '--json'])
  assert.equal(invite.status, 3)
  assert.equal(errorOf(invite.stderr).code, 'IDENTITY_MISSING')
  const made = await stage.json(['init', '--home', home, '--name', 'late'])
  assert.equal(made.created, true)
  const status = await stage.json<{ did: string; degraded: unknown[]; listen: string[] }>(['status', '--home', home])
  assert.equal(status.did, made.did)
  assert.deepEqual(status.degraded, [])
  assert.equal(status.listen.length, 1)
  node.process.kill('SIGTERM')
  assert.equal(await node.exited, 0)
})

test('up, keys locked, runs degraded until unlocked', async () => {
  const home = stage.home('locked')
  const file = stage.home('locked-secret')
  await writeFile(file, 'open sesame\n', { mode: 0o600 })
  const made = await stage.json(['init', '--home', home, '--passphrase-file', file])
  const node = await stage.up(home)
  assert.equal(node.ready.did, made.did)
  assert.deepEqual(
    node.ready.degraded.map(({ code }) => code),
    ['IDENTITY_LOCKED'],
  )
  await writeFile(`${file}.wrong`, 'open barley\n', { mode: 0o600 })
  const wrong = await stage.kith(['id', 'unlock', '--home', home, '--passphrase-file', `${file}.wrong`, '--json'])
  assert.equal(errorOf(wrong.stderr).code, 'PASSPHRASE_WRONG')
  const unlocked = await stage.json(['id', 'unlock', '--home', home, '--passphrase-file', file])
  assert.equal(unlocked.did, made.did)
  const log = await readFile(`${home}/log/kith.log`, 'utf8')
  assert.doesNotMatch(log, /sesame|barley/)
  node.process.kill('SIGINT')
  assert.equal(await node.exited, 0)
})

test('up twice on one home, the second is refused with the pid of the first', async () => {
  const home = stage.home('twice')
  await stage.json(['init', '--home', home])
  const node = await stage.up(home)
  const second = await stage.kith(['up', '--home', home, '--listen', 'tcp://127.0.0.1:0', '--json'])
  assert.equal(second.status, 1)
  assert.equal(errorOf(second.stderr).code, 'HOME_IN_USE')
  assert.equal(errorOf(second.stderr).details.pid, node.ready.pid)
  assert.deepEqual(await stage.json(['down', '--home', home]), { stopped: true, pid: node.ready.pid })
  assert.equal(await node.exited, 0)
})

test('node, killed without warning, starts again with the same identity, peers and rules', async () => {
  const home = stage.home('killed')
  const { did } = await stage.json(['init', '--home', home])
  const other = await stage.json(['init', '--home', stage.home('someone')])
  const node = await stage.up(home)
  await stage.json(['peers', 'add', other.did as string, 'tcp://127.0.0.1:9', '--name', 'friend', '--home', home])
  await stage.json(['allow', 'friend', 'forward', 'localhost:5432', '--home', home])
  process.kill(node.ready.pid, 'SIGKILL')
  await node.exited
  assert.ok((await stat(node.ready.control)).isSocket(), 'the socket of the killed process is still there')
  assert.equal((await stage.kith(['status', '--home', home])).status, 3)
  const again = await stage.up(home)
  assert.equal(again.ready.did, did)
  const { peers } = await stage.json<{ peers: { name: string; did: string }[] }>(['peers', '--home', home])
  assert.deepEqual(
    peers.map((peer) => [peer.name, peer.did]),
    [['friend', other.did]],
  )
  const { rules } = await stage.json<{ rules: object[] }>(['policy', 'list', '--home', home])
  const conditions = { via: null, between: null, until: null }
  assert.deepEqual(rules, [{ effect: 'allow', principal: other.did, name: 'friend', action: 'forward', target: 'localhost:5432', ...conditions }])
  await stage.json(['down', '--home', home])
})

test('up --detach, returns when ready, and down stops it', async () => {
  const home = stage.home('detached')
  await stage.json(['init', '--home', home])
  const ready = await stage.json<{ event: string; pid: number; listen: string[] }>(['up', '--detach', '--home', home, '--listen', 'tcp://127.0.0.1:0'])
  assert.equal(ready.event, 'ready')
  const status = await stage.json(['status', '--home', home])
  assert.equal(status.pid, ready.pid)
  const second = await stage.kith(['up', '--detach', '--home', home, '--json'])
  assert.equal(errorOf(second.stderr).code, 'HOME_IN_USE')
  assert.deepEqual(await stage.json(['down', '--home', home]), { stopped: true, pid: ready.pid })
})

test('up, address taken, is degraded and says which; doctor names the port', async () => {
  const home = stage.home('taken')
  await stage.json(['init', '--home', home])
  const server = createServer()
  const port = await new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)))
  try {
    const node = await stage.up(home, ['--listen', `tcp://127.0.0.1:${port}`])
    assert.deepEqual(
      node.ready.degraded.map(({ code }) => code),
      ['ADDRESS_IN_USE'],
    )
    assert.equal(node.ready.listen.length, 1)
    await stage.json(['down', '--home', home])
    await writeFile(`${home}/config.toml`, `listen = ["tcp://127.0.0.1:${port}"]\n`)
    const doctor = await stage.kith(['doctor', '--home', home, '--json'])
    const { checks } = JSON.parse(doctor.stdout) as { checks: { name: string; ok: boolean; detail: string }[] }
    assert.match(checks.find(({ name, ok }) => name === 'ports' && !ok)?.detail ?? '', new RegExp(`:${port} is taken`))
  } finally {
    await new Promise((resolve) => server.close(resolve))
    await rm(`${home}/config.toml`, { force: true })
  }
})

test('running node, config reload and logs and health, answer', async () => {
  const home = stage.home('running')
  await stage.json(['init', '--home', home])
  await stage.up(home)
  await writeFile(`${home}/config.toml`, '[log]\nlevel = "debug"\nkeep = 9\n')
  assert.deepEqual(await stage.json(['config', 'reload', '--home', home]), { applied: ['log.level'], restart: ['log.keep'], revoked: 0, disconnected: false })
  const logs = await stage.kith(['logs', '--home', home, '--json'])
  const records = logs.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.ok(records.some((record) => record.event === 'node started'))
  const network = await stage.json(['network', 'status', '--home', home])
  assert.ok(Array.isArray(network.schemes))
  const unknown = await stage.kith(['ping', 'nobody', '--home', home, '--json'])
  assert.equal(errorOf(unknown.stderr).code, 'PEER_UNKNOWN')
  const malformed = await stage.kith(['allow', '*', 'fly', '--home', home, '--json'])
  assert.equal(malformed.status, 2)
  assert.equal(errorOf(malformed.stderr).code, 'USAGE')
  const slow = await stage.kith(['logs', '--follow', '--timeout', '300ms', '--home', home, '--json'])
  assert.equal(slow.status, 5)
  assert.equal(errorOf(slow.stderr.trim().split('\n').at(-1) ?? '').code, 'TIMEOUT')
  await stage.json(['down', '--home', home])
})

test('logs of a node that was killed, are its last words; of one that never ran, an error', async () => {
  const home = stage.home('last-words')
  await stage.json(['init', '--home', home])
  assert.equal((await stage.kith(['logs', '--home', home])).status, 3)
  const node = await stage.up(home)
  assert.match((await stage.kith(['logs', '--home', home, '--json'])).stdout, /node started/)
  process.kill(node.ready.pid, 'SIGKILL')
  await node.exited
  const { status, stdout, stderr } = await stage.kith(['logs', '--home', home, '-n', '1'])
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^\d{4}-\d\d-\d\d [\d:.]{12} info {2}node started [^\n]+\n$/)
  assert.match(stderr, /not running.*kith\.mjs up --home/)
  assert.equal((await stage.kith(['logs', '--home', home, '--level', 'error'])).status, 3)
})

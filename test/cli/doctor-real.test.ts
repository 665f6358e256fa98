import assert from 'node:assert/strict'
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createStage, type Stage } from './support.ts'

const run = promisify(execFile)
const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
const root = process.platform === 'linux' && process.getuid?.() === 0
const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

let stage: Stage
before(async () => {
  stage = await createStage()
})
after(() => stage.close())

interface Check {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
  readonly next: string | null
}

const environment = (): NodeJS.ProcessEnv => ({ ...process.env, XDG_STATE_HOME: join(stage.folder, 'state'), NO_COLOR: '1' })

/** Doctor's findings, as the real command prints them, run by way of other programs. */
async function doctor(home: string, by: readonly string[] = []): Promise<readonly Check[]> {
  const [program = '', ...args] = [...by, process.execPath, BIN, 'doctor', '--home', home, '--json']
  const { stdout } = await run(program, args, { env: environment(), timeout: 60_000 }).catch((error: { code?: unknown; stdout: string; stderr: string }) => {
    // Something is wrong, which is what status 1 says.
    if (error.code !== 1 || error.stdout === '') throw new Error(error.stderr)
    return error
  })
  return (JSON.parse(stdout) as { checks: Check[] }).checks
}

const bad = (checks: readonly Check[], name: string): Check => {
  const found = checks.find((check) => check.name === name && !check.ok)
  assert.ok(found !== undefined, JSON.stringify(checks))
  return found
}

test('doctor, port taken over TCP or over UDP, names it and what to do', async () => {
  const home = stage.home('taken')
  await stage.json(['init', '--home', home])
  const tcp = createServer().listen(0, '127.0.0.1')
  const udp = createSocket('udp4').bind(0, '127.0.0.1')
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')])
  try {
    const ports = [(tcp.address() as AddressInfo).port, udp.address().port] as const
    await writeFile(join(home, 'config.toml'), `listen = ["tcp://127.0.0.1:${ports[0]}", "quic://127.0.0.1:${ports[1]}"]\n`)
    const taken = (await doctor(home)).filter(({ name, ok }) => name === 'ports' && !ok)
    assert.deepEqual(
      taken.map(({ detail }) => detail),
      [`tcp://127.0.0.1:${ports[0]} is taken by another program`, `quic://127.0.0.1:${ports[1]} is taken by another program`],
    )
    for (const { next } of taken) assert.match(next ?? '', / up --listen .* --home /)
  } finally {
    tcp.close()
    udp.close()
  }
})

const noMemoryTest = !has('prlimit') ? 'prlimit is not installed' : root && !has('setpriv') ? 'setpriv is not installed' : false
test('doctor, memory that cannot be locked, says so and how to raise the limit', { skip: noMemoryTest, timeout: 60_000 }, async () => {
  const home = stage.home('memory')
  await stage.json(['init', '--home', home])
  assert.ok((await doctor(home)).find(({ name }) => name === 'memory') !== undefined)
  // Root may lock memory past any limit while it has this capability.
  const found = bad(await doctor(home, [...(root ? ['setpriv', '--bounding-set', '-ipc_lock'] : []), 'prlimit', '--memlock=0:0']), 'memory')
  assert.match(found.detail, /refuses to lock memory, limit 0 kB/)
  assert.match(found.next ?? '', /ulimit -l unlimited/)
})

const noNamespace = !root ? 'only root may make a network namespace' : !has('nft') || !has('ip') ? 'nft or ip is not installed' : false
test('doctor, UDP port blocked by a firewall, names the port, with the node down and up', { skip: noNamespace, timeout: 120_000 }, async () => {
  const home = stage.home('blocked')
  await stage.json(['init', '--home', home])
  const namespace = `kith-doctor-${process.pid}`
  const inside = ['ip', 'netns', 'exec', namespace]
  const port = 4433
  const rule = `table inet t { chain i { type filter hook input priority 0; udp dport ${port} drop; }; }`
  let node: ChildProcess | undefined
  execFileSync('ip', ['netns', 'add', namespace])
  try {
    execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
    await writeFile(join(home, 'config.toml'), `listen = ["tcp://127.0.0.1:${port}", "quic://127.0.0.1:${port}"]\n`)
    const udp = (checks: readonly Check[]): Check | undefined => checks.find(({ name }) => name === 'udp')
    assert.deepEqual(udp(await doctor(home, inside)), { name: 'udp', ok: true, detail: `datagrams arrive at UDP port ${port}`, next: null })
    execFileSync('ip', ['netns', 'exec', namespace, 'nft', rule])
    const down = bad(await doctor(home, inside), 'udp')
    assert.equal(down.detail, `UDP port ${port} is blocked on this machine (no answer)`)
    assert.match(down.next ?? '', /allow UDP port 4433 in the firewall/)

    const [program = '', ...args] = [...inside, process.execPath, BIN, 'up', '--home', home, '--json']
    node = spawn(program, args, { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] })
    const lines = createInterface({ input: node.stdout as NodeJS.ReadableStream })
    await once(lines, 'line', { signal: AbortSignal.timeout(30_000) })
    assert.equal(bad(await doctor(home, inside), 'udp').detail, `UDP port ${port} is blocked on this machine (no answer)`)
    execFileSync('ip', ['netns', 'exec', namespace, 'nft', 'flush', 'ruleset'])
    assert.deepEqual(udp(await doctor(home, inside)), { name: 'udp', ok: true, detail: `quic answers on UDP port ${port}`, next: null })
  } finally {
    if (node !== undefined) {
      await stage.kith(['down', '--home', home])
      node.kill('SIGKILL')
    }
    execFileSync('ip', ['netns', 'del', namespace])
  }
})

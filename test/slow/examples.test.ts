import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const FOLDER = join(import.meta.dirname, '..', '..', 'examples')
const SAID: Readonly<Record<string, string>> = {
  'echo.ts': 'hello true\n',
  'http.ts': '200 hello over kith\n',
  'forward.ts': 'from behind the other node\n',
  'call.ts': '5\n',
  'subscribe.ts': '1\n2\n3\n',
}
const TOGETHER = ['ssh-client.ts', 'ssh-server.ts']

async function temporary(t: TestContext): Promise<{ folder: string; env: NodeJS.ProcessEnv }> {
  const folder = await mkdtemp(join(tmpdir(), 'kith-examples-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return { folder, env: { ...process.env, XDG_STATE_HOME: join(folder, 'state'), TMPDIR: folder } }
}

const argv = (name: string, ...rest: string[]): string[] => ['--conditions=kith-source', join(FOLDER, name), ...rest]

test('every example, ten to twenty lines, named in its README, run here', async () => {
  const names = (await readdir(FOLDER)).filter((name) => name.endsWith('.ts')).sort()
  assert.deepEqual(names, [...Object.keys(SAID), ...TOGETHER].sort())
  const readme = await readFile(join(FOLDER, 'README.md'), 'utf8')
  for (const name of names) {
    const lines = (await readFile(join(FOLDER, name), 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('//'))
    assert.ok(lines.length <= 18, `${name} has ${lines.length} lines`)
    assert.ok(readme.includes(`\`${name}`), `${name} is not in the README`)
  }
})

for (const [name, said] of Object.entries(SAID)) {
  test(`the example ${name}, says what it should, ends by itself and leaves no identity behind`, { timeout: 50_000 }, async (t) => {
    const { folder, env } = await temporary(t)
    const { stdout } = await run(process.execPath, argv(name, folder), { env, timeout: 40_000 })
    assert.equal(stdout, said)
    const left = (await readdir(folder)).filter((entry) => entry.startsWith('kith-'))
    assert.deepEqual(left, [])
  })
}

test('the examples of SSH, carry whatever a client and a server say', { timeout: 50_000 }, async (t) => {
  const { env } = await temporary(t)
  const sshd = createServer((socket) => {
    socket.write('SSH-2.0-example\r\n')
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(sshd, 'listening')
  const server: ChildProcess = spawn(process.execPath, argv('ssh-server.ts', String((sshd.address() as AddressInfo).port)), {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(async () => {
    sshd.close()
    server.kill('SIGKILL')
    await once(server, 'exit')
  })
  const [ticket] = (await once(server.stdout as NodeJS.ReadableStream & NodeJS.EventEmitter, 'data')) as [Buffer]
  const client = spawn(process.execPath, argv('ssh-client.ts', String(ticket).trim()), { env, stdio: ['pipe', 'pipe', 'inherit'] })
  client.stdin.end('hello')
  let text = ''
  for await (const chunk of client.stdout) text += String(chunk)
  assert.equal(text, 'SSH-2.0-example\r\nhello')
})

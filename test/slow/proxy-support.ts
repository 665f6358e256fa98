import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** Real proxies, for tests that dial through them. */
const missing = ['danted', 'tinyproxy'].filter((name) => {
  try {
    execFileSync('which', [name])
    return false
  } catch {
    return true
  }
})
export const skip: string | false = missing.length > 0 && `${missing.join(' and ')} not installed`

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export async function folderOf(t: TestContext): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-proxies-')))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Until the port answers: the program has started. */
async function answers(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    assert.equal(child.exitCode, null, 'the proxy ended by itself')
    const socket = connect(port, '127.0.0.1')
    const open = await new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true)).once('error', () => resolve(false)))
    socket.destroy()
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  assert.fail('the proxy does not answer')
}

async function program(t: TestContext, port: number, name: string, args: readonly string[]): Promise<void> {
  const child = spawn(name, args, { stdio: 'ignore' })
  t.after(async () => {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  await answers(port, child)
}

export async function danted(t: TestContext, lines = ''): Promise<number> {
  const [folder, port] = [await folderOf(t), await freePort()]
  const { username } = userInfo()
  const config = `logoutput: ${folder}/log
internal: 127.0.0.1 port = ${port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: ${username}
user.unprivileged: ${username}
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks block { from: 127.0.0.0/8 to: 127.0.0.9/32 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
${lines}
`
  await writeFile(join(folder, 'danted.conf'), config)
  await program(t, port, 'danted', ['-f', join(folder, 'danted.conf'), '-p', join(folder, 'pid')])
  return port
}

export async function tinyproxy(t: TestContext, lines = ''): Promise<number> {
  const [folder, port] = [await folderOf(t), await freePort()]
  await writeFile(join(folder, 'tinyproxy.conf'), `Port ${port}\nListen 127.0.0.1\nLogFile "${folder}/log"\nPidFile "${folder}/pid"\nAllow 127.0.0.1\n${lines}`)
  await program(t, port, 'tinyproxy', ['-d', '-c', join(folder, 'tinyproxy.conf')])
  return port
}

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { freePort, reachable } from '../support/ports.ts'

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

export async function folderOf(t: TestContext): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-proxies-')))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function program(t: TestContext, port: number, name: string, args: readonly string[]): Promise<void> {
  const child = spawn(name, args, { stdio: 'ignore' })
  t.after(async () => {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  await reachable(port, child)
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

export interface LastProxy {
  readonly port: number
  readonly asked: string[]
}

/** Gone with the test, and whatever is connected to it. */
async function listening(t: TestContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    serve(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

export const echo = (t: TestContext): Promise<number> => listening(t, (socket) => void socket.pipe(socket))

/** Speaks SOCKS5 and CONNECT; whatever is asked for is the port `target` here. */
export async function lastProxy(t: TestContext, target: number): Promise<LastProxy> {
  const asked: string[] = []
  const read = async (socket: Socket, length: number): Promise<Buffer> => {
    for (;;) {
      const chunk = socket.read(length) as Buffer | null
      if (chunk !== null) return chunk
      await once(socket, 'readable')
    }
  }
  const serve = async (socket: Socket): Promise<void> => {
    const first = await read(socket, 1)
    if (first[0] === 5) {
      await read(socket, (await read(socket, 1))[0] as number)
      socket.write(Buffer.from([5, 0]))
      const kind = (await read(socket, 4))[3]
      const host = kind === 1 ? (await read(socket, 4)).join('.') : String(await read(socket, (await read(socket, 1))[0] as number))
      asked.push(`${kind === 1 ? 'address' : 'name'} ${host}:${(await read(socket, 2)).readUInt16BE()}`)
      socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
    } else {
      let head = String(first)
      while (!head.endsWith('\r\n\r\n')) head += String(await read(socket, 1))
      asked.push(`connect ${head.split(' ')[1]}`)
      socket.write('HTTP/1.1 200 OK\r\nVia: 1.1 last\r\n\r\n')
    }
    const behind = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => socket.destroy())
    socket.pipe(behind).pipe(socket)
  }
  const port = await listening(t, (socket) => void serve(socket).catch(() => socket.destroy()))
  return { port, asked }
}

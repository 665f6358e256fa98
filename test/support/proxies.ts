import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/** A server that says what it is told and keeps what it heard. */
export interface Scripted {
  readonly port: number
  readonly heard: () => Buffer
}

export async function listening(t: TestContext, onSocket: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

/** Answers the n-th piece it hears with the n-th answer, whatever the piece is; undefined ends the connection. */
export async function scripted(t: TestContext, answers: readonly (Uint8Array | undefined)[]): Promise<Scripted> {
  let heard = Buffer.alloc(0)
  const port = await listening(t, (socket) => {
    let at = 0
    socket.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk])
      const answer = answers[at++]
      if (answer === undefined) socket.end()
      else socket.write(answer)
    })
  })
  return { port, heard: () => heard }
}

export interface SmallProxy {
  readonly port: number
  /** Targets as they were asked for, in order. */
  readonly asked: readonly string[]
}

/** Where a small proxy really connects, whatever it was asked for. */
type Way = (target: string) => { readonly host: string; readonly port: number }

function joined(client: Socket, { host, port }: { readonly host: string; readonly port: number }, opened: () => void): void {
  const out = connect({ host, port, allowHalfOpen: true }, opened)
  out.on('error', () => client.destroy())
  client.on('error', () => out.destroy())
  client.pipe(out)
  out.pipe(client)
}

/** A SOCKS5 proxy of the least size: names only, no authentication unless `credentials` is given as `USER:PASSWORD`. */
export async function smallSocks(t: TestContext, way: Way, credentials?: string): Promise<SmallProxy> {
  const asked: string[] = []
  const port = await listening(t, (client) => {
    let have = Buffer.alloc(0)
    let stage: 'greeting' | 'authentication' | 'request' = 'greeting'
    const data = (chunk: Buffer): void => {
      have = Buffer.concat([have, chunk])
      if (stage === 'greeting' && have.length >= 2 + (have[1] ?? 0)) {
        have = have.subarray(2 + (have[1] as number))
        client.write(Uint8Array.of(5, credentials === undefined ? 0 : 2))
        stage = credentials === undefined ? 'request' : 'authentication'
      }
      const userEnd = 2 + (have[1] ?? 0)
      if (stage === 'authentication' && have.length > userEnd && have.length >= userEnd + 1 + (have[userEnd] as number)) {
        const end = userEnd + 1 + (have[userEnd] as number)
        const right = `${have.subarray(2, userEnd)}:${have.subarray(userEnd + 1, end)}` === credentials
        have = have.subarray(end)
        client.write(Uint8Array.of(1, right ? 0 : 1))
        if (!right) return void client.end()
        stage = 'request'
      }
      const size = have[3] === 3 ? 7 + (have[4] ?? 0) : have[3] === 1 ? 10 : 22
      if (stage !== 'request' || have.length < 5 || have.length < size) return
      const host = have[3] === 3 ? have.subarray(5, size - 2).toString() : have[3] === 1 ? have.subarray(4, 8).join('.') : have.subarray(4, 20).toString('hex')
      const target = `${host}:${have.readUInt16BE(size - 2)}`
      asked.push(target)
      client.off('data', data)
      client.pause()
      joined(client, way(target), () => client.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)))
      if (have.length > size) client.unshift(have.subarray(size))
    }
    client.on('data', data)
  })
  return { port, asked }
}

/** An HTTP proxy of the least size. */
export async function smallConnect(t: TestContext, way: Way, credentials?: string): Promise<SmallProxy> {
  const asked: string[] = []
  const port = await listening(t, (client) => {
    let have = Buffer.alloc(0)
    const data = (chunk: Buffer): void => {
      have = Buffer.concat([have, chunk])
      const end = have.indexOf('\r\n\r\n')
      if (end === -1) return
      const head = have.subarray(0, end).toString('latin1').split('\r\n')
      const basic = head.find((line) => line.startsWith('Proxy-Authorization: Basic '))?.slice(27) ?? ''
      const target = head[0]?.split(' ')[1] ?? ''
      asked.push(target)
      client.off('data', data)
      client.pause()
      if (credentials !== undefined && Buffer.from(basic, 'base64').toString() !== credentials) return void client.end('HTTP/1.1 407 Who are you\r\n\r\n')
      // A length here means nothing: RFC 9110, section 9.3.6.
      joined(client, way(target), () => client.write('HTTP/1.0 200 Connection established\r\nContent-Length: 5\r\n\r\n'))
      if (have.length > end + 4) client.unshift(have.subarray(end + 4))
    }
    client.on('data', data)
  })
  return { port, asked }
}

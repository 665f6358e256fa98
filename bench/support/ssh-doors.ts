/**
 * An SSH server that lets one key in and dials whatever it is asked for: `kith` with the door of this program, `ssh2` with the library as its documentation shows
 * it. Prints one JSON line when ready. Arguments: which, file of the host key, file of the user's public key.
 */
import { timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import ssh2 from 'ssh2'
import type { Caller } from '../../src/access/types.ts'
import { systemClock } from '../../src/core/clock.ts'
import { createLogger } from '../../src/core/observe/log.ts'
import { parseUserKey } from '../../src/ssh/client/user-key.ts'
import { createSshDoor } from '../../src/ssh/door.ts'
import { keyOfBlob } from '../../src/ssh/wire.ts'

const [which, hostKey = '', userKey = ''] = process.argv.slice(2)
const allowed = Buffer.from(readFileSync(userKey, 'utf8').split(' ')[1] ?? '', 'base64')
const ready = (address: unknown): void => void process.stdout.write(`${JSON.stringify({ port: (address as AddressInfo).port })}\n`)

function dial(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true })
    socket.once('error', reject)
    socket.once('connect', () => resolve(socket))
  })
}

function kith(): void {
  const key = keyOfBlob(allowed) as Uint8Array
  const caller: Caller = { id: 'bench', via: 'ssh-key', scopes: new Set(), resources: new Map() }
  const door = createSshDoor({
    hostKey: parseUserKey(readFileSync(hostKey, 'utf8')),
    identity: { resolve: async (shown) => (shown.kind === 'ssh-key' && timingSafeEqual(shown.key, key) ? caller : undefined) },
    dial: async ({ target }) => {
      const at = target.lastIndexOf(':')
      const stream = await dial(target.slice(0, at), Number(target.slice(at + 1)))
      return { stream, close: () => stream.destroy() }
    },
    clock: systemClock,
    logger: createLogger({ destination: { write: () => {} } }),
  })
  const server = createServer({ noDelay: true }, (socket) => door.accept(socket, { remoteAddress: '127.0.0.1', remotePort: 0, transport: 'tcp' }))
  server.listen(0, '127.0.0.1', () => ready(server.address()))
}

function plain(): void {
  const parsed = ssh2.utils.parseKey(readFileSync(userKey)) as ssh2.ParsedKey
  const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey)] }, (client) => {
    client.on('error', () => {})
    client.on('authentication', (context) => {
      if (context.method !== 'publickey' || context.key.data.length !== allowed.length || !timingSafeEqual(context.key.data, allowed)) return context.reject()
      if (context.signature !== undefined && parsed.verify(context.blob as Buffer, context.signature, context.hashAlgo) !== true) return context.reject()
      context.accept()
    })
    client.on('tcpip', (accept, reject, { destIP, destPort }) => {
      dial(destIP, destPort).then(
        (socket) => {
          const stream = accept()
          socket.on('error', () => stream.destroy())
          stream.on('error', () => socket.destroy())
          socket.pipe(stream).pipe(socket)
        },
        () => reject(),
      )
    })
  })
  server.listen(0, '127.0.0.1', () => ready(server.address()))
}

if (which === 'kith') kith()
else plain()
process.on('disconnect', () => process.exit(0))

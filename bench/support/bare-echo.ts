import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'

/** As many bytes as a small call has on the wire, each way. */
const BYTES = 200

/** Sends back whatever comes, with nothing else: what a round trip costs before anything is done with it. */
export async function serveBare(): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => socket.write(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

export interface BareClient {
  /** One round trip; one at a time. */
  call(): Promise<void>
  close(): void
}

export async function bareClient(port: number): Promise<BareClient> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const question = Buffer.alloc(BYTES, 7)
  let missing = 0
  let answered: (() => void) | undefined
  socket.on('data', (chunk) => {
    missing -= chunk.length
    if (missing === 0) answered?.()
  })
  return {
    call() {
      missing = BYTES
      return new Promise((resolve) => {
        answered = resolve
        socket.write(question)
      })
    },
    close: () => socket.destroy(),
  }
}

import { once } from 'node:events'
import { connect } from 'node:net'

/** As many bytes as a small call has on the wire, each way. */
const BYTES = 200

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

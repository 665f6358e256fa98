/** Sends back whatever comes, with nothing else: what a round trip costs before anything is done with it. Prints its port as one JSON line. */
import { type AddressInfo, createServer } from 'node:net'

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk) => socket.write(chunk))
})
process.on('disconnect', () => process.exit(0))
server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`))

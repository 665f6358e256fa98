/** What the rows of calls compare with: a gRPC server over TLS, and a responder on a NATS server. Prints one JSON line when both answer. */
import { readFileSync } from 'node:fs'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { connect, JSONCodec } from 'nats'
import { service } from './rpc-service.mjs'

const [, , certificate, key, natsPort] = process.argv
const server = new Server()
server.addService(service, {
  echo: (call, callback) => callback(null, call.request),
  items: async (call) => {
    const { count, item } = call.request
    for (let i = 0; i < count; i++) if (!call.write(item)) await new Promise((resolve) => call.once('drain', resolve))
    call.end()
  },
})
const credentials = ServerCredentials.createSsl(null, [{ private_key: readFileSync(key), cert_chain: readFileSync(certificate) }], false)
const port = await new Promise((resolve, reject) => {
  server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)))
})

const codec = JSONCodec()
const nats = await connect({ servers: `127.0.0.1:${natsPort}` })
nats.subscribe('bench.echo', { callback: (_error, message) => message.respond(codec.encode(codec.decode(message.data))) })
await nats.flush()

process.on('disconnect', () => process.exit(0))
process.stdout.write(`${JSON.stringify({ port })}\n`)

/** A gRPC server over TLS. Prints its port as one JSON line. */
import { readFileSync } from 'node:fs'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { service } from './rpc-service.mjs'

const [, , certificate, key] = process.argv
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

process.on('disconnect', () => process.exit(0))
process.stdout.write(`${JSON.stringify({ port })}\n`)

import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js'
import { connect, JSONCodec } from 'nats'
import { service } from './rpc-service.mjs'

/** A gRPC client over TLS. */
export function grpcClient(port, certificate) {
  const Client = makeGenericClientConstructor(service, 'Bench')
  const client = new Client(`127.0.0.1:${port}`, credentials.createSsl(certificate), { 'grpc.ssl_target_name_override': 'bench' })
  return {
    call: (value) => new Promise((resolve, reject) => client.echo(value, (error, answer) => (error === null ? resolve(answer) : reject(error)))),
    items: async (count, item) => {
      let seen = 0
      for await (const _value of client.items({ count, item })) seen++
      return seen
    },
    close: () => client.close(),
  }
}

/** NATS request-reply. */
export async function natsClient(port) {
  const nats = await connect({ servers: `127.0.0.1:${port}` })
  const codec = JSONCodec()
  return {
    call: async (value) => codec.decode((await nats.request('bench.echo', codec.encode(value), { timeout: 10_000 })).data),
    close: () => nats.close(),
  }
}

/** A responder on a NATS server. Prints one JSON line when it answers. */
import { connect, JSONCodec } from 'nats'

const codec = JSONCodec()
const nats = await connect({ servers: `127.0.0.1:${process.argv[2]}` })
nats.subscribe('bench.echo', { callback: (_error, message) => message.respond(codec.encode(codec.decode(message.data))) })
await nats.flush()

process.on('disconnect', () => process.exit(0))
process.stdout.write('{}\n')

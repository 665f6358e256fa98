// A server that says everything back, and a client that met it by a ticket. Each side has an identity of its own, gone with the program.
import { text } from 'node:stream/consumers'
import { connect, serve } from 'kith'

const server = await serve({ listen: ['tcp://127.0.0.1:0'] }, (stream) => stream.pipe(stream))
const stream = await connect(await server.invite())
stream.end('hello')
console.log(await text(stream), stream.peer === server.did)
await server.close()

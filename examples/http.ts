// HTTP over a link: the web server knows its clients by their DID and listens on no port.
import { createServer, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { connect, serve } from 'kith'

const web = createServer((_, response) => response.end('hello over kith'))
const server = await serve({ listen: ['tcp://127.0.0.1:0'] }, (stream) => void web.emit('connection', stream))
const stream = await connect(await server.invite())
const asked = request({ createConnection: () => stream, headers: { connection: 'close' } }).end()
asked.on('response', async (response) => console.log(response.statusCode, await text(response)))
stream.once('close', () => server.close())

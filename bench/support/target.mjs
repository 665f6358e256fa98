/** The program behind a forward: a bulk server (first byte 'u': counts what comes and answers with the count; 'd': sends what is asked for) and a small HTTP server. */
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'

const CHUNK = Buffer.alloc(65_536, 7)

const bulk = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  let mode
  let head = Buffer.alloc(0)
  let count = 0
  socket.on('error', () => {})
  socket.on('data', (data) => {
    if (mode === 'u') {
      count += data.length
      return
    }
    head = Buffer.concat([head, data])
    if (mode === undefined && head.length >= 9) {
      mode = String.fromCharCode(head[0])
      count = head.length - 9
      if (mode === 'd') send(socket, Number(head.readBigUInt64BE(1)))
    }
  })
  socket.on('end', () => (mode === 'u' ? socket.end(String(count)) : undefined))
})

function send(socket, total) {
  let left = total
  const more = () => {
    while (left > 0) {
      const size = Math.min(left, CHUNK.length)
      left -= size
      if (!socket.write(size === CHUNK.length ? CHUNK : CHUNK.subarray(0, size))) return socket.once('drain', more)
    }
    socket.end()
  }
  more()
}

const http = createHttpServer((_request, response) => response.end('hello'))
http.keepAliveTimeout = 60_000
bulk.listen(0, '127.0.0.1', () =>
  http.listen(0, '127.0.0.1', 1_024, () => process.stdout.write(`${JSON.stringify({ bulk: bulk.address().port, http: http.address().port })}\n`)),
)
process.on('disconnect', () => process.exit(0))

/** A small name server on UDP (RFC 1035): the address of aN.example is 192.0.2.N, every other name is not there. Prints its port. */
import { createSocket } from 'node:dgram'

const server = createSocket('udp4')
server.on('message', (query, from) => {
  const labels = []
  let at = 12
  while (query[at] !== 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + query[at]))
    at += 1 + query[at]
  }
  const question = query.subarray(12, at + 5)
  const number = /^a(\d{1,3})\.example$/i.exec(labels.join('.'))?.[1]
  const head = Buffer.alloc(12)
  query.copy(head, 0, 0, 2)
  head.writeUInt16BE(number === undefined ? 0x8183 : 0x8180, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(number === undefined ? 0 : 1, 6)
  const answer = number === undefined ? [] : [Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, Number(number)])]
  server.send(Buffer.concat([head, question, ...answer]), from.port, from.address)
})
server.bind(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))

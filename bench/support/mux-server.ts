/** The far end of bench/mux.ts: one port for each stack; prints them as one JSON line. Arguments: the files of a certificate and its key. */
import { readFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { yamuxOver } from '../../test/transport/yamux-peer.mjs'
import { duplexFlow, leanFlow, serve, type YamuxStream, yamuxFlow } from './flows.ts'
import { encrypted, muxOver, secretStream } from './mux-ends.ts'

const [cert, key] = process.argv.slice(2, 4).map((file) => readFileSync(file))
if (cert === undefined || key === undefined) throw new Error('a certificate and a key')

const lean = createServer({ noDelay: true }, async (socket) => {
  muxOver(await encrypted(socket, 'listener')).onStream = (stream) => serve(leanFlow(stream))
})
const duplex = createServer({ noDelay: true }, async (socket) => {
  muxOver(await encrypted(socket, 'listener')).onStream = (stream) => serve(duplexFlow(stream.toDuplex()))
})
const yamux = createServer({ noDelay: true }, async (socket) => {
  const muxer = yamuxOver((await encrypted(socket, 'listener')).asDuplex(), 'listener')
  muxer.addEventListener('stream', ({ detail }) => serve(yamuxFlow(detail as unknown as YamuxStream)))
})
const tls = createTlsServer({ cert, key, minVersion: 'TLSv1.3', allowHalfOpen: true }, (socket) => {
  socket.setNoDelay(true)
  serve(duplexFlow(socket))
})
const http2 = createSecureServer({ cert, key, minVersion: 'TLSv1.3', settings: { initialWindowSize: 2 ** 20 } })
http2.on('session', (session) => session.setLocalWindowSize(2 ** 24))
http2.on('stream', (stream) => {
  stream.respond({ ':status': 200 })
  serve(duplexFlow(stream))
})
const secret = createServer({ noDelay: true }, (socket) => {
  const stream = secretStream(socket, false)
  if (stream === undefined) socket.destroy()
  else serve(duplexFlow(stream))
})

const listening = async (server: { listen: Server['listen']; address: Server['address'] }): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return (server.address() as AddressInfo).port
}
const ports = {
  lean: await listening(lean),
  duplex: await listening(duplex),
  yamux: await listening(yamux),
  tls: await listening(tls),
  http2: await listening(http2),
  secret: await listening(secret),
}
process.stdout.write(`${JSON.stringify(ports)}\n`)
process.on('disconnect', () => process.exit(0))

/**
 * The library `ssh2` on both ends, as somebody would write a forwarder with it: `server` accepts everything and dials, `client` listens, with a fixed target
 * for each local forward and a SOCKS5 listener. Prints one JSON line when ready.
 */
import { generateKeyPairSync } from 'node:crypto'
import { connect, createServer } from 'node:net'
import ssh2 from 'ssh2'

const [role, ...rest] = process.argv.slice(2)
const ready = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

function server() {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const listener = new ssh2.Server({ hostKeys: [privateKey] }, (client) => {
    client.on('error', () => {})
    client.on('authentication', (context) => context.accept())
    client.on('tcpip', (accept, reject, { destIP, destPort }) => {
      const socket = connect({ host: destIP, port: destPort, noDelay: true, allowHalfOpen: true })
      socket.once('error', () => reject())
      socket.once('connect', () => {
        const stream = accept()
        socket.on('error', () => stream.destroy())
        stream.on('error', () => socket.destroy())
        socket.pipe(stream).pipe(socket)
      })
    })
  })
  listener.listen(0, '127.0.0.1', () => ready({ port: listener.address().port }))
}

function client(port, targets) {
  const link = new ssh2.Client()
  const carry = (socket, targetPort, before) =>
    link.forwardOut('127.0.0.1', 0, '127.0.0.1', targetPort, (error, stream) => {
      if (error) return void socket.destroy()
      socket.on('error', () => stream.destroy())
      stream.on('error', () => socket.destroy())
      before?.()
      socket.pipe(stream).pipe(socket)
    })
  const listen = (onSocket) =>
    new Promise((resolve) => {
      const listener = createServer({ allowHalfOpen: true, noDelay: true }, onSocket)
      listener.listen(0, '127.0.0.1', () => resolve(listener.address().port))
    })
  link.on('ready', async () => {
    const ports = {}
    for (const [name, target] of Object.entries(targets)) ports[name] = await listen((socket) => carry(socket, target))
    ports.socks = await listen((socket) => {
      socket.once('data', () => {
        socket.write(Buffer.of(5, 0))
        socket.once('data', (request) => {
          socket.pause()
          carry(socket, request.readUInt16BE(request.length - 2), () => socket.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)))
        })
      })
    })
    ready(ports)
  })
  link.connect({ host: '127.0.0.1', port, username: 'x', password: 'x' })
}

if (role === 'server') server()
else client(Number(rest[0]), JSON.parse(rest[1]))
process.on('disconnect', () => process.exit(0))

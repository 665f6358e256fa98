/** The far end of the stream rows, a process of its own: prints its ports and keys as one JSON line. */
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import { listen } from '../../src/stream/listen.ts'
import { selfSigned } from './certificate.ts'
import { answerDuplex, answerPipe } from './stream-ends.ts'

const signer = createSigner('link', randomSeed(systemRandom))
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  listen(socket, { key: signer, namespace: 'bench', maxMessageBytes: 65_536, admit: () => true, clock: systemClock, random: systemRandom }).then(
    (stream) => answerPipe(stream.toPipe()),
    () => undefined,
  )
})
const own = selfSigned('localhost')
const client = selfSigned('client')
const tls = createTlsServer(
  { ...own, ca: [client.cert], requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3', allowHalfOpen: true, noDelay: true },
  (socket) => answerDuplex(socket),
)
tls.on('tlsClientError', () => undefined)
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  tls.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
    const ports = { port: (server.address() as { port: number }).port, tlsPort: (tls.address() as { port: number }).port }
    process.stdout.write(`${JSON.stringify({ ...ports, key: toHex(signer.publicKey), ca: own.cert, client })}\n`)
  })
})
process.on('disconnect', () => process.exit(0))

import { toHex } from '../../src/core/bytes.ts'
import { leanFlow, serve } from './flows.ts'
import { kithQuic, READ_BYTES, rawQuic } from './quic-ends.ts'

/** The far end of `bench/quic.ts`: kith, and the library's classes by themselves. Both count what comes and tell at the end. */
const ours = kithQuic()
const listener = await ours.transport.listen('quic://127.0.0.1:0', async (channel) => {
  await channel.receive()
  channel.send(Buffer.from('go'))
  channel.multiplex().onStream = (stream) => serve(leanFlow(stream))
})

const { native, config } = rawQuic()
const server = new native.Server(config, '127.0.0.1', 0)
void (async () => {
  for (;;) {
    const connection = await server.inboundConnection()
    void (async () => {
      const stream = await connection.inboundStream()
      let count = 0
      for (let data = await stream.read(READ_BYTES); data !== null; data = await stream.read(READ_BYTES)) count += data.length
      await stream.write(Buffer.from(String(count)))
      await stream.finishWrite()
    })().catch(() => undefined)
  }
})()

process.stdout.write(`${JSON.stringify({ address: listener.addresses[0], key: toHex(ours.key), port: server.port() })}\n`)

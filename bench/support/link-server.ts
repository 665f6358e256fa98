/** The far end of the link rows, a process of its own: a listener for each kind of device, twice, and for TLS; prints addresses and keys as one JSON line. */
import { toHex } from '../../src/core/bytes.ts'
import type { Device } from '../../src/identity/types.ts'
import type { Connection, Transport } from '../../src/transport/types.ts'
import { leanFlow, serve } from './flows.ts'
import { greeter, makeDevice, serveEcho, tcpOf, tlsEnd } from './link-ends.ts'

const ready: Record<string, { address: string; key: string }> = {}

async function listen(name: string, device: Device, transport: Transport, cold: boolean, answer: (connection: Connection) => void = serveEcho): Promise<void> {
  const accept = await greeter(device, { cold })
  const listener = await transport.listen(`${transport.scheme}://127.0.0.1:0`, (channel) => {
    accept(channel).then(
      (link) => answer(link.channel.multiplex()),
      () => channel.close(),
    )
  })
  ready[name] = { address: listener.addresses[0] as string, key: toHex(device.linkSigner.publicKey) }
}

for (const cold of [false, true]) {
  for (const mldsa of [true, false]) {
    const device = makeDevice(mldsa)
    await listen(`${mldsa ? 'hybrid' : 'classical'}${cold ? '-cold' : ''}`, device, tcpOf(device), cold)
  }
}
const { device, transport } = tlsEnd()
await listen('tls', device, transport, false)
await listen('tls-bulk', device, transport, false, (connection) => {
  connection.onStream = (stream) => serve(leanFlow(stream))
})
process.stdout.write(`${JSON.stringify(ready)}\n`)
process.on('disconnect', () => process.exit(0))

/** The far end of the link rows, a process of its own: a listener for each kind of device, twice; prints addresses and keys as one JSON line. */
import { toHex } from '../../src/core/bytes.ts'
import { greeter, makeDevice, serveEcho, tcpOf } from './link-ends.ts'

const kinds = [
  { name: 'hybrid', mldsa: true, cold: false },
  { name: 'classical', mldsa: false, cold: false },
  { name: 'hybrid-cold', mldsa: true, cold: true },
  { name: 'classical-cold', mldsa: false, cold: true },
]
const ready: Record<string, { address: string; key: string }> = {}
for (const { name, mldsa, cold } of kinds) {
  const device = makeDevice(mldsa)
  const accept = await greeter(device, { cold })
  const listener = await tcpOf(device).listen('tcp://127.0.0.1:0', (channel) => {
    accept(channel).then(
      (link) => serveEcho(link.channel.multiplex()),
      () => channel.close(),
    )
  })
  ready[name] = { address: listener.addresses[0] as string, key: toHex(device.linkSigner.publicKey) }
}
process.stdout.write(`${JSON.stringify(ready)}\n`)
process.on('disconnect', () => process.exit(0))

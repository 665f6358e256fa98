/**
 * The far end of the rows about idle links, a process of its own and fresh for each sample. Argument: what carries them (`tcp`, `tls`, `mesh`).
 * Prints where it listens as one JSON line; answers `measure` with its memory, collected garbage aside, and the processor time it has used.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { openSqliteStore } from '../../src/core/store/sqlite.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import { selfSigned } from './certificate.ts'
import { makeDevice, serveEcho, tcpOf } from './link-ends.ts'

const UNLIMITED = 1e6

const starts: Readonly<Record<string, () => Promise<object>>> = {
  async tcp() {
    const device = makeDevice(false)
    const listener = await tcpOf(device).listen('tcp://127.0.0.1:0', (channel) => {
      // The first message stands for the Hello that a mesh would say.
      void channel.receive().then(() => {
        channel.send(Buffer.from('go'))
        return channel.receive().then(() => serveEcho(channel.multiplex()))
      })
    })
    return { address: listener.addresses[0], key: toHex(device.linkSigner.publicKey) }
  },
  async tls() {
    const [own, client] = [selfSigned('localhost'), selfSigned('client')]
    const options: TlsOptions = { ...own, ca: [client.cert], requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3', noDelay: true }
    const server = createTlsServer(options, (socket) => {
      socket.on('data', (data) => socket.write(data))
      socket.on('error', () => undefined)
    })
    await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve))
    return { port: (server.address() as { port: number }).port, ca: own.cert, client }
  },
  async mesh() {
    const device = makeDevice(true)
    const folder = mkdtempSync(join(tmpdir(), 'kith-bench-mesh-'))
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
    const [clock, random, logger] = [systemClock, systemRandom, silentLogger]
    const unlimited = { halfOpen: UNLIMITED, halfOpenPerNetwork: UNLIMITED, halfOpenPerSource: UNLIMITED, perSecond: UNLIMITED, burst: UNLIMITED }
    const mesh = await createMesh({
      device,
      store: await openSqliteStore(join(folder, 'store.sqlite')),
      transports: [tcpOf(device)],
      clock,
      random,
      logger,
      config: { admission: { ...unlimited, totalPerSecond: UNLIMITED, totalBurst: UNLIMITED } },
    })
    const [address] = await mesh.listen('tcp://127.0.0.1:0')
    await mesh.start()
    process.on('message', (message: { peers?: readonly string[] }) => {
      if (message.peers === undefined) return
      void Promise.all(message.peers.map((did) => mesh.book.add(did))).then(() => process.send?.({ done: true }))
    })
    return { address, key: toHex(device.linkSigner.publicKey), did: device.did }
  },
}

process.on('message', (message: { measure?: boolean }) => {
  if (message.measure !== true) return
  // As V8 does by itself once a process has rested for a minute.
  for (let i = 0; i < 2; i++) globalThis.gc?.({ execution: 'sync', flavor: 'last-resort', type: 'major' })
  const { user, system } = process.cpuUsage()
  process.send?.({ resident: process.memoryUsage.rss(), cpu: (user + system) / 1e6 })
})
for (const ending of ['disconnect', 'SIGTERM'] as const) process.on(ending, () => process.exit(0))
const kind = process.argv[2] ?? ''
const start = starts[kind]
if (start === undefined) throw new Error(`tcp, tls or mesh, not '${kind}'`)
process.stdout.write(`${JSON.stringify(await start())}\n`)

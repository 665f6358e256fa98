import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { createSite } from '../../../src/site/site.ts'
import { FrontPool } from '../../../src/transport/front/pool.ts'
import { createWssTransport } from '../../../src/transport/wss.ts'
import { siteCertificate } from '../../site/support.ts'
import type { Scene, Setup, Side } from '../support.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-wss-'))
export const certificate: Awaited<ReturnType<typeof siteCertificate>> = await siteCertificate(folder)
rmSync(folder, { recursive: true })

export const token: Uint8Array = systemRandom.bytes(24)

/** A side that trusts the certificate above, and shows it when it listens. */
export function wssSide(): Side & { readonly fronts: FrontPool } {
  const signer = createSigner('link', randomSeed(systemRandom))
  const handle = createSite({ clock: systemClock })
  const fronts = new FrontPool({ clock: systemClock, site: { certificate: () => certificate, handle } })
  const authorities = async () => certificate.cert.toString()
  return { transport: createWssTransport({ signer, clock: systemClock, random: systemRandom, fronts, token, authorities }), key: signer.publicKey, fronts }
}

export const setup: Setup = async (): Promise<Scene> => {
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    return socket
  }
  let target = 0
  const relay = createServer({ allowHalfOpen: true }, (near) => {
    const far = keep(connect({ port: target, host: '127.0.0.1', allowHalfOpen: true }))
    keep(near).pipe(far)
    far.pipe(near)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const lose = (): void => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    dialer: wssSide(),
    listener: wssSide(),
    stranger: wssSide().key,
    address: 'wss://127.0.0.1:0',
    through: async (address) => {
      target = Number(/:(\d+)\//.exec(address)?.[1])
      return address.replace(`:${target}/`, `:${(relay.address() as AddressInfo).port}/`)
    },
    lose,
    close: async () => {
      lose()
      relay.close()
    },
  }
}

import type { TestContext } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { formatDid } from '../../src/identity/did.ts'
import type { Announcement, Discovery, FoundPeer } from '../../src/mesh/discovery.ts'
import { createMdns, type MdnsOptions } from '../../src/mesh/mdns/index.ts'

/** Tests speak on loopback, on a port of their own: nothing reaches a network, and no responder of this machine answers. */
export const LOOPBACK = '127.0.0.1'

export function anyPort(): number {
  return 20_000 + Math.floor(systemRandom.unit() * 20_000)
}

export function identity(name: string, port: number): Announcement {
  const key = () => publicKeyOfSeed(randomSeed(systemRandom))
  return { did: formatDid(key()), linkKey: key(), urls: [`tcp://127.0.0.1:${port}`, `quic://127.0.0.1:${port}`], name }
}

export interface Node {
  readonly discovery: Discovery
  readonly announcement: Announcement
  readonly found: FoundPeer[]
  /** The next thing heard that `wanted` accepts, also from before. */
  hears(wanted: (found: FoundPeer) => boolean): Promise<FoundPeer>
}

export async function node(t: TestContext, name: string, options: Partial<MdnsOptions> & { readonly port: number }): Promise<Node> {
  const announcement = identity(name, 4_000 + name.length)
  const discovery = createMdns({ clock: systemClock, random: systemRandom, logger: silentLogger, interfaces: [LOOPBACK], ...options })
  const found: FoundPeer[] = []
  const waiting = new Set<() => void>()
  discovery.onPeer = (peer) => {
    found.push(peer)
    for (const check of [...waiting]) check()
  }
  await discovery.start(announcement)
  t.after(() => discovery.stop())
  return {
    discovery,
    announcement,
    found,
    hears: (wanted) =>
      new Promise((resolve) => {
        const check = (): void => {
          const peer = found.find(wanted)
          if (peer === undefined) return
          waiting.delete(check)
          resolve(peer)
        }
        waiting.add(check)
        check()
      }),
  }
}

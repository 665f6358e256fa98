import { createSocket } from 'node:dgram'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { KithError } from '../core/errors.ts'
import { writeAtomic } from '../identity/atomic-file.ts'

/** The port of links, TCP and UDP (founding text of the network layer). */
export const PEER_PORT = 4433
/** How many ports above the wanted one are tried before giving up. */
const ATTEMPTS = 100
const FILE = 'port'

export interface PortChoice {
  readonly port: number
  /** The port that was wanted and is taken by somebody else; null when the wanted one is free. */
  readonly insteadOf: number | null
}

/**
 * The peer port of a home: the one it had last, else 4433; when that is taken, the next free one. Two homes on one machine work side by side.
 * Free means free for TCP and UDP, so that one number serves all kinds of paths.
 * @throws KithError `ADDRESS_IN_USE` when a hundred in a row are taken.
 */
export async function choosePort(home: string, hosts: readonly string[]): Promise<PortChoice> {
  const wanted = (await rememberedPort(home)) ?? PEER_PORT
  for (let port = wanted; port < wanted + ATTEMPTS && port <= 65_535; port++) {
    const free = await Promise.all(hosts.flatMap((host) => [isFreeTcp(host, port), isFreeUdp(host, port)]))
    if (free.every((each) => each)) return { port, insteadOf: port === wanted ? null : wanted }
  }
  throw new KithError('ADDRESS_IN_USE', `The ports from ${wanted} on are taken.`, { details: { port: wanted }, next: 'kith up --listen tcp://0.0.0.0:PORT' })
}

export async function rememberPort(home: string, port: number): Promise<void> {
  if ((await rememberedPort(home)) !== port) await writeAtomic(join(home, FILE), Buffer.from(`${port}\n`))
}

/** The peer port that this home had last; undefined when it never had one. */
export async function rememberedPort(home: string): Promise<number | undefined> {
  const text = await readFile(join(home, FILE), 'latin1').catch(() => '')
  const port = /^(\d{1,5})\n$/.exec(text)?.[1]
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535 ? Number(port) : undefined
}

/** Whether this machine has IPv6 at all: then one TCP socket serves both. */
export function hasIpv6(): Promise<boolean> {
  return isFreeTcp('::', 0)
}

function isFreeTcp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host, port, exclusive: true, ipv6Only: host === '::' }, () => server.close(() => resolve(true)))
  })
}

function isFreeUdp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(':') ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
    socket.once('error', () => {
      socket.close()
      resolve(false)
    })
    socket.bind({ address: host, port, exclusive: true }, () => socket.close(() => resolve(true)))
  })
}

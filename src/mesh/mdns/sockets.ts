import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import { TokenBucket } from '../admission-rate.ts'
import { type IpNetwork, inNetwork, parseIp } from '../ip.ts'
import { decodeMessage, MDNS_GROUP, type Message } from './wire.ts'

/** Packets heard per second, on average and at once; more are dropped unread. */
const PACKETS_PER_SECOND = 200
const PACKETS_AT_ONCE = 400
const IPV4_MAPPED_BITS = 96
/** How often the machine's interfaces are looked at again. */
const REFRESH_MS = 15_000

export interface Interface {
  /** IPv4 address of the interface. */
  readonly address: string
  readonly network: IpNetwork
}

/** One interface that takes part. */
export interface Port {
  readonly address: string
  send(packet: Buffer): void
  /** To one machine, which is on the interface's network. */
  answer(packet: Buffer, to: RemoteInfo): void
}

export interface SocketsParts {
  readonly port: number
  readonly clock: Clock
  readonly logger: Logger
  /** The interfaces to use now. */
  readonly interfaces: () => readonly Interface[]
  readonly onMessage: (message: Message, from: RemoteInfo, port: Port) => void
  /** An interface has come. */
  readonly onPort: (port: Port) => void
}

/**
 * The sockets of multicast DNS: one per interface, so that each announcement leaves where it is meant to. The system hands a socket the group's
 * packets of every interface, so only sources on the socket's own network count (RFC 6762, 11).
 */
export class Sockets {
  readonly #parts: SocketsParts
  readonly #open: Map<string, { readonly socket: Socket; readonly port: Port }> = new Map()
  readonly #rate: TokenBucket
  #timer: Timer | undefined
  #closed = false

  constructor(parts: SocketsParts) {
    this.#parts = parts
    this.#rate = new TokenBucket(parts.clock, PACKETS_PER_SECOND, PACKETS_AT_ONCE)
  }

  get ports(): readonly Port[] {
    return [...this.#open.values()].map(({ port }) => port)
  }

  /** @throws KithError `ADDRESS_IN_USE` when no interface can be used although there are some. */
  async open(): Promise<void> {
    const failures = await this.#refresh()
    if (failures.length > 0 && this.#open.size === 0)
      throw new KithError('ADDRESS_IN_USE', undefined, { details: { port: this.#parts.port }, cause: failures[0] })
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    for (const address of [...this.#open.keys()]) this.#drop(address)
  }

  /** Opens what is new and closes what is gone. */
  async #refresh(): Promise<readonly unknown[]> {
    const wanted = this.#parts.interfaces()
    const failures: unknown[] = []
    for (const address of this.#open.keys()) if (!wanted.some((candidate) => candidate.address === address)) this.#drop(address)
    for (const candidate of wanted) {
      if (this.#closed || this.#open.has(candidate.address)) continue
      await this.#add(candidate).catch((error: unknown) => {
        failures.push(error)
        this.#parts.logger.debug('mdns.interface_failed', { address: candidate.address, error })
      })
    }
    if (!this.#closed) this.#timer = this.#parts.clock.after(REFRESH_MS, () => void this.#refresh())
    return failures
  }

  async #add({ address, network }: Interface): Promise<void> {
    const { port: number, logger } = this.#parts
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    const failed = (error: unknown): void => logger.debug('mdns.send_failed', { address, error })
    const sent = (error: Error | null): void => {
      if (error !== null) failed(error)
    }
    const port: Port = {
      address,
      send: (packet) => socket.send(packet, number, MDNS_GROUP, sent),
      answer: (packet, to) => socket.send(packet, to.port, to.address, sent),
    }
    try {
      const bound = once(socket, 'listening')
      socket.bind(number, '0.0.0.0')
      await bound
      socket.addMembership(MDNS_GROUP, address)
      socket.setMulticastInterface(address)
      socket.setMulticastTTL(255)
      socket.setMulticastLoopback(true)
    } catch (error) {
      socket.close()
      throw error
    }
    socket.unref()
    socket.on('error', (error) => {
      failed(error)
      this.#drop(address)
    })
    socket.on('message', (packet, from) => {
      const source = parseIp(from.address)
      if (source === undefined || !inNetwork(source, network) || !this.#rate.take()) return
      const message = decodeMessage(packet)
      if (message !== undefined && this.#open.has(address)) this.#parts.onMessage(message, from, port)
    })
    if (this.#closed) {
      socket.close()
      return
    }
    this.#open.set(address, { socket, port })
    this.#parts.onPort(port)
  }

  #drop(address: string): void {
    this.#open.get(address)?.socket.close()
    this.#open.delete(address)
  }
}

/** The machine's IPv4 interfaces: all but loopback, or those with the given addresses. */
export function localInterfaces(only?: readonly string[]): readonly Interface[] {
  const found: Interface[] = []
  for (const entries of Object.values(networkInterfaces())) {
    for (const entry of entries ?? []) {
      const wanted = only === undefined ? !entry.internal : only.includes(entry.address)
      const base = entry.family === 'IPv4' && wanted ? parseIp(entry.address) : undefined
      const prefix = Number(entry.cidr?.split('/')[1] ?? 32)
      if (base !== undefined) found.push({ address: entry.address, network: { base, bits: IPV4_MAPPED_BITS + prefix } })
    }
  }
  return found
}

import type { RemoteInfo } from 'node:dgram'
import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { Announcement, Discovery, FoundPeer } from '../discovery.ts'
import { Browser } from './browser.ts'
import { instanceLabel, type OwnRecords, ownRecords } from './records.ts'
import { Responder } from './responder.ts'
import { DAY_MS, dayOf, Recogniser } from './rotating.ts'
import { localInterfaces, type Port, Sockets } from './sockets.ts'
import { MDNS_PORT, type Message } from './wire.ts'

const SERVICE = '_icn._udp.local'

export interface MdnsOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /**
   * Whether a network is marked home, by the own address on it: DID, link key and name are announced there, elsewhere a name that changes every day.
   * Asked whenever something is sent, so that a machine that moves to another network is not taken by surprise. Default false.
   */
  readonly home?: boolean | ((address: string) => boolean)
  /** Whose rotating names are recognised: the DIDs of the address book. */
  readonly known?: () => Iterable<Did>
  /** IPv4 addresses of the interfaces to use. Default: all but loopback, looked up again every 15 s. */
  readonly interfaces?: readonly string[]
  /** Default `_icn._udp.local`. */
  readonly serviceName?: string
  /** Default 5353. */
  readonly port?: number
}

/** Discovery by multicast DNS; layout and limits: `wire.ts`. */
export function createMdns(options: MdnsOptions): Discovery {
  return new Mdns(options)
}

class Mdns implements Discovery {
  readonly name = 'mdns'
  onPeer: (found: FoundPeer) => void = () => {}
  readonly #options: MdnsOptions
  readonly #service: string
  readonly #home: (address: string) => boolean
  readonly #sockets: Sockets
  readonly #responder: Responder
  readonly #browser: Browser
  #announcement: Announcement | undefined
  #day = 0
  #midnight: Timer | undefined
  #state: 'new' | 'started' | 'stopped' = 'new'

  constructor(options: MdnsOptions) {
    const { clock, random, logger } = options
    const port = options.port ?? MDNS_PORT
    const recogniser = new Recogniser(clock, options.known ?? (() => []))
    this.#options = options
    this.#service = options.serviceName ?? SERVICE
    const home = options.home ?? false
    this.#home = typeof home === 'function' ? home : () => home
    this.#sockets = new Sockets({
      port,
      clock,
      logger,
      interfaces: () => localInterfaces(options.interfaces),
      onMessage: (message, from, on) => this.#received(message, from, on),
      onPort: () => this.#interfaceCame(),
    })
    const ports = (): readonly Port[] => this.#sockets.ports
    this.#responder = new Responder({ clock, random, multicastPort: port, ports, records: (on, suffix) => this.#records(on, suffix) })
    this.#browser = new Browser({
      service: this.#service,
      clock,
      ports,
      owns: (instance) => this.#responder.owns(instance),
      recognise: (id) => recogniser.match(id),
      onPeer: (found) => this.#found(found),
    })
  }

  async start(announcement: Announcement): Promise<void> {
    if (this.#state !== 'new') throw new KithError('CLOSED', 'discovery is started once')
    this.#state = 'started'
    this.#announcement = announcement
    this.#turnDay()
    await this.#sockets.open()
  }

  async announce(announcement: Announcement): Promise<void> {
    if (this.#state !== 'started') return
    this.#responder.goodbye()
    this.#announcement = announcement
    this.#responder.restart()
  }

  async stop(): Promise<void> {
    const started = this.#state === 'started'
    this.#state = 'stopped'
    if (!started) return
    this.#responder.goodbye()
    this.#responder.stop()
    this.#browser.stop()
    this.#midnight?.cancel()
    // Datagrams are handed to the system in order: sockets close behind the goodbye.
    await new Promise(setImmediate)
    this.#sockets.close()
  }

  #records(port: Port, suffix: string): OwnRecords | undefined {
    if (this.#announcement === undefined) return undefined
    const home = this.#home(port.address)
    const label = `${instanceLabel(this.#announcement, home, this.#day)}${suffix}`
    return ownRecords(this.#service, label, this.#announcement, home, this.#day, port.address)
  }

  #interfaceCame(): void {
    if (this.#state !== 'started') return
    this.#responder.restart()
    this.#browser.start()
  }

  /** The rotating name changes at midnight UTC: the old one is withdrawn before. */
  #turnDay(): void {
    const now = this.#options.clock.now()
    if (dayOf(now) !== this.#day) {
      const rotating = (port: Port): boolean => !this.#home(port.address)
      this.#responder.goodbye(rotating)
      this.#day = dayOf(now)
      if (this.#sockets.ports.some(rotating)) this.#responder.restart()
    }
    this.#midnight = this.#options.clock.after(DAY_MS - (now % DAY_MS) + 1, () => this.#turnDay())
  }

  #received(message: Message, from: RemoteInfo, port: Port): void {
    if (this.#state !== 'started') return
    if (!message.response) {
      this.#responder.onQuery(message, from, port)
      return
    }
    this.#responder.onResponse(message, port)
    this.#browser.onResponse(message, from.address)
  }

  #found(found: FoundPeer): void {
    if (this.#state !== 'started') return
    const own = this.#announcement
    if (own !== undefined && found.did === own.did && found.linkKey !== undefined && Buffer.from(found.linkKey).equals(own.linkKey)) return
    this.onPeer(found)
  }
}

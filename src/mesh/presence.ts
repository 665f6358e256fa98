import { equal, type PublicKey } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { Listener } from '../transport/types.ts'
import { reachableAddresses, schemeOf } from './addresses.ts'
import type { Candidate } from './dialer.ts'
import type { Announcement, Discovery, FoundPeer } from './discovery.ts'
import { type DiscoveredPeer, FoundPeers } from './found-peers.ts'

export interface PresenceComponents {
  readonly clock: Clock
  readonly logger: Logger
  readonly discoveries: readonly Discovery[]
  readonly interfaces: () => readonly string[]
  /** What is told besides the addresses. */
  readonly self: () => { readonly did: Did; readonly linkKey: PublicKey; readonly name: string }
  /** New addresses of somebody were heard of. */
  readonly onFound: (did: Did) => void
  /** This machine has other addresses than before. */
  readonly onMoved: () => void
}

/** How often the machine's own addresses are looked at: the system tells nobody when it joins another network. */
const LOOK_MS = 15_000

/** Where this node listens, whom it tells, and whom it hears of. */
export class Presence {
  readonly #components: PresenceComponents
  readonly #listeners: Map<Listener, string> = new Map()
  readonly #found: FoundPeers
  #started = false
  #interfaces = ''
  #timer: Timer | undefined

  constructor(components: PresenceComponents) {
    this.#components = components
    this.#found = new FoundPeers(components.clock)
  }

  /** Where others reach this node. */
  get addresses(): readonly string[] {
    const listening = [...this.#listeners.keys()].flatMap(({ addresses }) => addresses)
    return reachableAddresses(listening, this.#components.interfaces())
  }

  /** Addresses to listen on again, ports filled in. */
  get bound(): readonly string[] {
    return [...this.#listeners].map(([{ addresses }, asked]) => addresses[0] ?? asked)
  }

  discovered(): readonly DiscoveredPeer[] {
    return this.#found.list()
  }

  candidates(did: Did): readonly Candidate[] {
    return this.#found.candidates(did)
  }

  async listening(listener: Listener, asked: string): Promise<void> {
    this.#listeners.set(listener, asked)
    if (this.#started) await this.#announce()
  }

  async stopListening(): Promise<void> {
    const listeners = [...this.#listeners.keys()]
    this.#listeners.clear()
    await Promise.all(listeners.map((listener) => listener.close()))
  }

  async start(): Promise<void> {
    this.#started = true
    for (const discovery of this.#components.discoveries) discovery.onPeer = (found) => this.#heard(discovery.name, found)
    this.#interfaces = this.#ownAddresses()
    await this.#all('discovery did not start', (discovery) => discovery.start(this.#announcement()))
    if (this.#started) this.#arm()
  }

  async stop(): Promise<void> {
    this.#started = false
    this.#timer?.cancel()
    for (const discovery of this.#components.discoveries) discovery.onPeer = () => undefined
    await this.#all('discovery did not stop', (discovery) => discovery.stop())
  }

  #arm(): void {
    this.#timer = this.#components.clock.after(LOOK_MS, () => {
      this.#arm()
      const now = this.#ownAddresses()
      if (now === this.#interfaces) return
      this.#interfaces = now
      void this.#announce()
      this.#components.onMoved()
    })
  }

  #ownAddresses(): string {
    return this.#components.interfaces().toSorted().join(' ')
  }

  async #announce(): Promise<void> {
    await this.#all('announcement failed', (discovery) => discovery.announce(this.#announcement()))
  }

  #heard(source: string, found: FoundPeer): void {
    const self = this.#components.self()
    // Another machine of this identity is somebody else.
    if (found.did === self.did && (found.linkKey === undefined || equal(found.linkKey, self.linkKey))) return
    if (this.#found.hear(source, found) && found.did !== undefined) this.#components.onFound(found.did)
  }

  #announcement(): Announcement {
    // What opens a keyed path is for those who are given it, not for everybody on the network.
    return { ...this.#components.self(), urls: this.addresses.filter((url) => schemeOf(url) !== 'wss') }
  }

  /** Being found is a help: a network that does not allow it must not keep the node from running. */
  async #all(failure: string, run: (discovery: Discovery) => Promise<void>): Promise<void> {
    const { discoveries, logger } = this.#components
    const one = async (discovery: Discovery): Promise<void> => {
      try {
        await run(discovery)
      } catch (error) {
        logger.warn(failure, { discovery: discovery.name, error })
      }
    }
    await Promise.all(discoveries.map(one))
  }
}

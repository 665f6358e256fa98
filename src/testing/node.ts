import { createAssembly } from '../assembly/assembly.ts'
import type { Assembly, AssemblyConfig } from '../assembly/types.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import { type Random, seededRandom } from '../core/random.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import type { RecoveryPolicy } from '../identity/types.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { LinkEvent } from '../mesh/types.ts'
import { createMemoryTransport, type MemoryNetwork } from '../transport/memory.ts'
import { Disk, type DiskCopy, type DiskOptions, type Loss } from './disk.ts'
import type { SimDevice, SimIdentity } from './identities.ts'
import { type ClockOptions, MachineClock, type ProcessClock } from './node-clock.ts'
import type { Scheduler } from './scheduler.ts'

export interface SimNodeOptions {
  /** Name of the node whose identity this is another machine of. Default: an identity of its own. */
  readonly identityOf?: string
  /** A ready-made identity, as one that was recovered; it stays the caller's. */
  readonly identity?: SimIdentity
  /** Who may recover the identity that is made for this node. */
  readonly recovery?: RecoveryPolicy
  /** Name of the node whose device key this one has too: a copy of its home on another machine. */
  readonly cloneOf?: string
  /** What is on the disk before the first start. */
  readonly from?: DiskCopy
  /** Whether identity and device have ML-DSA keys. Default true. */
  readonly postQuantum?: boolean
  readonly clock?: ClockOptions
  readonly disk?: DiskOptions
  readonly config?: AssemblyConfig
  readonly logger?: Logger
  /** After each start of the node, before it links anybody: where handlers are registered. */
  readonly onStart?: (node: SimNode) => void | Promise<void>
}

export interface CrashOptions {
  /**
   * `process` (default): the system lives on, so that other ends learn of it and nothing that was written is lost. `machine`: others hear nothing until it is back.
   */
  readonly of?: 'process' | 'machine'
  /** What of the disk is lost. Default: `nothing` of a process, `undurable` of a machine. */
  readonly lose?: Loss
}

/** What a node needs of its simulation. */
export interface NodeHost {
  readonly seed: string
  readonly scheduler: Scheduler
  readonly network: MemoryNetwork
  readonly logger: Logger
  log(text: string): void
  nameOf(did: Did | null): string
  settle<T>(promise: Promise<T>): Promise<T>
  /** The node runs: who knows it may be told. */
  started(node: SimNode): Promise<void>
}

/** What a run of a node is made from: for services that a scenario puts on top. All of it ends with the run. */
export interface SimProcess {
  readonly clock: Clock
  readonly random: Random
  readonly store: Store
  readonly logger: Logger
  readonly yieldTurn: () => Promise<void>
}

interface Run extends SimProcess {
  readonly assembly: Assembly
  readonly clock: ProcessClock
}

/** One machine: identity, disk and clock last, the node on it comes and goes. */
export class SimNode {
  readonly name: string
  readonly url: string
  readonly identity: SimIdentity
  readonly device: SimDevice
  /** The machine's clock, as the node sees it. */
  readonly clock: MachineClock
  readonly disk: Disk
  /** Link events of all runs, oldest first. */
  readonly events: LinkEvent[] = []
  readonly #host: NodeHost
  readonly #options: SimNodeOptions
  readonly #random: Random
  #run: Run | undefined
  #runs = 0
  #out = false

  constructor(name: string, host: NodeHost, identity: SimIdentity, makeDevice: (now: number) => SimDevice, options: SimNodeOptions) {
    this.name = name
    this.url = `memory://${name}`
    this.#host = host
    this.#options = options
    this.#random = seededRandom(`${host.seed} machine ${name}`)
    this.clock = new MachineClock(host.scheduler, options.clock)
    this.disk = new Disk(host.scheduler, options.disk)
    this.identity = identity
    this.device = makeDevice(this.clock.now())
  }

  get did(): Did {
    return this.device.did
  }

  get running(): boolean {
    return this.#run !== undefined
  }

  /** Times this node was started. */
  get runs(): number {
    return this.#runs
  }

  /** The parts of the node that runs. @throws TypeError when none does. */
  get assembly(): Assembly {
    return this.#current.assembly
  }

  get mesh(): Mesh {
    return this.#current.assembly.mesh
  }

  get process(): SimProcess {
    return this.#current
  }

  get store(): Store {
    return this.#current.store
  }

  /** Names of the peers that are linked now. */
  linked(): string[] {
    if (this.#run === undefined) return []
    return this.mesh.links().flatMap(({ did, state }) => (state === 'connected' ? [this.#host.nameOf(did)] : []))
  }

  /** Starts the node; after a crash with what the disk kept. @throws TypeError when it runs. */
  async start(): Promise<void> {
    if (this.#run !== undefined) throw new TypeError(`${this.name} runs already`)
    const { network, seed } = this.#host
    const number = ++this.#runs
    const random = seededRandom(`${seed} node ${this.name} run ${number}`)
    const clock = this.clock.process()
    if (this.#out) network.appear(this.name)
    this.#out = false
    const store = await this.disk.open()
    const transport = createMemoryTransport({ network, signer: this.device.linkSigner, random, clock, name: this.name })
    const { config } = this.#options
    const logger = this.#options.logger ?? this.#host.logger
    // A turn of the event loop takes no virtual time; a run that crashed gets none.
    const yieldTurn = (): Promise<void> => new Promise((resolve) => setImmediate(() => clock.stopped || resolve()))
    const assembly = await createAssembly({
      device: this.device,
      store,
      transports: [transport],
      clock,
      random,
      logger,
      interfaces: () => [],
      yieldTurn,
      ...(config === undefined ? {} : { config }),
    })
    this.#run = { assembly, store, clock, random, logger, yieldTurn }
    this.#host.log(`${this.name} starts, run ${number}`)
    assembly.mesh.onEvent((event) => {
      if (this.#runs !== number || this.#run === undefined) return
      this.events.push(event)
      this.#host.log(`${this.name} ${this.#textOf(event)}`)
    })
    await this.#options.onStart?.(this)
    await assembly.mesh.listen(this.url)
    await assembly.start()
    await this.#host.started(this)
  }

  /** Gone without a goodbye, at once. */
  crash(options: CrashOptions = {}): void {
    const of = options.of ?? 'process'
    const lose = options.lose ?? (of === 'machine' ? 'undurable' : 'nothing')
    const { clock } = this.#current
    this.#run = undefined
    clock.stop()
    this.#out = of === 'machine'
    this.#host.network.vanish(this.name, { reset: of === 'process' })
    this.disk.crash(lose, this.#random)
    this.#host.log(`${this.name} crashes, ${of}, loses ${lose}`)
  }

  /** Ends the node as its owner would: it says goodbye. */
  async stop(): Promise<void> {
    const { assembly, store, clock } = this.#current
    await this.#host.settle(assembly.close())
    await store.close()
    this.#run = undefined
    clock.stop()
    this.#host.network.vanish(this.name, { reset: true })
    this.#host.log(`${this.name} stops`)
  }

  /** Starts again what has stopped or crashed; with `from`, on an old copy of its disk. */
  async restart(options: { readonly from?: DiskCopy } = {}): Promise<void> {
    if (options.from !== undefined) await this.disk.restore(options.from)
    await this.#host.settle(this.start())
  }

  get #current(): Run {
    if (this.#run === undefined) throw new TypeError(`${this.name} does not run`)
    return this.#run
  }

  #textOf(event: LinkEvent): string {
    const peer = this.#host.nameOf(event.peer)
    return 'error' in event ? `${event.type} ${peer} ${event.error?.code ?? 'clean'}` : `${event.type} ${peer}`
  }
}

import { KithError } from '../core/errors.ts'
import { medianLatency } from './head-health.ts'
import type { AttachedWorker, HeadComponents, HeadLimits, WorkerCalls, WorkerIdentity } from './head-types.ts'
import { servicesOf, Worker } from './head-worker.ts'
import type { Registration } from './worker-codec.ts'

/** At most this share of the workers that offer an operation is put aside. */
const MAX_EJECTED = 0.5

/** Who is registered: one holder of an alias, bound to the machine that proved itself on the link. */
export class WorkerTable {
  readonly #components: HeadComponents
  readonly #limits: HeadLimits
  readonly #workers: Map<string, Worker> = new Map()
  readonly #changed: () => void
  #turn = 0

  constructor(components: HeadComponents, limits: HeadLimits, changed: () => void) {
    this.#components = components
    this.#limits = limits
    this.#changed = changed
  }

  get size(): number {
    return this.#workers.size
  }

  get(alias: string): Worker | undefined {
    return this.#workers.get(alias)
  }

  all(): IterableIterator<Worker> {
    return this.#workers.values()
  }

  /**
   * Takes a registration, as a whole or not at all; `held` is what the same stream registered before.
   * @throws KithError `WORKER_DENIED`, `WORKER_CONFLICT`, `CALL_CONFLICT`, `BUDGET_EXCEEDED`; nothing is changed then.
   */
  register(registration: Registration, identity: WorkerIdentity, held: Worker | undefined, own: WorkerCalls | undefined): Worker {
    const { alias } = registration
    if (own === undefined) this.#permit(registration, identity)
    else this.#separate(registration)
    const holder = this.#workers.get(alias)
    // A machine that comes back before the loss of its last link was noticed takes its own place.
    if (holder !== undefined && holder !== held && !sameMachine(holder.identity, identity))
      throw new KithError('WORKER_CONFLICT', undefined, { details: { alias } })
    if (this.#components.isReserved?.(alias, identity.peer) === true) throw new KithError('WORKER_CONFLICT', undefined, { details: { alias } })
    const gone = new Set([held, holder].filter((worker) => worker !== undefined))
    this.#checkRoom(registration, identity, gone)
    if (held !== undefined && held === holder && !held.draining) {
      held.replace(registration)
      this.#changed()
      return held
    }
    const { clock, client } = this.#components
    const worker = new Worker({ alias, identity, own: own !== undefined, calls: own ?? client, clock, maxCalls: this.#limits.callsPerWorker })
    worker.replace(registration)
    for (const former of gone) {
      this.#workers.delete(former.alias)
      former.lose()
    }
    this.#workers.set(alias, worker)
    this.#changed()
    return worker
  }

  remove(worker: Worker): boolean {
    if (this.#workers.get(worker.alias) !== worker) return false
    this.#workers.delete(worker.alias)
    worker.lose()
    this.#changed()
    return true
  }

  /** Whether its registration would still be taken by the rules. */
  stillPermitted(worker: Worker): boolean {
    if (worker.own) return true
    return [...servicesOf([...worker.operations.keys()])].every((service) => this.#components.mayOffer(worker.identity.peer, `${worker.alias}/${service}`))
  }

  /** In the order in which they should be tried: who waits to be tried, then least calls under way, then who waited longest; who was put aside last. */
  inOrder(name: string): readonly Worker[] {
    if (this.#workers.size === 1) return [...this.#workers.values()]
    const ranked = [...this.#workers.values()].map((worker) => ({ worker, rank: rankOf(worker, name) }))
    ranked.sort((a, b) => a.rank - b.rank || a.worker.running - b.worker.running || a.worker.lastChosen - b.worker.lastChosen)
    return ranked.map(({ worker }) => worker)
  }

  chosen(worker: Worker): void {
    worker.lastChosen = ++this.#turn
  }

  /** Puts a worker aside, as long as enough others do the same. @returns whether it was. */
  eject(worker: Worker, name: string): boolean {
    const peers = this.#others(worker, name)
    const ejected = peers.filter(({ health }) => health.ejected).length
    if (ejected + 1 > (peers.length + 1) * MAX_EJECTED) return false
    worker.health.eject()
    return true
  }

  /** The latency of the others that do the same; `undefined` without any. */
  medianOfOthers(worker: Worker, name: string): number | undefined {
    return medianLatency(this.#others(worker, name).map(({ health }) => health))
  }

  #others(worker: Worker, name: string): Worker[] {
    return [...this.#workers.values()].filter((other) => other !== worker && other.serving && other.operations.has(name))
  }

  #permit({ alias, operations }: Registration, { peer }: WorkerIdentity): void {
    for (const service of servicesOf(operations.map(({ name }) => name))) {
      if (this.#components.mayOffer(peer, `${alias}/${service}`)) continue
      throw new KithError('WORKER_DENIED', undefined, { details: { target: `${alias}/${service}` } })
    }
  }

  #separate({ operations }: Registration): void {
    const taken = operations.find(({ name }) => this.#components.hasLocal(name))
    if (taken !== undefined) throw new KithError('CALL_CONFLICT', `This node has an operation ${taken.name} itself.`, { details: { operation: taken.name } })
  }

  #checkRoom({ operations }: Registration, { peer }: WorkerIdentity, gone: ReadonlySet<Worker>): void {
    let [workers, ofPeer, count] = [1, 1, operations.length]
    for (const worker of this.#workers.values()) {
      if (gone.has(worker)) continue
      workers++
      if (worker.identity.peer === peer) ofPeer++
      count += worker.operations.size
    }
    const limits = this.#limits
    if (workers <= limits.workers && ofPeer <= limits.workersPerPeer && count <= limits.operations) return
    throw new KithError('BUDGET_EXCEEDED', 'This head has as many workers as it takes.')
  }
}

function rankOf(worker: Worker, name: string): number {
  if (!worker.serving || !worker.operations.has(name)) return 3
  const { state } = worker.health
  return state === 'probe' ? 0 : state === 'open' ? 1 : 2
}

function sameMachine(a: WorkerIdentity, b: WorkerIdentity): boolean {
  return a.peer === b.peer && a.linkKey === b.linkKey && a.linkKey !== ''
}

/** The handle of a worker beside this node. */
export function attached(table: WorkerTable, first: Worker, calls: WorkerCalls): AttachedWorker {
  let worker = first
  return {
    replace(registration) {
      worker = table.register(registration, worker.identity, worker, calls)
    },
    drain: () => worker.drain(),
    close: () => void table.remove(worker),
  }
}

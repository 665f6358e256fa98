import { createWorkerSession, type WorkerSession, type WorkerState } from '../../call/worker.ts'
import { type OfferedOperation, WORKER_PROTOCOL } from '../../call/worker-codec.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { Mesh } from '../../mesh/mesh-types.ts'

export type WorkerPhase = WorkerState['phase']

export interface HeadStatus {
  readonly did: Did
  readonly alias: string
  readonly phase: WorkerPhase
  readonly error: string | null
}

export interface RegistrationsOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface WantedHead {
  readonly head: Did
  readonly alias: string
  readonly operations: () => readonly OfferedOperation[]
  readonly onState?: (state: WorkerState) => void
}

export interface KeptRegistration {
  readonly phase: WorkerPhase
  /** What is offered has changed. */
  update(): void
  /** Takes no new calls and ends when those that run have. */
  drain(ms: number): Promise<void>
  close(): void
}

interface Entry {
  readonly wanted: WantedHead
  session: WorkerSession | undefined
}

/** Registrations of this node at heads. They are wanted for as long as whoever wants them says so, and kept up whenever the mesh runs. */
export class WorkerRegistrations {
  readonly #options: RegistrationsOptions
  readonly #entries: Set<Entry> = new Set()
  #mesh: Pick<Mesh, 'openLean'> | undefined

  constructor(options: RegistrationsOptions) {
    this.#options = options
  }

  /** Whether what this head says of a caller is believed: it is one that this node registered with. */
  believes(head: Did): boolean {
    return [...this.#entries].some(
      ({ wanted, session }) => wanted.head === head && (session?.state.phase === 'registered' || session?.state.phase === 'draining'),
    )
  }

  list(): readonly HeadStatus[] {
    return [...this.#entries].map(({ wanted: { head, alias }, session }) => ({
      did: head,
      alias,
      phase: session?.state.phase ?? 'connecting',
      error: session?.state.error?.code ?? null,
    }))
  }

  /** @throws KithError `WORKER_CONFLICT` when this node is registered there under that alias already. @throws TypeError for a bad alias. */
  add(wanted: WantedHead): KeptRegistration {
    if ([...this.#entries].some(({ wanted: { head, alias } }) => head === wanted.head && alias === wanted.alias)) {
      throw new KithError('WORKER_CONFLICT', `This node is registered there as ${wanted.alias} already.`, { details: { alias: wanted.alias } })
    }
    const entry: Entry = { wanted, session: undefined }
    this.#begin(entry)
    this.#entries.add(entry)
    return {
      get phase() {
        return entry.session?.state.phase ?? 'connecting'
      },
      update: () => entry.session?.update(),
      drain: async (ms) => {
        await entry.session?.drain(ms)
        this.#entries.delete(entry)
      },
      close: () => {
        this.#entries.delete(entry)
        entry.session?.close()
      },
    }
  }

  start(mesh: Pick<Mesh, 'openLean'>): void {
    this.#mesh = mesh
    for (const entry of this.#entries) this.#begin(entry)
  }

  /** What was offered has changed. */
  update(): void {
    for (const { session } of this.#entries) session?.update()
  }

  /** Lets calls of heads end; the registrations stay wanted. */
  async stop(ms: number): Promise<void> {
    this.#mesh = undefined
    await Promise.all([...this.#entries].map(({ session }) => session?.drain(ms)))
    for (const entry of this.#entries) entry.session = undefined
  }

  #begin(entry: Entry): void {
    const mesh = this.#mesh
    if (mesh === undefined) return
    const { head, alias, operations, onState } = entry.wanted
    entry.session = createWorkerSession({
      ...this.#options,
      open: (signal) => mesh.openLean(head, WORKER_PROTOCOL, { signal }),
      alias,
      operations,
      ...(onState === undefined ? {} : { onState }),
    })
  }
}

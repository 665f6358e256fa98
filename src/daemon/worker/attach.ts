import type { Socket } from 'node:net'
import { OWNER } from '../../access/owner.ts'
import { callsOverLinks } from '../../call/head-calls.ts'
import type { Head } from '../../call/head-types.ts'
import { createCallClient, serveCalls } from '../../call/link.ts'
import { decodeStatement } from '../../call/statement.ts'
import type { WorkerState } from '../../call/worker.ts'
import { type Registration, WORKER_PROTOCOL } from '../../call/worker-codec.ts'
import type { Clock } from '../../core/clock.ts'
import type { Did } from '../../identity/did.ts'
import type { LinkStream } from '../../transport/types.ts'
import type { KeptRegistration, WorkerRegistrations } from '../services/worker-registrations.ts'
import { createLocalLink, type LocalLink } from './local-link.ts'
import { NEWS_PROTOCOL, writeNews } from './news.ts'

export interface AttachOptions {
  readonly head: Head
  readonly registrations: WorkerRegistrations
  /** Where else its operations are to be registered. */
  readonly heads: readonly Did[]
  readonly did: Did
  readonly nameOf: (did: Did) => string | null
  readonly clock: Clock
}

/** How long calls of heads may go on when the process ends. */
const DRAIN_MS = 10_000

/** Daemon's side of a worker in a process beside it. What the process offers is registered here, and at the heads it names, until the connection ends. */
export function attachWorker(socket: Socket, early: Buffer, options: AttachOptions): LocalLink {
  const { head, did, clock } = options
  const link = createLocalLink(socket, early, { role: 'listener', did, clock })
  const client = createCallClient(link, { clock })
  // The process holds the control token: what its handlers call for somebody, it may say for whom.
  const server = serveCalls(link, head, { callerOf: (_context, statement) => (statement === undefined ? OWNER : decodeStatement(statement, OWNER)) })
  const elsewhere = new Elsewhere(link, options)
  link.handleLean(WORKER_PROTOCOL, (stream) => {
    head.accept(
      stream,
      { peer: did, linkKey: '' },
      { calls: callsOverLinks(client), onRegistration: (offered) => elsewhere.offer(offered), drain: () => elsewhere.drain() },
    )
  })
  void link.closed.then(() => {
    elsewhere.close()
    server.close()
    client.close()
  })
  return link
}

/** The registrations of one process at heads, and what it is told of them. */
class Elsewhere {
  readonly #link: LocalLink
  readonly #options: AttachOptions
  #offered: Registration | undefined
  #kept: readonly KeptRegistration[] = []
  #news: Promise<LinkStream> | undefined

  constructor(link: LocalLink, options: AttachOptions) {
    this.#link = link
    this.#options = options
  }

  offer(offered: Registration | undefined): void {
    const before = this.#offered
    this.#offered = offered
    if (offered === undefined) this.close()
    else if (before === undefined) this.#kept = this.#options.heads.map((head) => this.#register(head, offered.alias))
    else for (const kept of this.#kept) kept.update()
  }

  async drain(): Promise<void> {
    await Promise.all(this.#kept.map((kept) => kept.drain(DRAIN_MS)))
  }

  close(): void {
    for (const kept of this.#kept) kept.close()
    this.#kept = []
  }

  #register(head: Did, alias: string): KeptRegistration {
    return this.#options.registrations.add({
      head,
      alias,
      operations: () => this.#offered?.operations ?? [],
      onState: (state) => this.#tell(head, alias, state),
    })
  }

  #tell(head: Did, alias: string, { phase, error }: WorkerState): void {
    const target = typeof error?.details.target === 'string' ? error.details.target : alias
    const next = phase === 'refused' && error?.code === 'WORKER_DENIED' ? `kith allow ${this.#options.did} offer ${target}` : null
    this.#news ??= this.#link.openLean('', NEWS_PROTOCOL)
    this.#news.then(
      (stream) => writeNews(stream, { head, name: this.#options.nameOf(head), phase, error: error?.code ?? null, next }),
      () => undefined,
    )
  }
}

import { isDeepStrictEqual } from 'node:util'
import type { Clock, Timer } from '../../core/clock.ts'
import { asKithError, type KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Did } from '../../identity/did.ts'
import type { Tunnels } from '../../tunnel/index.ts'
import type { NamedForward } from '../config/forwards.ts'
import type { Trouble } from '../service.ts'
import type { SshForwardOptions } from './tunnels.ts'

export interface NamedForwardsOptions {
  readonly tunnels: Tunnels
  readonly resolvePeer: (text: string) => Did
  readonly openSsh: (options: SshForwardOptions) => Promise<unknown>
  readonly clock: Clock
  readonly logger: Logger
}

interface Named {
  readonly row: NamedForward
  error: KithError | undefined
  timer: Timer | undefined
  /** Ms until the next attempt. */
  pause: number
}

const FIRST_RETRY_MS = 2_000
const MOST_RETRY_MS = 60_000

/** The forwards of the configuration: opened with the node, whether their peer is there or not, and tried again when their port is taken. */
export class NamedForwards {
  readonly #options: NamedForwardsOptions
  readonly #named = new Map<string, Named>()
  #closed = false

  constructor(options: NamedForwardsOptions) {
    this.#options = options
  }

  /** Makes what runs what is configured: rows that vanished or changed are closed, new ones opened; the others are not touched. */
  async apply(rows: readonly NamedForward[]): Promise<void> {
    for (const [name, named] of [...this.#named]) {
      if (rows.some((row) => isDeepStrictEqual(row, named.row))) continue
      this.forget(name)
      await this.#options.tunnels.remove(name).catch(() => {})
    }
    await Promise.all(rows.filter(({ name }) => !this.#named.has(name)).map((row) => this.#start(row)))
  }

  /** A forward that a command has just opened and saved under this row. */
  adopt(given: NamedForward): void {
    // As it is read of the file, where what is not set does not stand: a reload must not take it for another one.
    const row = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as unknown as NamedForward
    this.#named.set(row.name, { row, error: undefined, timer: undefined, pause: FIRST_RETRY_MS })
  }

  /** It was closed by a command: it is not opened again before the next start, or a reload that changed it. */
  forget(name: string): boolean {
    this.#named.get(name)?.timer?.cancel()
    return this.#named.delete(name)
  }

  troubles(): readonly Omit<Trouble, 'service'>[] {
    return [...this.#named.values()].flatMap(({ row, error }) =>
      error === undefined ? [] : [{ code: error.code, message: `the forward ${row.name} is not open: ${error.message}`, next: error.next ?? null }],
    )
  }

  close(): void {
    this.#closed = true
    for (const { timer } of this.#named.values()) timer?.cancel()
    this.#named.clear()
  }

  async #start(row: NamedForward): Promise<void> {
    const named: Named = { row, error: undefined, timer: undefined, pause: FIRST_RETRY_MS }
    this.#named.set(row.name, named)
    await this.#open(named)
  }

  async #open(named: Named): Promise<void> {
    const { row } = named
    try {
      await this.#openRow(row)
      named.error = undefined
      if (this.#named.get(row.name) !== named) await this.#options.tunnels.remove(row.name).catch(() => {})
    } catch (error) {
      if (this.#closed || this.#named.get(row.name) !== named) return
      const failure = asKithError(error, 'INTERNAL')
      if (named.error?.code !== failure.code) this.#options.logger.warn('named forward not open', { name: row.name, code: failure.code })
      named.error = failure
      named.timer = this.#options.clock.after(named.pause, () => void this.#open(named))
      named.pause = Math.min(2 * named.pause, MOST_RETRY_MS)
    }
  }

  async #openRow(row: NamedForward): Promise<void> {
    const { tunnels, resolvePeer, openSsh } = this.#options
    if (row.kind === 'ssh') {
      const { name: id, peer: server, target, local, bind_public: allowPublicBind, known_hosts: knownHosts, host_key: hostKey, key_file: keyFile } = row
      await openSsh({ id, server, target, allowPublicBind, knownHosts, hostKey, keyFile, check: false, ...(local === undefined ? {} : { local }) })
      return
    }
    const base = { id: row.name, peer: resolvePeer(row.peer) }
    if (row.kind === 'remote') {
      await tunnels.remote({ ...base, remote: row.remote, to: row.to, wait: true })
      return
    }
    const local = row.local === undefined ? {} : { local: row.local }
    if (row.kind === 'socks') await tunnels.socks({ ...base, ...local })
    else await tunnels.forward({ ...base, ...local, target: row.target, allowPublicBind: row.bind_public, check: false })
  }
}

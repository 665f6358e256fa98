import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { SshConnection } from './connect.ts'

export interface StandingOptions {
  /** What the login takes and the owner has not given yet; asked before a login. @throws KithError, which is no refusal of the server. */
  readonly prepare?: () => void
  /** Logs in; asked when nobody is logged in and a stream is wanted. */
  readonly connect: (signal: AbortSignal) => Promise<SshConnection>
  readonly clock: Clock
}

/** A server that refused is not asked again for each connection that waits: it would count them, and shut this machine out. */
const PAUSE_MS = 2_000

/** One login that many streams share. It is made when the first of them is wanted, and again by the next one after it was lost. */
export class StandingConnection {
  readonly #options: StandingOptions
  readonly #closing = new AbortController()
  #connection: Promise<SshConnection> | undefined
  #refused: { readonly error: KithError; readonly at: number } | undefined

  constructor(options: StandingOptions) {
    this.#options = options
  }

  /** Whether somebody is logged in, or about to be. */
  get connected(): boolean {
    return this.#connection !== undefined
  }

  /** Logs in unless somebody is. @throws KithError as `connectSsh` and `prepare`; the signal's reason. */
  async ready(signal?: AbortSignal): Promise<SshConnection> {
    if (this.#closing.signal.aborted) throw new KithError('CLOSED')
    if (this.#connection === undefined) this.#options.prepare?.()
    const refused = this.#refused
    if (refused !== undefined && this.#options.clock.monotonic() - refused.at < PAUSE_MS) throw refused.error
    this.#connection ??= this.#dial()
    const connection = this.#connection
    if (signal === undefined) return await connection
    return await new Promise((resolve, reject) => {
      const abort = (): void => reject(signal.reason)
      if (signal.aborted) abort()
      signal.addEventListener('abort', abort, { once: true })
      connection.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
    })
  }

  /** A stream by `open` of the connection, and what says that the connection was lost. @throws KithError as `ready`, `SSH_CHANNEL_REFUSED`. */
  async stream(open: (connection: SshConnection) => Promise<Duplex>): Promise<{ readonly stream: Duplex; readonly lost: AbortSignal }> {
    const connection = await this.ready()
    return { stream: await open(connection), lost: connection.closed }
  }

  close(): void {
    this.#closing.abort(new KithError('CLOSED'))
    this.#connection?.then((connection) => connection.close()).catch(() => {})
  }

  async #dial(): Promise<SshConnection> {
    const { clock } = this.#options
    try {
      const connection = await this.#options.connect(this.#closing.signal)
      this.#refused = undefined
      const forget = (): void => {
        this.#connection = undefined
      }
      connection.closed.addEventListener('abort', forget, { once: true })
      if (connection.closed.aborted) forget()
      return connection
    } catch (error) {
      this.#connection = undefined
      const failure = asKithError(error, 'SSH_FAILED')
      this.#refused = { error: failure, at: clock.monotonic() }
      throw failure
    }
  }
}

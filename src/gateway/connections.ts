import type { Socket } from 'node:net'
import { KithError } from '../core/errors.ts'
import type { Exchange } from './exchange.ts'

/** One connection, and what is being answered on it: usually one request, more where the client does not wait for answers. */
export class Connection {
  readonly address: string
  #first: Exchange | undefined
  #others: Set<Exchange> | undefined

  constructor(address: string) {
    this.address = address
  }

  add(exchange: Exchange): void {
    if (this.#first === undefined) this.#first = exchange
    else {
      this.#others ??= new Set()
      this.#others.add(exchange)
    }
  }

  delete(exchange: Exchange): void {
    if (this.#first === exchange) this.#first = undefined
    else this.#others?.delete(exchange)
  }

  all(): Exchange[] {
    return [...(this.#first === undefined ? [] : [this.#first]), ...(this.#others ?? [])]
  }
}

/**
 * Everything that is being answered, by the connections it came by. A connection and a credential are listened to once each, for as long as they live: listening costs
 * more than a small call, and most connections carry many.
 */
export class Connections {
  readonly #known: WeakMap<Socket, Connection> = new WeakMap()
  readonly #open: Set<Connection> = new Set()
  readonly #watched: WeakSet<AbortSignal> = new WeakSet()

  /** What is added to it ends when its socket does. */
  of(socket: Socket): Connection {
    const known = this.#known.get(socket)
    if (known !== undefined) return known
    const connection = new Connection(socket.remoteAddress ?? '')
    this.#known.set(socket, connection)
    if (socket.closed) return connection
    this.#open.add(connection)
    socket.once('close', () => {
      this.#open.delete(connection)
      for (const { ending } of connection.all()) ending.cancel(new KithError('ABORTED', 'The client went away.'))
    })
    return connection
  }

  /** Ends what is answered for those who came in by this, when it is taken back. */
  watch(revoked: AbortSignal): void {
    if (this.#watched.has(revoked)) return
    this.#watched.add(revoked)
    revoked.addEventListener('abort', () => this.#end((exchange) => exchange.caller?.revoked === revoked, takenBack), { once: true })
  }

  close(): void {
    this.#end(
      () => true,
      () => new KithError('CLOSED', 'The gateway closes.'),
    )
  }

  #end(which: (exchange: Exchange) => boolean, why: () => KithError): void {
    for (const connection of [...this.#open]) for (const exchange of connection.all()) if (which(exchange)) exchange.ending.cancel(why())
  }
}

export function takenBack(): KithError {
  return new KithError('GATEWAY_UNAUTHORIZED', 'What the caller showed is not valid any more.')
}

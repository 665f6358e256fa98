import type { Duplex } from 'node:stream'
import type { PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import type { Signer } from '../core/signer.ts'
import { dial } from '../stream/dial.ts'
import { listen } from '../stream/listen.ts'
import { LINK_MESSAGE_BYTES, LINK_NAMESPACE, type PostQuantumChannel, postQuantumDialer, postQuantumListener } from '../stream/postquantum.ts'
import { multiplex } from './mux/connection.ts'
import type { Channel, ChannelBinding, Connection, MultiplexOptions, Path } from './types.ts'

/**
 * The one way from a stream of bytes to a channel, whatever carries the bytes:
 *
 * ```text
 * Duplex -> encrypted stream -> post-quantum step -> Channel -> multiplex() -> Connection
 * ```
 */
export interface StackOptions {
  readonly signer: Signer
  readonly clock: Clock
  readonly random: Random
  readonly path: Path
}

/** Freshness comes from nonces, so clocks may be far apart (protocol.md, further rules). */
const TIME_WINDOW_MS = 120_000
const HANDSHAKE_MS = 10_000

/**
 * Dials over `duplex`, which is destroyed on any failure.
 * @throws KithError `HANDSHAKE_FAILED` (also when another key answers: the listener only hangs up), `HANDSHAKE_TIMEOUT`, `HANDSHAKE_TIMESTAMP`, `SELF_DIAL`;
 * the signal's reason.
 */
export async function dialStack(duplex: Duplex, expect: PublicKey, signal: AbortSignal, options: StackOptions): Promise<Channel> {
  try {
    const stream = await dial(duplex, { ...config(options), peer: expect, signal })
    return new StackChannel(postQuantumDialer(stream), options)
  } catch (error) {
    if (signal.aborted || error instanceof TypeError) throw error
    throw asKithError(error, 'HANDSHAKE_FAILED')
  }
}

export interface AcceptOptions extends StackOptions {
  /** Answers a locate request (PN-2) in place of a handshake. */
  readonly onLocate?: (request: Uint8Array) => Uint8Array | undefined
}

/**
 * Answers a dialer over `duplex`, which is destroyed on any failure. Every well-formed key is let in: who it is shows later.
 * @throws KithError with what ended the handshake; `CLOSED` with the detail `locate` when the other side only asked who is here.
 */
export async function acceptStack(duplex: Duplex, options: AcceptOptions): Promise<Channel> {
  const { onLocate } = options
  const stream = await listen(duplex, { ...config(options), admit: () => true, ...(onLocate === undefined ? {} : { onLocate }) })
  return new StackChannel(postQuantumListener(stream), options)
}

function config({ signer, clock, random }: StackOptions) {
  return {
    key: signer,
    namespace: LINK_NAMESPACE,
    maxMessageBytes: LINK_MESSAGE_BYTES,
    synchronyMs: TIME_WINDOW_MS,
    maxHandshakeAgeMs: TIME_WINDOW_MS,
    handshakeTimeoutMs: HANDSHAKE_MS,
    clock,
    random,
  }
}

class StackChannel implements Channel {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum = true
  readonly #channel: PostQuantumChannel
  readonly #clock: Clock
  #received = false
  #closed = false

  constructor(channel: PostQuantumChannel, options: StackOptions) {
    this.role = channel.role
    this.localKey = channel.localKey
    this.remoteKey = channel.remoteKey
    this.path = options.path
    this.#channel = channel
    this.#clock = options.clock
  }

  get channelBinding(): ChannelBinding {
    if (!this.#received) throw new TypeError('the channel binding is known once the first message was received')
    return { kind: 'stream', bytes: this.#channel.channelBinding }
  }

  send(message: Uint8Array): void {
    if (this.#closed) throw new KithError('CLOSED')
    this.#channel.send(message)
  }

  async receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const message = await this.#channel.receive(options)
    this.#received = true
    return message
  }

  multiplex(options: MultiplexOptions = {}): Connection {
    if (this.#closed) throw new KithError('CLOSED')
    const pipe = this.#channel.toPipe()
    this.#closed = true
    return multiplex(pipe, this, this.#clock, options)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    void this.#channel.close()
  }
}

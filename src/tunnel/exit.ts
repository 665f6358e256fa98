import type { Socket } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { asKithError, KithError } from '../core/errors.ts'
import type { StreamContext } from '../mesh/types.ts'
import type { LinkStream } from '../transport/types.ts'
import { Connections } from './connections.ts'
import { type DatagramExit, serveDatagrams } from './datagram-exit.ts'
import { Attempt, dialChecked, type Outbound } from './dial.ts'
import { type Checked, createGate, type Gate, type GateOptions, type Subject } from './gate.ts'
import { HeldStream } from './held-stream.ts'
import { abortSocket } from './local-socket.ts'
import { receiveRequest } from './reception.ts'
import type { Meter } from './splice.ts'
import { formatTarget, isReserved, parseTarget } from './target.ts'
import { type ForwardRequest, MAX_REQUEST_BYTES, takeRequest } from './wire.ts'

/** Serves a reserved name, such as the control channel of calls. The stream is the connection itself. */
export type ReservedHandler = (stream: Duplex, subject: Subject) => void

export interface ExitOptions extends GateOptions {
  /** The owner's proxy for connections that leave here; asked for each, so that a setting can change. */
  readonly outbound?: () => Outbound | undefined
  readonly idleMs?: () => number
  readonly connectMs?: () => number
}

export interface DialTargetOptions extends Subject {
  /** `HOST:PORT` or `unix:/path`, as the client wrote it. */
  readonly target: string
  readonly signal?: AbortSignal
}

export interface DialedTarget {
  /** An ordinary socket; for a reserved name the connection to the door inside the node. Half-open allowed. */
  readonly stream: Duplex
  /** Ends the connection and forgets it. Idempotent. */
  close(): void
}

/** What others reach through this node at the moment, by who and where. */
export interface ServedStatus {
  readonly peer: string
  readonly target: string
  readonly connections: number
  readonly bytes_in: number
  readonly bytes_out: number
}

export interface Exit {
  readonly gate: Gate
  handle(stream: LinkStream, context: StreamContext): void
  /**
   * For doors that are no link: policy, resolve, policy by each address, then dial the address that was checked. Ends when the rules change so that it
   * would not be allowed any more.
   * @throws KithError `FORWARD_DENIED`, `FORWARD_TARGET`, `FORWARD_NAME`, `FORWARD_REFUSED`, `FORWARD_UNREACHABLE`, or the signal's reason.
   */
  dialTarget(options: DialTargetOptions): Promise<DialedTarget>
  /** Serves a reserved name (`kith-control`, `alknet-control`); without a handler it is unreachable. Returns the way to stop. */
  reserve(name: string, handler: ReservedHandler): () => void
  /** Calls back when the rules have changed; returns the way to stop. */
  onRules(changed: () => void): () => void
  list(): readonly ServedStatus[]
  close(): void
}

/** What was decided, and after how many changes of the rules. */
interface Decided extends Checked {
  readonly changes: number
}

/** A connection under way, and what was decided for it. */
interface Running {
  readonly checked: Checked
  readonly meter: Readonly<Meter>
  /** Ends it with the code that the other side learns. */
  end(code: 'FORWARD_DENIED' | 'CLOSED' | 'FORWARD_IDLE'): void
}

/** A target that has not answered by then is reported as unreachable. */
const CONNECT_TIMEOUT_MS = 10_000

/**
 * The accepting end of forwards: asks the policy with the name as written and with every address it resolved to, dials the address that was checked
 * (never the name a second time), and joins the two. What the name resolved to and which rule decided stay here; the opener learns only a code.
 */
export function createExit(options: ExitOptions): Exit {
  const { policy, clock, logger } = options
  const gate = createGate(options)
  const running = new Set<Running>()
  /** How often the rules have changed. */
  let changes = 0
  const reserved = new Map<string, ReservedHandler>()
  const connections = new Connections({ clock, idleMs: options.idleMs ?? (() => 0) })

  function dial(checked: Checked, attempt: Attempt, lean: boolean): Promise<Socket> {
    return dialChecked(checked, { attempt, lean, clock, timeoutMs: options.connectMs?.() ?? CONNECT_TIMEOUT_MS, outbound: options.outbound?.() })
  }

  /** Counts a connection, unless the rules that changed while its target was dialled do not allow it any more. */
  function run(checked: Decided, end: Running['end'], live?: Running['meter'] | null): { meter: Meter; leave(): void } | undefined {
    if ((checked.changes !== changes || policy.onChange === undefined) && !gate.still(checked)) return undefined
    const entered = connections.enter((idle) => end(idle ? 'FORWARD_IDLE' : 'CLOSED'), live)
    const entry: Running = { checked, meter: live ?? entered.meter, end }
    running.add(entry)
    return {
      meter: entered.meter,
      leave() {
        running.delete(entry)
        entered.leave()
      },
    }
  }

  function handle(stream: LinkStream, context: StreamContext): void {
    receiveRequest(stream, clock, { take: takeRequest, maxBytes: MAX_REQUEST_BYTES }, (request, rest) => {
      const subject: Subject = { peer: context.peer, transport: 'link' }
      if (request.kind === 'datagrams') datagrams(stream, subject, rest)
      else void serve(stream, subject, request, rest)
    })
  }

  const associations = new Map<string, number>()
  const served = new Set<DatagramExit>()
  function datagrams(stream: LinkStream, subject: Subject, rest: Buffer): void {
    const open = associations.get(subject.peer) ?? 0
    // UDP goes directly or not at all: around a proxy that the owner set it would show what the proxy hides.
    if (open >= MAX_ASSOCIATIONS || options.outbound?.() !== undefined) {
      stream.reset(new KithError(open >= MAX_ASSOCIATIONS ? 'BUDGET_EXCEEDED' : 'FORWARD_UNREACHABLE').number)
      return
    }
    associations.set(subject.peer, open + 1)
    let association: DatagramExit | undefined
    let over = false
    association = serveDatagrams({
      ...{ stream, subject, gate, clock, rest },
      done() {
        // What stands behind the request may end it before there is anything to forget.
        over = true
        if (association !== undefined) served.delete(association)
        const left = (associations.get(subject.peer) ?? 1) - 1
        if (left === 0) associations.delete(subject.peer)
        else associations.set(subject.peer, left)
      },
    })
    if (!over) served.add(association)
  }

  async function serve(stream: LinkStream, subject: Subject, request: ForwardRequest, rest: Buffer): Promise<void> {
    const attempt = new Attempt()
    const held = new HeldStream(stream, attempt, rest)
    try {
      const before = changes
      const checked = { ...(await gate.check(subject, 'forward', request)), changes: before }
      if (attempt.aborted) return
      const handler = reserved.get(request.host)
      if (isReserved(request.host) && handler === undefined) throw new KithError('FORWARD_UNREACHABLE')
      if (request.kind === 'check') {
        stream.write(Uint8Array.of(0))
        stream.end()
        return
      }
      if (handler !== undefined) {
        if (request.kind === 'dial') stream.write(Uint8Array.of(0))
        hand(held.toDuplex(), subject, handler, checked)
        return
      }
      const socket = await dial(checked, attempt, true)
      if (attempt.aborted) {
        socket.destroy()
        return
      }
      const entered = run(checked, (code) => {
        stream.reset(new KithError(code).number)
        abortSocket(socket)
      })
      if (entered === undefined) {
        abortSocket(socket)
        throw new KithError('FORWARD_DENIED')
      }
      if (request.kind === 'dial') stream.write(Uint8Array.of(0))
      held.pour(socket, entered.meter, entered.leave)
    } catch (error) {
      const failure = asKithError(error, 'INTERNAL')
      if (!attempt.aborted) stream.reset(failure.number)
      if (failure.code === 'INTERNAL') logger.warn('forward failed', { peer: subject.peer, error: String(error) })
    }
  }

  /** Gives a connection to a door inside the node. */
  function hand(duplex: Duplex, subject: Subject, handler: ReservedHandler, checked: Decided): void {
    const entered = run(checked, (code) => duplex.destroy(new KithError(code)), null)
    duplex.on('error', () => {})
    if (entered === undefined) {
      duplex.destroy(new KithError('FORWARD_DENIED'))
      return
    }
    duplex.once('close', entered.leave)
    handler(duplex, subject)
  }

  async function dialTarget({ target: text, signal, ...subject }: DialTargetOptions): Promise<DialedTarget> {
    const target = parseTarget(text)
    const attempt = new Attempt()
    const abort = (): void => attempt.abort()
    signal?.addEventListener('abort', abort, { once: true })
    try {
      signal?.throwIfAborted()
      const before = changes
      const checked = { ...(await gate.check(subject, 'forward', target)), changes: before }
      signal?.throwIfAborted()
      if (isReserved(target.host)) return openReserved(subject, target.host, checked)
      const socket = await dial(checked, attempt, false)
      const entered = run(checked, () => abortSocket(socket), socketMeter(socket))
      if (entered === undefined) {
        socket.destroy()
        throw new KithError('FORWARD_DENIED')
      }
      socket.on('error', () => {})
      socket.once('close', entered.leave)
      return { stream: socket, close: () => void socket.destroy() }
    } catch (error) {
      if (signal?.aborted === true) throw asKithError(signal.reason, 'ABORTED')
      throw error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  function openReserved(subject: Subject, name: string, checked: Decided): DialedTarget {
    const handler = reserved.get(name)
    if (handler === undefined) throw new KithError('FORWARD_UNREACHABLE')
    const [outside, inside] = duplexPair({ allowHalfOpen: true })
    outside.on('error', () => {})
    // A pair of streams does not pass a failure on by itself.
    inside.once('close', () => outside.destroy())
    outside.once('close', () => inside.destroy())
    hand(inside, subject, handler, checked)
    return { stream: outside, close: () => void outside.destroy() }
  }

  /** The owner changed the rules: connections that would not be allowed now end now. */
  function recheck(): void {
    changes++
    for (const entry of [...running]) if (!gate.still(entry.checked)) entry.end('FORWARD_DENIED')
    for (const association of served) association.recheck()
  }

  const stopWatching = policy.onChange?.(recheck)
  return {
    gate,
    handle,
    dialTarget,
    reserve(name, handler) {
      if (!isReserved(name)) throw new TypeError(`${name} is no reserved name`)
      if (reserved.has(name)) throw new TypeError(`${name} is served already`)
      reserved.set(name, handler)
      return () => {
        if (reserved.get(name) === handler) reserved.delete(name)
      }
    },
    onRules: (changed) => policy.onChange?.(() => changed()) ?? (() => {}),
    list: () => summary(running),
    close() {
      stopWatching?.()
      for (const entry of [...running]) entry.end('CLOSED')
      for (const association of [...served]) association.close()
    },
  }
}

function socketMeter(socket: Socket): Readonly<Meter> {
  return {
    get bytesIn() {
      return socket.bytesWritten
    },
    get bytesOut() {
      return socket.bytesRead
    },
  }
}

/** UDP associations of one peer at once. */
const MAX_ASSOCIATIONS = 64

function summary(running: Iterable<Running>): readonly ServedStatus[] {
  const rows = new Map<string, { peer: string; target: string; connections: number; bytes_in: number; bytes_out: number }>()
  for (const { checked, meter } of running) {
    const target = formatTarget(checked.target)
    const key = `${checked.subject.peer} ${target}`
    const row = rows.get(key) ?? { peer: checked.subject.peer, target, connections: 0, bytes_in: 0, bytes_out: 0 }
    row.connections++
    row.bytes_in += meter.bytesIn
    row.bytes_out += meter.bytesOut
    rows.set(key, row)
  }
  return [...rows.values()]
}

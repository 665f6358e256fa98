import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, isKithError, KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'
import { type Datagram, DatagramReader, encodeDatagram } from './datagrams.ts'
import type { Checked, Gate, Subject } from './gate.ts'
import { formatTarget } from './target.ts'

export interface DatagramExit {
  /** The rules have changed. */
  recheck(): void
  close(): void
}

export interface DatagramExitOptions {
  readonly stream: LinkStream
  readonly subject: Subject
  readonly gate: Gate
  readonly clock: Clock
  /** What arrived behind the request. */
  readonly rest: Buffer
  done(): void
}

/** One target of an association: decided and resolved once, then used for as long as it is among the last ones. */
interface Flow {
  checked: Checked | undefined
  /** `ADDRESS PORT` of the checked address; empty while it is being decided and when it is refused. */
  address: string
  refused: boolean
  waiting: { readonly payload: Buffer }[]
}

const MAX_FLOWS = 256
/** Datagrams that wait for a name to be resolved. */
const MAX_WAITING = 16
/** Datagrams handed to the system and not yet taken by it. */
const MAX_SENDING = 256
/** An association that carries nothing for so long is over. */
const IDLE_MS = 300_000

/**
 * The accepting end of a UDP association: sends each datagram to the address that was checked for its target, and carries back only what comes from an
 * address that was sent to. Nothing queues: what the link or the system does not take at once is dropped.
 */
export function serveDatagrams(options: DatagramExitOptions): DatagramExit {
  const { stream, subject, gate, clock } = options
  const flows = new Map<string, Flow>()
  /** Addresses that may answer, and how many flows lead to each. */
  const senders = new Map<string, number>()
  const sockets: { v4?: Socket; v6?: Socket } = {}
  let over = false
  let blocked = false
  let sending = 0
  let carried = false
  let timer: Timer | undefined

  function watch(): void {
    timer = clock.after(IDLE_MS, () => {
      if (!carried) end(new KithError('FORWARD_IDLE'))
      else {
        carried = false
        watch()
      }
    })
  }

  function end(error?: KithError): void {
    if (over) return
    over = true
    timer?.cancel()
    sockets.v4?.close()
    sockets.v6?.close()
    flows.clear()
    if (error === undefined) stream.end()
    else stream.reset(error.number)
    options.done()
  }

  function socketFor(address: string): Socket {
    const family = isIPv6(address) ? 'v6' : 'v4'
    const existing = sockets[family]
    if (existing !== undefined) return existing
    const socket = createSocket({ type: family === 'v6' ? 'udp6' : 'udp4', ...(family === 'v6' ? { ipv6Only: true } : {}) })
    socket.unref()
    // A target that is not there is told by the system as an error of the socket; UDP has nobody to tell.
    socket.on('error', () => {})
    socket.on('message', (payload, from) => answer(payload, from.address, from.port))
    sockets[family] = socket
    return socket
  }

  function answer(payload: Buffer, host: string, port: number): void {
    if (over || blocked || !senders.has(`${host} ${port}`)) return
    const frame = encodeDatagram({ host, port }, payload)
    if (frame === undefined) return
    carried = true
    blocked = !stream.write(frame)
  }

  function send(address: string, payload: Buffer): void {
    if (sending >= MAX_SENDING) return
    sending++
    carried = true
    const [host, port] = address.split(' ') as [string, string]
    // The system may take it later than this turn, and the bytes are the link's.
    socketFor(host).send(Buffer.from(payload), Number(port), host, () => {
      sending--
    })
  }

  function forget(name: string, flow: Flow): void {
    flows.delete(name)
    const left = (senders.get(flow.address) ?? 1) - 1
    if (left <= 0) senders.delete(flow.address)
    else senders.set(flow.address, left)
  }

  async function decide(name: string, flow: Flow, target: Datagram): Promise<void> {
    try {
      flow.checked = await gate.check(subject, 'datagram', { host: target.host, port: target.port })
    } catch (error) {
      flow.refused = true
      flow.waiting = []
      // There was no room to find out: the next datagram asks again.
      if (isKithError(error, 'BUDGET_EXCEEDED') && flows.get(name) === flow) forget(name, flow)
      return
    }
    if (over || flows.get(name) !== flow || flow.checked.addresses[0] === undefined) return
    flow.address = `${flow.checked.addresses[0]} ${target.port}`
    senders.set(flow.address, (senders.get(flow.address) ?? 0) + 1)
    for (const { payload } of flow.waiting.splice(0)) send(flow.address, payload)
  }

  function take(datagram: Datagram): void {
    const name = formatTarget(datagram)
    const known = flows.get(name)
    if (known !== undefined) {
      // The last used stands last: the first one is given up when there are too many.
      flows.delete(name)
      flows.set(name, known)
      if (known.address !== '') send(known.address, datagram.payload)
      else if (!known.refused && known.waiting.length < MAX_WAITING) known.waiting.push({ payload: Buffer.from(datagram.payload) })
      return
    }
    for (const [oldest, flow] of flows) {
      if (flows.size < MAX_FLOWS) break
      forget(oldest, flow)
    }
    const flow: Flow = { checked: undefined, address: '', refused: false, waiting: [{ payload: Buffer.from(datagram.payload) }] }
    flows.set(name, flow)
    void decide(name, flow, datagram)
  }

  const reader = new DatagramReader(take)
  function read(data: Buffer): void {
    try {
      reader.push(data)
    } catch (error) {
      end(asKithError(error, 'WIRE_MALFORMED'))
    }
  }

  stream.onData = (data, start, finish) => {
    stream.consume(finish - start)
    if (!over) read(data.subarray(start, finish))
  }
  stream.onEnd = () => end()
  stream.onError = () => end()
  stream.onDrain = () => {
    blocked = false
  }
  stream.write(Uint8Array.of(0))
  watch()
  if (options.rest.length > 0) read(options.rest)
  return {
    recheck() {
      // What is refused now may be allowed, and the other way round: everything is decided anew when it is next used.
      for (const [name, flow] of [...flows]) if (flow.checked === undefined || !gate.still(flow.checked)) forget(name, flow)
    },
    close: () => end(new KithError('CLOSED')),
  }
}

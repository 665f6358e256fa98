import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6, type Socket } from 'node:net'
import { asKithError, KithError } from '../../core/errors.ts'
import { parseIp, sameIp } from '../../mesh/ip.ts'
import type { LinkStream } from '../../transport/types.ts'
import { DatagramReader, encodeDatagram, isSource } from '../datagrams.ts'
import type { Attempt } from '../dial.ts'
import { type ForwardTarget, isTarget } from '../target.ts'
import { encodeUdp, takeUdpHeader } from './wire.ts'

export interface AssociationOptions {
  readonly stream: LinkStream
  /** The client's TCP connection: the association lives as long, and only its address may send. */
  readonly socket: Socket
  readonly attempt: Attempt
  readonly meter: { bytesIn: number; bytesOut: number }
  /** The port the client said it sends from; 0 when it does not know yet. */
  readonly from: ForwardTarget
}

/** Datagrams handed to the system for the client and not yet taken by it. */
const MAX_SENDING = 256

/**
 * The client's end of a UDP association (RFC 1928, section 7). Fragments are dropped, as the RFC allows; so is everything that finds the link busy: nothing
 * queues.
 * @throws KithError what the peer refused with.
 */
export async function openAssociation({ stream, socket, attempt, meter, from }: AssociationOptions): Promise<{ readonly bound: ForwardTarget }> {
  const own = socket.localAddress ?? '127.0.0.1'
  const client = parseIp(socket.remoteAddress ?? '')
  const udp = createSocket(isIPv6(own) ? 'udp6' : 'udp4')
  let port = from.port
  let blocked = false
  let sending = 0
  let over = false
  const end = (error?: KithError): void => {
    if (over) return
    over = true
    udp.close()
    if (error?.remote !== true) stream.reset(new KithError('CLOSED').number)
    socket.destroy()
  }
  try {
    if (client === undefined) throw new KithError('FORWARD_TARGET', 'datagrams need a client that came in by TCP')
    await answered(stream, attempt)
    udp.bind({ address: own, port: 0 })
    await once(udp, 'listening')
  } catch (error) {
    udp.close()
    stream.reset(new KithError('ABORTED').number)
    throw error
  }
  udp.on('error', () => {})
  udp.on('message', (message, sender) => {
    const address = parseIp(sender.address)
    if (blocked || address === undefined || !sameIp(address, client) || (port !== 0 && sender.port !== port)) return
    try {
      const taken = takeUdpHeader(message)
      if (taken === undefined || taken.value.fragment !== 0 || taken.value.target === undefined || !isTarget(taken.value.target)) return
      // The first that speaks from the client's address is the client, and from then on it alone.
      port = sender.port
      const frame = encodeDatagram(taken.value.target, message.subarray(taken.rest))
      if (frame === undefined) return
      meter.bytesOut += message.length - taken.rest
      blocked = !stream.write(frame)
    } catch {
      // A datagram that is none is dropped.
    }
  })
  const reader = new DatagramReader((datagram) => {
    if (!isSource(datagram) || port === 0 || sending >= MAX_SENDING || over) return
    meter.bytesIn += datagram.payload.length
    sending++
    udp.send(encodeUdp(datagram, datagram.payload), port, socket.remoteAddress ?? own, () => {
      sending--
    })
  })
  stream.onData = (data, start, finish) => {
    stream.consume(finish - start)
    try {
      if (!over) reader.push(data.subarray(start, finish))
    } catch (error) {
      end(asKithError(error, 'WIRE_MALFORMED'))
    }
  }
  stream.onDrain = () => {
    blocked = false
  }
  stream.onEnd = () => end()
  stream.onError = (error) => end(error)
  socket.once('close', () => end())
  if (socket.destroyed) end()
  const bound = udp.address()
  return { bound: { host: bound.address, port: bound.port } }
}

function answered(stream: LinkStream, attempt: Attempt): Promise<void> {
  return new Promise((resolve, reject) => {
    attempt.onAbort(() => reject(new KithError('ABORTED')))
    stream.onData = (data, start, end) => {
      stream.consume(end - start)
      if (data[start] === 0 && end - start === 1) resolve()
      else reject(new KithError('WIRE_MALFORMED'))
    }
    stream.onEnd = () => reject(new KithError('FORWARD_UNREACHABLE'))
    stream.onError = (error) => reject(error)
  })
}

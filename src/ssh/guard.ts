import type { Duplex } from 'node:stream'
import { type ChannelOpening, type Insides, OPEN_FAILURE, type Protocol } from './library.ts'

/**
 * Limits that `ssh2` does not have. Each of these would otherwise cost a logged-in client nothing and the door its memory or its processor.
 *
 * - A line of identification of more than 255 bytes, not beginning with `SSH-2.0-`, or in more than two pieces (the library loses the middle one).
 * - A channel whose packets may hold next to nothing: data for it would be cut into as many packets as it has bytes; none at all would never end.
 * - Data beyond the window that was granted.
 * - Answers piling up for a client that does not read.
 * - Channels without number.
 * - Requests of the connection that wait for an answer: the library keeps their order, and one that takes its time holds back all behind it.
 */
export interface GuardOptions {
  readonly unreadBytes: number
  readonly channels: number
  /** The client breaks the rules: the connection ends. */
  broken(reason: string): void
}

/** Of these, what a server could do to a client. */
export function guardClient(insides: Insides, broken: (reason: string) => void): void {
  guardChannels(insides, { broken, channels: Number.POSITIVE_INFINITY })
}

/** Requests of a connection that wait for their answer; a client sends a few, one for each port that it asks for. */
const MAX_REQUESTS = 256
/** RFC 4253, section 4.2: with CR LF. */
const MAX_IDENTIFICATION = 255
const PREFIX = Buffer.from('SSH-2.0-')
/** RFC 4254 names no least size; OpenSSH grants 32 KiB. */
const MIN_PACKET = 1_024
/** A window is a number of 32 bits (RFC 4254, section 5.2). */
const MAX_WINDOW = 0xffff_ffff
const LF = 10

export function guardConnection(insides: Insides, socket: Duplex, options: GuardOptions): void {
  guardIdentification(insides._protocol, options)
  guardChannels(insides, options)
  guardRequests(insides._protocol, options)
  guardOutput(socket, options)
}

function guardIdentification(protocol: Protocol, { broken }: GuardOptions): void {
  const parse = protocol.parse
  let early: Buffer = Buffer.alloc(0)
  protocol.parse = (chunk, from, to) => {
    early = Buffer.concat([early, chunk.subarray(from, to)])
    const compared = Math.min(early.length, PREFIX.length)
    if (PREFIX.compare(early, 0, compared, 0, compared) !== 0) return broken('not SSH')
    const end = early.indexOf(LF)
    if (end >= MAX_IDENTIFICATION || (end === -1 && early.length > MAX_IDENTIFICATION)) return broken('identification too long')
    if (end === -1) return
    const all = early
    early = Buffer.alloc(0)
    protocol.parse = parse
    parse.call(protocol, all, 0, all.length)
  }
}

function guardChannels({ _protocol: protocol, _chanMgr: channels }: Insides, { broken, channels: limit }: Omit<GuardOptions, 'unreadBytes'>): void {
  before(protocol, 'CHANNEL_OPEN', (opening: ChannelOpening) => {
    const reason = channels._count >= limit ? OPEN_FAILURE.resourceShortage : opening.packetSize < MIN_PACKET ? OPEN_FAILURE.connectFailed : undefined
    if (reason === undefined) return true
    protocol.channelOpenFail(opening.sender, reason, '')
    return false
  })
  before(protocol, 'CHANNEL_OPEN_CONFIRMATION', ({ packetSize }: ChannelOpening) => packetSize >= MIN_PACKET || end('packets too small'))
  const opened = (id: number): { readonly window: number } | undefined => {
    const channel = channels.get(id)
    return typeof channel === 'object' ? (channel._channel ?? channel).incoming : undefined
  }
  before(protocol, 'CHANNEL_DATA', (id: number, data: Buffer) => {
    const incoming = opened(id)
    return incoming === undefined || incoming.window >= data.length || end('window overrun')
  })
  before(protocol, 'CHANNEL_WINDOW_ADJUST', (id: number, amount: number) => {
    const channel = channels.get(id) as { outgoing?: { window: number }; _channel?: { outgoing: { window: number } } } | undefined
    const outgoing = channel?._channel?.outgoing ?? channel?.outgoing
    return outgoing === undefined || outgoing.window + amount <= MAX_WINDOW || end('window too large')
  })

  function end(reason: string): false {
    broken(reason)
    return false
  }
}

function guardRequests(protocol: Protocol, { broken }: GuardOptions): void {
  let waiting = 0
  const { requestSuccess, requestFailure } = protocol
  protocol.requestSuccess = (data) => {
    waiting--
    requestSuccess.call(protocol, data)
  }
  protocol.requestFailure = () => {
    waiting--
    requestFailure.call(protocol)
  }
  before(protocol, 'GLOBAL_REQUEST', (_name: string, wantsReply: boolean) => {
    if (!wantsReply) return true
    if (waiting < MAX_REQUESTS) {
      waiting++
      return true
    }
    broken('too many requests')
    return false
  })
}

/** Runs `check` in front of a handler of the library; false keeps the message from it. */
function before<A extends readonly unknown[]>(protocol: Protocol, name: string, check: (...args: A) => boolean): void {
  const handler = protocol._handlers[name]
  if (handler === undefined) return
  protocol._handlers[name] = (self, ...args) => {
    if (check(...(args as unknown as A))) handler(self, ...args)
  }
}

function guardOutput(socket: Duplex, { unreadBytes }: GuardOptions): void {
  socket.on('data', () => {
    if (socket.writableLength > unreadBytes) socket.pause()
  })
  socket.on('drain', () => socket.resume())
}

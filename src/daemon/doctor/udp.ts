import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { bindUdp, closeUdp, isUdp, type ListenAddress, parseListen, reasonOf, tryListen, udpSocket, wantedAddresses } from './sockets.ts'
import { bad, type Check, fine } from './types.ts'

/** A datagram to ourselves arrives at once or never; a busy machine gets a second chance. */
const WAIT_MS = 1_000
const TRIES = 2

/**
 * Whether datagrams arrive at the port that quic uses: a running node is asked something that every QUIC server answers, otherwise a datagram is sent to
 * the port from this machine. Firewalls elsewhere are not seen from here.
 */
export const checkUdp: Check = async ({ home, config, daemon, signal }) => {
  const running = (daemon?.listen ?? []).map(parseListen).filter(isUdp)
  if (running.length > 0) {
    for (const address of running) if (!(await probe(address, askQuic, signal))) return blocked(address)
    return fine('udp', `quic answers on UDP port ${ports(running)}`)
  }
  const wanted = (await wantedAddresses(home, config)).filter((address) => isUdp(address) && address.port !== 0)
  const free: ListenAddress[] = []
  // A port that is taken is the other check's finding.
  for (const address of wanted) if ((await tryListen(address)) === undefined) free.push(address)
  const tried = free.length > 0 ? free : [{ scheme: 'quic', host: '127.0.0.1', port: 0 }]
  for (const address of tried) if (!(await probe(address, sendToSelf, signal))) return blocked(address)
  return fine('udp', free.length > 0 ? `datagrams arrive at UDP port ${ports(free)}` : 'a datagram to this machine arrives')
}

function blocked({ port }: ListenAddress): ReturnType<typeof bad> {
  const what = port === 0 ? 'UDP' : `UDP port ${port}`
  return bad('udp', `${what} is blocked on this machine (no answer)`, `allow ${what} in the firewall of this machine; links over tcp work without it`)
}

function ports(addresses: readonly ListenAddress[]): string {
  return [...new Set(addresses.map(({ port }) => port))].join(', ')
}

type Probe = (address: ListenAddress, signal: AbortSignal) => Promise<void>

async function probe(address: ListenAddress, attempt: Probe, signal: AbortSignal): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      await attempt(address, AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]))
      return true
    } catch (error) {
      signal.throwIfAborted()
      if (reasonOf(error) !== 'no answer' && tries + 1 === TRIES) return false
    }
  }
  return false
}

/** An unspecified address is reached by loopback. */
function reachable(host: string): string {
  return host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
}

const sendToSelf: Probe = async ({ host, port }, signal) => {
  const receiver = udpSocket(host)
  const sender = udpSocket(host)
  try {
    await bindUdp(receiver, host, port)
    const arrived = once(receiver, 'message', { signal })
    sender.on('error', () => {})
    sender.send('kith', receiver.address().port, reachable(host))
    await arrived
  } finally {
    closeUdp(receiver)
    closeUdp(sender)
  }
}

/**
 * A version that no server speaks, reserved to make it say which it does (RFC 9000, sections 6 and 15), in a datagram of the least size that is answered
 * (section 14.1).
 *
 * ```text
 * u8 11...... (long header) || u32 0x1a2a3a4a || u8 8 || 8 bytes destination id || u8 8 || 8 bytes source id || zeros up to 1,200
 * ```
 */
const askQuic: Probe = async ({ host, port }, signal) => {
  const question = Buffer.alloc(1_200)
  question.writeUInt8(0xc0, 0)
  question.writeUInt32BE(0x1a2a3a4a, 1)
  const ids = randomBytes(16)
  question.writeUInt8(8, 5)
  ids.copy(question, 6, 0, 8)
  question.writeUInt8(8, 14)
  ids.copy(question, 15, 8, 16)
  const socket = udpSocket(host)
  try {
    await bindUdp(socket, host.includes(':') ? '::' : '0.0.0.0', 0)
    const answered = once(socket, 'message', { signal })
    socket.send(question, port, reachable(host))
    await answered
  } finally {
    closeUdp(socket)
  }
}

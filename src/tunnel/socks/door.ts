import { timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Clock } from '../../core/clock.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Did } from '../../identity/did.ts'
import { Attempt } from '../dial.ts'
import { type CarrierOptions, noteFailure } from '../entry.ts'
import { HeldStream } from '../held-stream.ts'
import { type LocalListener, listenLocal } from '../listener.ts'
import { abortSocket } from '../local-socket.ts'
import { explain } from '../opener.ts'
import { type ForwardTarget, isTarget } from '../target.ts'
import { ClientHead } from './client-head.ts'
import { type ConnectHead, encodeStatus, MAX_HEAD_BYTES, takeConnect } from './http.ts'
import { choosePeer } from './route.ts'
import { openAssociation } from './udp.ts'
import { encodeReply, type Login, MAX_MESSAGE_BYTES, METHOD_NONE, METHOD_PASSWORD, NO_METHOD, REPLY, takeGreeting, takeLogin, takeRequest } from './wire.ts'

export interface DoorOptions extends CarrierOptions {
  readonly clock: Clock
  /** Where connections go whose client names no other peer. */
  readonly peer: Did
  readonly local: ForwardTarget
  /** A peer of the address book by name, DID, or prefix of one. @throws KithError. */
  readonly resolvePeer: (text: string) => Did
  /** What clients must give as password; absent on doors that only this machine reaches. */
  readonly password: string | undefined
}

/** From the first byte of a client to the whole of what it asks. */
const HEAD_TIMEOUT_MS = 10_000

/**
 * One port for SOCKS5 and HTTP CONNECT, told apart by the first byte: names are resolved by the peer, under the peer's rules.
 * @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`.
 */
export async function openDoor(options: DoorOptions): Promise<LocalListener> {
  return await listenLocal(options.local, (socket) => void serve(options, socket))
}

async function serve(options: DoorOptions, socket: Socket): Promise<void> {
  const attempt = new Attempt()
  const { meter, leave } = options.connections.enter(() => {
    attempt.abort()
    abortSocket(socket)
  })
  socket.once('close', () => {
    attempt.abort()
    leave()
  })
  const head = new ClientHead(socket, options.clock, HEAD_TIMEOUT_MS)
  const client: Client = { options, socket, attempt, meter, head }
  try {
    const first = await head.next((bytes) => (bytes.length === 0 ? undefined : { value: bytes[0] as number, rest: 0 }), 1)
    if (first === 5) await serveSocks(client)
    else if (first >= 0x41 && first <= 0x7a) await serveHttp(client)
    else socket.destroy()
  } catch {
    socket.destroy()
  } finally {
    head.release()
  }
}

interface Client {
  readonly options: DoorOptions
  readonly socket: Socket
  readonly attempt: Attempt
  readonly meter: { bytesIn: number; bytesOut: number }
  readonly head: ClientHead
}

async function serveSocks(client: Client): Promise<void> {
  const { options, socket, head } = client
  const methods = await head.next(takeGreeting, MAX_MESSAGE_BYTES)
  // A login is taken when it is offered: its name chooses the peer.
  const method = methods.includes(METHOD_PASSWORD) ? METHOD_PASSWORD : methods.includes(METHOD_NONE) && options.password === undefined ? METHOD_NONE : NO_METHOD
  socket.write(Uint8Array.of(5, method))
  if (method === NO_METHOD) return void socket.end()
  let user = ''
  if (method === METHOD_PASSWORD) {
    const login = await head.next(takeLogin, MAX_MESSAGE_BYTES)
    const right = mayEnter(options, login) && namesPeer(options, login.user)
    socket.write(Uint8Array.of(1, right ? 0 : 1))
    if (!right) return void socket.end()
    user = login.user
  }
  const { command, target } = await head.next(takeRequest, MAX_MESSAGE_BYTES)
  if (target === undefined) return void socket.end(encodeReply(REPLY.address))
  if (command === 'udp') return await serveUdp(client, user, target)
  if (command !== 'connect') return void socket.end(encodeReply(REPLY.command))
  await connectTo(client, user, target, encodeReply(REPLY.ok), (error) => encodeReply(replyFor(error)))
}

async function serveHttp(client: Client): Promise<void> {
  const { options, socket, head } = client
  let asked: ConnectHead
  try {
    asked = await head.next(takeConnect, MAX_HEAD_BYTES + 4)
  } catch (error) {
    const { code } = asKithError(error, 'WIRE_MALFORMED')
    if (code !== 'CLOSED')
      socket.end(encodeStatus(code === 'TIMEOUT' ? 408 : 400, code === 'TIMEOUT' ? 'The request did not arrive in time.' : 'This is no proxy request.'))
    return
  }
  const { target, login } = asked
  if (options.password !== undefined && (login === undefined || !mayEnter(options, login))) {
    return void socket.end(encodeStatus(407, 'This proxy asks for its password.'))
  }
  if (target === undefined) {
    return void socket.end(encodeStatus(405, 'This proxy carries CONNECT only. For pages without TLS use it as a SOCKS5 proxy (socks5h://) on the same port.'))
  }
  await connectTo(client, login?.user ?? '', target, encodeStatus(200), (error) => encodeStatus(statusFor(error), error.message))
}

async function connectTo(client: Client, user: string, asked: ForwardTarget, ok: Buffer, refusal: (error: KithError) => Buffer): Promise<void> {
  const { options, socket, attempt, meter, head } = client
  let held: HeldStream | undefined
  try {
    const { peer, target } = choose(options, user, asked)
    try {
      const stream = await options.opener.open(peer, { kind: 'dial', ...target }, attempt)
      held = new HeldStream(stream, attempt)
      await held.connected()
    } catch (error) {
      const failure = explain(asKithError(error, 'PEER_UNREACHABLE'), options.mesh, peer, target)
      if (!socket.destroyed) noteFailure(options, peer, failure)
      throw failure
    }
  } catch (error) {
    held?.stream.reset(new KithError('ABORTED').number)
    socket.end(refusal(asKithError(error, 'FORWARD_UNREACHABLE')))
    return
  }
  const early = head.release()
  socket.write(ok)
  held.pour(socket, meter, () => {}, early)
}

async function serveUdp(client: Client, user: string, from: ForwardTarget): Promise<void> {
  const { options, socket, attempt, meter, head } = client
  try {
    const peer = user === '' ? options.peer : options.resolvePeer(user)
    const stream = await options.opener.open(peer, { kind: 'datagrams', host: '', port: 0 }, attempt)
    const association = await openAssociation({ stream, socket, attempt, meter, from })
    socket.write(encodeReply(REPLY.ok, association.bound))
    head.release()
    // The connection says nothing more; its end is the end of the association.
    socket.resume()
    socket.once('end', () => socket.end())
  } catch (error) {
    socket.end(encodeReply(replyFor(asKithError(error, 'FORWARD_UNREACHABLE'))))
  }
}

/** @throws KithError `FORWARD_TARGET`, `FORWARD_NAME`. */
function choose(options: DoorOptions, user: string, asked: ForwardTarget): { peer: Did; target: ForwardTarget } {
  const chosen = choosePeer(asked.host, options.resolvePeer)
  const peer = chosen?.peer ?? (user === '' ? options.peer : options.resolvePeer(user))
  const target = { host: chosen?.host ?? asked.host, port: asked.port }
  if (!isTarget(target)) throw new KithError('FORWARD_TARGET')
  return { peer, target }
}

function namesPeer({ resolvePeer }: DoorOptions, user: string): boolean {
  try {
    if (user !== '') resolvePeer(user)
    return true
  } catch {
    return false
  }
}

function mayEnter({ password }: DoorOptions, login: Login): boolean {
  // Digests are of one length, so the time says nothing about the password's.
  return password === undefined || timingSafeEqual(sha256(Buffer.from(password)), sha256(login.password))
}

function replyFor({ code }: KithError): number {
  switch (code) {
    case 'FORWARD_DENIED':
    case 'POLICY_DENIED':
      return REPLY.denied
    case 'FORWARD_REFUSED':
      return REPLY.refused
    case 'FORWARD_NAME':
    case 'FORWARD_ONION':
    case 'FORWARD_UNREACHABLE':
      return REPLY.host
    case 'FORWARD_TARGET':
      return REPLY.address
    case 'PEER_UNREACHABLE':
    case 'PEER_UNKNOWN':
    case 'LINK_LOST':
    case 'LINK_CLOSED':
    case 'TIMEOUT':
      return REPLY.network
    default:
      return REPLY.general
  }
}

function statusFor({ code }: KithError): number {
  if (code === 'FORWARD_DENIED' || code === 'POLICY_DENIED') return 403
  if (code === 'FORWARD_TARGET') return 400
  return code === 'TIMEOUT' || code === 'PEER_UNREACHABLE' ? 504 : 502
}

import { createRequire } from 'node:module'
import type { Duplex } from 'node:stream'
import type ssh2 from 'ssh2'

/**
 * # What is used of `ssh2` beyond its public interface
 *
 * The library is pinned to one version. Everything private that this room touches is typed here, and `test/ssh/library.test.ts` fails when one of these moves:
 *
 * ```text
 * lib/server.js      IncomingClient(socket, hostKeys, ident, offer, debug, emitter, config)   a connection without a listening socket of the library's own
 * lib/protocol/kex.js   KexInit      the name lists sent, and those negotiated with
 * protocol._offer    KexInit         replaced: `mlkem768x25519-sha256` and host certificates (key-exchange.ts)
 * protocol._kex      KeyExchange     watched: the exchange of an ML-KEM connection is put in its place
 * protocol._hostKeys by algorithm    an object with type, getPublicSSH() and sign()
 * protocol._handlers by message      wrapped: limits that the library does not have (guard.ts)
 * protocol._queue    packets         counted while keys are exchanged
 * protocol._authsQueue, _packetRW.write, _cipher   a client's request to log in is written by this room: the library knows no certificates
 * client._chanMgr    channels by id  read by the guard
 * ```
 *
 * It is loaded when the first door or client needs it.
 */
export const SSH2_VERSION = '1.17.0'

/** Name lists of a KEXINIT message: `array` is negotiated with, `all` is what is sent. */
export interface NameLists {
  readonly kex: { array: string[] }
  readonly serverHostKey: { array: string[] }
}

export interface KexInit {
  readonly lists: NameLists
}

/** What a KEXINIT exchange settled on. */
export interface Negotiated {
  kex: string
  serverHostKey: string
}

/** One key exchange of a connection; Curve25519's class is the base of the hybrid one. */
export interface KeyExchange {
  readonly type: string
  readonly negotiated: Negotiated
  readonly _protocol: Protocol
  /** The other side's KEXINIT. */
  readonly _remoteKexinit: Buffer
  /** As the server showed it; of clients. */
  _hostKey: Buffer | undefined
  remoteExtInfoEnabled: boolean
  sessionID: Buffer | undefined
  /** @returns the shared secret as it is hashed, or what went wrong. */
  computeSecret(other: Buffer): Buffer | Error
  convertPublicKey(key: Buffer): Buffer
  getPublicKey(): Buffer
}

/** A host key as the library uses it. */
export interface LibraryHostKey {
  readonly type: string
  getPublicSSH(): Buffer
  sign(data: Buffer): Buffer | Error
}

export interface ChannelOpening {
  readonly type: string
  readonly sender: number
  readonly window: number
  readonly packetSize: number
}

type Handler = (protocol: Protocol, ...args: never[]) => void

export interface Protocol {
  _offer: KexInit
  _kex: KeyExchange | undefined
  _hostKeys: { readonly [algorithm: string]: LibraryHostKey }
  readonly _handlers: { [message: string]: Handler | undefined }
  /** Methods asked for and not answered yet, by their names. */
  readonly _authsQueue: string[]
  readonly _packetRW: { readonly write: { readonly allocStart: number; alloc(length: number): Buffer; finalize(packet: Buffer): Buffer } }
  readonly _cipher: { encrypt(packet: Buffer): void }
  /** Packets that wait while keys are exchanged anew. */
  readonly _queue: readonly unknown[] | undefined
  readonly _destruct: unknown
  parse(chunk: Buffer, from: number, to: number): void
  cleanup(): void
  disconnect(reason: number): void
  rekey(): void
  requestSuccess(data?: Buffer): void
  requestFailure(): void
  channelOpenFail(recipient: number, reason: number, description: string): void
}

interface HalfChannel {
  readonly incoming?: { readonly window: number }
  readonly _channel?: HalfChannel
}

/** A connection of the library with its insides. */
export interface Insides {
  readonly _protocol: Protocol
  readonly _chanMgr: { get(id: number): HalfChannel | undefined; readonly _count: number }
}

export type ServerConnection = ssh2.Connection & Insides

interface IncomingClientClass {
  new (
    socket: Duplex,
    hostKeys: Protocol['_hostKeys'],
    ident: Buffer,
    offer: KexInit,
    debug: ((line: string) => void) | undefined,
    server: { emit(event: string, connection: unknown, info: { readonly header: { readonly versions: { readonly software: string } } }): boolean },
    config: { readonly keepaliveInterval: number; readonly keepaliveCountMax: number },
  ): ServerConnection
}

interface KexInitClass {
  new (lists: {
    readonly kex: readonly string[]
    readonly serverHostKey: readonly string[]
    readonly cs: NameListsOneWay
    readonly sc: NameListsOneWay
  }): KexInit
}

export interface NameListsOneWay {
  readonly cipher: readonly string[]
  readonly mac: readonly string[]
  readonly compress: readonly string[]
  readonly lang: readonly string[]
}

export interface Library {
  readonly version: string
  readonly Client: typeof ssh2.Client
  readonly IncomingClient: IncomingClientClass
  readonly KexInit: KexInitClass
}

let loaded: Library | undefined

export function ssh2Library(): Library {
  if (loaded !== undefined) return loaded
  const require = createRequire(import.meta.url)
  const { Client } = require('ssh2') as Pick<typeof ssh2, 'Client'>
  const { IncomingClient } = require('ssh2/lib/server.js') as { IncomingClient: IncomingClientClass }
  const { KexInit } = require('ssh2/lib/protocol/kex.js') as { KexInit: KexInitClass }
  const { version } = require('ssh2/package.json') as { version: string }
  loaded = { version, Client, IncomingClient, KexInit }
  return loaded
}

/** RFC 4253, section 11.1. */
export const DISCONNECT = { protocolError: 2, byApplication: 11, tooManyConnections: 12, noMoreMethods: 14 } as const
/** RFC 4254, section 5.1. */
export const OPEN_FAILURE = { prohibited: 1, connectFailed: 2, unknownType: 3, resourceShortage: 4 } as const

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Source } from '../types.ts'
import type { ClientHello } from './client-hello.ts'

/** A certificate chain with its private key, both PEM. Give the same object for as long as it is the same certificate. */
export interface TlsCertificate {
  readonly key: string | Buffer
  readonly cert: string | Buffer
}

/** Where a connection came from. */
export interface Arrival {
  readonly remoteAddress: string
  readonly remotePort: number
}

/**
 * Gets a socket whose ClientHello names the protocol, nothing answered and every byte still to be read. It is the handler's from then on, to count and to end.
 */
export type AlpnHandler = (socket: Socket, hello: ClientHello, source: Source) => void

/** Gets the inside of a TLS connection whose first bytes are `SSH-2.0-`, those included; or of a WebSocket at the keyed path for SSH (`transport` says which). */
export type SshHandler = (stream: Duplex, arrival: Arrival & { readonly transport: 'tls' | 'wss' }) => void

/** A request as the site has parsed it, for what is not the site's. */
export interface UpgradeRequest {
  readonly method: string
  /** As sent: path and query. */
  readonly target: string
  /** By lower-case name; values of repeated headers joined by ", ". */
  readonly headers: Readonly<Record<string, string>>
}

export interface SiteArrival extends Arrival {
  /** Whether this is the inside of TLS. Plain bytes on the TLS port get the site's refusal of them. */
  readonly encrypted: boolean
  /** Of this end, for redirects. */
  readonly localAddress: string
  readonly localPort: number
  /**
   * Asked with each complete request head that wants to become a WebSocket. True: the stream is no longer the site's; `head` is what was read behind the request.
   * False: the site answers as it would any request.
   */
  upgrade(request: UpgradeRequest, stream: Duplex, head: Buffer): boolean
}

/** Everybody else's conversation partner: an HTTP/1.1 server on one stream. */
export type SiteHandler = (stream: Duplex, arrival: SiteArrival) => void

/** What is asked of a request that wants to become a WebSocket; true takes the stream. */
export type UpgradeHandler = (request: UpgradeRequest, stream: Duplex, head: Buffer, source: Source) => boolean

/** What the front answers with where nobody asked for a protocol of its own. */
export interface FrontSite {
  /** Asked for every connection. Undefined: none yet, TLS handshakes are refused. */
  certificate(): TlsCertificate | undefined
  readonly handle: SiteHandler
}

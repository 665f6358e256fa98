import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { type Logger, silentLogger } from '../core/observe/log.ts'
import { ClientHelloReader, MAX_HELLO_BYTES } from './front/client-hello.ts'
import { peekFirstBytes, sshOrHttp } from './front/first-bytes.ts'
import { FrontGuard, type FrontLimits, type FrontPlace } from './front/guard.ts'
import { type CertificateFacts, handshake, SiteTls } from './front/site-tls.ts'
import type { AlpnHandler, FrontSite, SshHandler, UpgradeHandler } from './front/types.ts'
import { formatAddress, type HostPort, plainHost } from './tcp/address.ts'
import { systemCode } from './tcp/connect.ts'
import type { Source } from './types.ts'

/**
 * # The front door: one TLS port for links, SSH, WebSockets and a site
 *
 * ```text
 * socket ── first byte ──┬─ TLS: ClientHello ──┬─ ALPN of a handler (icn/1, acme-tls/1): the raw socket, with that byte still in it
 *                        │                     └─ anything else: the site's certificate ── first bytes ──┬─ "SSH-2.0-": SSH
 *                        └─ anything else: the site, which refuses plain requests as web servers do      └─ the site ── keyed path: WebSocket
 * ```
 *
 * Bytes may come one at a time, and from clients that then say nothing: every wait has a deadline, every connection a place that its source has few of.
 * What belongs to nobody gets the site and nothing else: an address where only links listen answers TLS that asks for no link with the alert of a protocol
 * that is not spoken here, and plain bytes with silence.
 */
const BACKLOG = 4096
const FIRST_BYTES_MS = 60_000
/** Who asks for a link is quick; where a site shares the port it sets the time. */
const LINKS_FIRST_BYTES_MS = 10_000

export interface FrontOptions {
  readonly clock: Clock
  readonly logger?: Logger
  /** What everybody else gets; without one, nothing. Used from the first `openSite` on. */
  readonly site?: FrontSite
  readonly limits?: FrontLimits
  /** How long first bytes and TLS handshakes may take, in ms. Default 60,000 where a site answers, as web servers have it, else 10,000. */
  readonly firstBytesMs?: number
}

/** One listening port and what is said to whom on it. */
export class Front {
  readonly address: HostPort
  readonly #server: Server
  readonly #options: FrontOptions
  readonly #logger: Logger
  readonly #guard: FrontGuard
  readonly #alpn: Map<string, { readonly handler: AlpnHandler; readonly keepsPlace: boolean }> = new Map()
  readonly #upgrades: Map<string, UpgradeHandler> = new Map()
  readonly #tls: SiteTls | undefined
  /** Connections not handed on, with their places. */
  readonly #held: Map<Socket, FrontPlace> = new Map()
  #ssh: SshHandler | undefined
  #siteUsers = 0

  private constructor(server: Server, options: FrontOptions) {
    const bound = server.address() as { address: string; port: number }
    this.address = { host: bound.address, port: bound.port }
    this.#server = server
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    this.#guard = new FrontGuard(options.clock, options.limits)
    this.#tls = options.site === undefined ? undefined : new SiteTls(options.site.certificate)
    server.on('connection', (socket) => this.#accept(socket))
    server.on('error', (error) => this.#logger.warn('front.accept_failed', { reason: systemCode(error) }))
  }

  /** @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
  static async open(target: HostPort, options: FrontOptions): Promise<Front> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error): void => reject(cannotListen(target, error))
      server.once('error', failed)
      server.listen({ host: target.host, port: target.port, backlog: BACKLOG }, () => {
        server.off('error', failed)
        resolve()
      })
    })
    return new Front(server, options)
  }

  /** Connections held at the moment: of the site, and those that have not said yet what they are. */
  get connections(): number {
    return this.#guard.held
  }

  /** Of the site's certificate; undefined without one. @throws KithError when it is none. */
  get certificateFacts(): CertificateFacts | undefined {
    return this.#tls?.facts
  }

  /**
   * Sends connections that ask for this protocol to `handler`; the returned function ends that. With `keepsPlace` they count here until they end, so that a handler
   * which counts none needs no limits of its own.
   * @throws KithError `ADDRESS_IN_USE` when somebody has it already.
   */
  onAlpn(protocol: string, handler: AlpnHandler, { keepsPlace = false }: { readonly keepsPlace?: boolean } = {}): () => void {
    if (this.#alpn.has(protocol)) throw new KithError('ADDRESS_IN_USE', undefined, { details: { address: formatAddress(this.address, protocol) } })
    const entry = { handler, keepsPlace }
    this.#alpn.set(protocol, entry)
    return () => {
      if (this.#alpn.get(protocol) === entry) this.#alpn.delete(protocol)
    }
  }

  /** Tells SSH apart from the site inside TLS; the returned function ends that. @throws TypeError when somebody has it already. */
  onSsh(handler: SshHandler): () => void {
    if (this.#ssh !== undefined) throw new TypeError('SSH has a handler at this port already')
    this.#ssh = handler
    return () => {
      if (this.#ssh === handler) this.#ssh = undefined
    }
  }

  /** Shows requests for WebSockets to `handler` before the site answers them; the returned function ends that. @throws KithError `ADDRESS_IN_USE` when the name is taken. */
  onUpgrade(name: string, handler: UpgradeHandler): () => void {
    if (this.#upgrades.has(name)) throw new KithError('ADDRESS_IN_USE', undefined, { details: { address: formatAddress(this.address, name) } })
    this.#upgrades.set(name, handler)
    return () => {
      if (this.#upgrades.get(name) === handler) this.#upgrades.delete(name)
    }
  }

  /** The site answers for as long as somebody wants it; the returned function ends that for the caller. @throws KithError `SCHEME_UNAVAILABLE` without a site or its certificate. */
  openSite(): () => void {
    if (this.#options.site === undefined) throw new KithError('SCHEME_UNAVAILABLE', 'This port has no site.')
    this.#siteUsers++
    let open = true
    return () => {
      if (open) this.#siteUsers--
      open = false
    }
  }

  /** Ends the port and every connection that was not handed on. */
  async close(): Promise<void> {
    this.#server.close()
    for (const socket of this.#held.keys()) socket.destroy()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  get #firstBytesMs(): number {
    return this.#options.firstBytesMs ?? (this.#siteUsers > 0 ? FIRST_BYTES_MS : LINKS_FIRST_BYTES_MS)
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {})
    const { remoteAddress, remotePort } = socket
    const place = remoteAddress === undefined || !this.#server.listening ? undefined : this.#guard.admit(plainHost(remoteAddress), () => socket.destroy())
    if (remoteAddress === undefined || remotePort === undefined || place === undefined) {
      socket.destroy()
      return
    }
    this.#held.set(socket, place)
    socket.on('close', () => this.#handOn(socket))
    void this.#sort(socket, plainHost(remoteAddress), remotePort)
  }

  async #sort(socket: Socket, host: string, port: number): Promise<void> {
    try {
      const hello = new ClientHelloReader()
      const route = await peekFirstBytes(socket, { decide: (bytes) => this.#route(bytes, hello), clock: this.#options.clock, timeoutMs: this.#firstBytesMs })
      if (route === undefined) return
      if (route.kind === 'plain') this.#toSite(socket, socket, host, port, false)
      else if (route.taker === undefined) await this.#secure(socket, host, port)
      else {
        if (!route.taker.keepsPlace) this.#handOn(socket)
        route.taker.handler(socket, route.hello, { scheme: 'tls', host, port })
      }
    } catch (error) {
      socket.destroy()
      this.#logger.debug('front.connection_ended', { code: asKithError(error, 'INTERNAL').code })
    }
  }

  /** Somebody else counts this connection from now on, and ends it; or it has ended. */
  #handOn(socket: Socket): void {
    this.#held.get(socket)?.release()
    this.#held.delete(socket)
  }

  /** Web servers take a high bit for the oldest hello there was. */
  #route(bytes: Buffer, reader: ClientHelloReader) {
    const first = bytes[0] as number
    if (first !== 0x16 && first < 0x80) return { kind: 'plain' as const }
    const hello = first === 0x16 ? reader.read(bytes) : undefined
    if (hello === 'incomplete' && bytes.length <= 2 * MAX_HELLO_BYTES) return undefined
    const read = hello === undefined || hello === 'incomplete' ? { alpn: [], serverName: undefined, groups: [] } : hello
    const asked = read.alpn.find((name) => this.#alpn.has(name))
    // Where no site answers, the one protocol spoken here refuses in its own way.
    const taker = asked === undefined && this.#siteUsers === 0 ? [...this.#alpn.values()][0] : this.#alpn.get(asked ?? '')
    return { kind: 'tls' as const, taker, hello: read }
  }

  async #secure(socket: Socket, host: string, port: number): Promise<void> {
    if (this.#tls === undefined || this.#siteUsers === 0) {
      socket.destroy()
      return
    }
    const { clock } = this.#options
    const tls = this.#tls.wrap(socket)
    const deadline = clock.after(this.#firstBytesMs, () => tls.destroy())
    try {
      await handshake(tls)
    } finally {
      deadline.cancel()
    }
    const ssh = this.#ssh
    const meant = ssh === undefined ? 'http' : await peekFirstBytes(tls, { decide: sshOrHttp, clock, timeoutMs: this.#firstBytesMs })
    if (meant === 'ssh') {
      this.#handOn(socket)
      ssh?.(tls, { remoteAddress: host, remotePort: port, transport: 'tls' })
    } else if (meant === 'http') this.#toSite(tls, socket, host, port, true)
  }

  #toSite(stream: Duplex, socket: Socket, host: string, port: number, encrypted: boolean): void {
    const { site } = this.#options
    if (site === undefined || this.#siteUsers === 0) {
      stream.destroy()
      return
    }
    this.#held.get(socket)?.serve()
    const source: Source = { scheme: 'wss', host, port }
    site.handle(stream, {
      remoteAddress: host,
      remotePort: port,
      encrypted,
      localAddress: plainHost(socket.localAddress ?? this.address.host),
      localPort: this.address.port,
      upgrade: (request, taken, head) => {
        // All are asked, so that the time it takes says nothing.
        const wanted = encrypted && [...this.#upgrades.values()].map((handler) => handler(request, taken, head, source)).includes(true)
        if (wanted) this.#handOn(socket)
        return wanted
      },
    })
  }
}

function cannotListen(target: HostPort, error: Error): KithError {
  const reason = systemCode(error)
  const details = { address: formatAddress(target, 'tls'), reason }
  if (reason === 'EADDRINUSE') return new KithError('ADDRESS_IN_USE', undefined, { details, cause: error })
  const message = reason === 'EACCES' ? 'This port needs more rights than the process has.' : 'This machine cannot listen at that address.'
  return new KithError('ADDRESS_INVALID', message, { details, cause: error })
}

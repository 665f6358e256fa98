import type { Caller, IdentityProvider } from '../../access/types.ts'
import type { AnyOperation } from '../../call/define.ts'
import type { Callee } from '../../call/types.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { RawDoor } from '../../gateway/raw-door.ts'
import type { Gateway } from '../../gateway/server.ts'
import type { Credentials } from '../../vault/credentials/credentials.ts'
import type { ConfigHolder } from '../config/holder.ts'
import { parseLoopback } from '../gateway/config.ts'
import { Imports } from '../gateway/imports.ts'
import type { Service, Trouble } from '../service.ts'
import { version } from '../version.ts'

export interface GatewayServiceOptions {
  readonly config: ConfigHolder
  /** While this service runs, both are there. */
  readonly callee: () => Callee
  readonly identities: () => IdentityProvider
  readonly offer: (operations: readonly AnyOperation[]) => () => void
  /** Whether an operation of this name is there. */
  readonly taken: (name: string) => boolean
  readonly credentials: () => Pick<Credentials, 'lease'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** Doors of this machine to the calls of the node: HTTP with tools, raw framing; and operations that come from elsewhere. All off unless configured. */
export class GatewayService implements Service {
  readonly name = 'gateway'
  readonly needs: readonly string[] = ['access', 'calls', 'credentials']
  readonly #options: GatewayServiceOptions
  #gateway: Gateway | undefined
  #raw: RawDoor | undefined
  #imports: Imports | undefined
  #stopReloads: (() => void) | undefined
  #address: string | null = null
  #rawAddress: string | null = null

  constructor(options: GatewayServiceOptions) {
    this.#options = options
  }

  /** `http://127.0.0.1:PORT`; null while it answers nothing. */
  get address(): string | null {
    return this.#address
  }

  /** Where raw framing listens on TCP; null while it does not. */
  get rawAddress(): string | null {
    return this.#rawAddress
  }

  /** What every door calls. @throws KithError `DEGRADED` while calls do not run. */
  get callee(): Callee {
    return this.#options.callee()
  }

  /** Whose key that is; without one the owner, who asked over the control interface. @throws KithError `GATEWAY_UNAUTHORIZED`. */
  async callerOf(key: string | undefined): Promise<Caller> {
    const caller = await this.#options.identities().resolve(key === undefined ? { kind: 'local' } : { kind: 'api-key', text: key })
    if (caller === undefined) throw new KithError('GATEWAY_UNAUTHORIZED', 'This API key is not known here.', { next: 'kith access' })
    return caller
  }

  async start(): Promise<void> {
    const { current } = this.#options.config
    await this.#import()
    if (current['gateway.listen'] !== '') await this.#serveHttp(current['gateway.listen'])
    if (current['gateway.raw_listen'] !== '' || current['gateway.raw_socket'] !== '')
      await this.#serveRaw(current['gateway.raw_listen'], current['gateway.raw_socket'])
  }

  async stop(): Promise<void> {
    this.#stopReloads?.()
    this.#stopReloads = undefined
    const parts = [this.#gateway, this.#raw, this.#imports]
    this.#gateway = undefined
    this.#raw = undefined
    this.#imports = undefined
    this.#address = null
    this.#rawAddress = null
    await Promise.all(parts.map((part) => part?.close()))
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return this.#imports?.troubles ?? []
  }

  async #import(): Promise<void> {
    const { config, offer, taken, credentials, clock, logger } = this.#options
    const imports = new Imports({ offer, taken, credentials, clock, logger })
    this.#imports = imports
    await imports.start(config.current)
    this.#stopReloads = config.onReload((next) => imports.prepare(next))
  }

  /** What speaks HTTP is loaded only for a node that is to speak it. */
  async #serveHttp(listen: string): Promise<void> {
    const { config, callee, identities, clock, random, logger } = this.#options
    const { createGateway } = await import('../../gateway/server.ts')
    this.#gateway = createGateway({
      callee: callee(),
      identities: identities(),
      clock,
      random,
      logger,
      version: version(),
      hosts: config.current['gateway.hosts'],
      limits: { bodyBytes: config.current['gateway.max_body_bytes'] },
    })
    const { host, port } = await this.#bind(listen, (to) => (this.#gateway as Gateway).listen(to.host, to.port))
    this.#address = `http://${shown(host)}:${port}`
    logger.info('gateway listens', { address: this.#address })
  }

  async #serveRaw(listen: string, socket: string): Promise<void> {
    const { callee, identities, clock, logger } = this.#options
    const [{ createRawDoor }, { createEnvelopeSession }] = await Promise.all([import('../../gateway/raw-door.ts'), import('../../call/envelope-session.ts')])
    const door = createRawDoor({
      identities: identities(),
      clock,
      logger,
      serve: (stream, caller) => createEnvelopeSession(stream, { callee: callee(), caller, clock }).closed,
    })
    this.#raw = door
    if (listen !== '') {
      const { host, port } = await this.#bind(listen, (to) => door.listenTcp(to.host, to.port))
      this.#rawAddress = `${shown(host)}:${port}`
    }
    if (socket !== '') await door.listenUnix(socket)
  }

  async #bind<T>(listen: string, bind: (to: { readonly host: string; readonly port: number }) => Promise<T>): Promise<T> {
    const to = parseLoopback(listen)
    if (to === undefined)
      throw new KithError('BIND_REFUSED', 'The gateway listens on loopback only.', { details: { listen }, next: 'kith up --gateway 127.0.0.1:8787' })
    try {
      return await bind(to)
    } catch (cause) {
      if (cause instanceof KithError) throw cause
      const taken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE'
      throw new KithError(taken ? 'ADDRESS_IN_USE' : 'ADDRESS_INVALID', `The gateway cannot listen on ${listen}${taken ? ': another program does' : ''}.`, {
        details: { address: listen },
        next: 'kith up --gateway 127.0.0.1:PORT (after kith down)',
        cause,
      })
    }
  }
}

function shown(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

import type { Duplex, Readable } from 'node:stream'
import type ssh2 from 'ssh2'
import type { Clock } from '../../core/clock.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import { connectThrough, type ProxyUrl } from '../../transport/proxy.ts'
import { guardClient } from '../guard.ts'
import { clientOffer, HYBRID, patchClient } from '../key-exchange.ts'
import { type Insides, type KexInit, ssh2Library } from '../library.ts'
import type { Credential } from './credential.ts'
import { type CheckedHost, checkHost, type HostTrust, wantedTypes } from './host.ts'
import { showCredentials } from './login.ts'
import { parseSshUrl } from './url.ts'

export interface ConnectSshOptions extends HostTrust {
  /** `ssh://user@host[:port]`. */
  readonly url: string
  /** Shown in this order; the signers stay the caller's. */
  readonly credentials: readonly Credential[]
  /** On the way, first one first. */
  readonly proxies?: readonly ProxyUrl[]
  /** A connection that is there already, such as a channel of another server (ProxyJump); taken over. */
  readonly over?: Duplex
  readonly signal?: AbortSignal
  readonly clock: Clock
  /** Until somebody is logged in, in ms. Default 20,000. */
  readonly timeoutMs?: number
}

/** A login at an SSH server. */
export interface SshConnection {
  /** Of the host key that was checked. */
  readonly fingerprint: string
  readonly pq: boolean
  /** Aborts when the connection is over. */
  readonly closed: AbortSignal
  /** A connection from the server to `host`:`port`. @throws KithError `SSH_CHANNEL_REFUSED`, `LINK_CLOSED`. */
  open(host: string, port: number): Promise<Duplex>
  /** To a unix socket of the server. @throws as `open`. */
  openSocket(path: string): Promise<Duplex>
  /** Runs a command of the server. @throws as `open`. */
  exec(command: string): Promise<SshCommand>
  close(): void
}

export interface SshCommand {
  readonly stream: Duplex
  readonly stderr: Readable
  /** The status; null when a signal or the end of the connection ended it. */
  readonly status: Promise<number | null>
}

const TIMEOUT_MS = 20_000
const KEEPALIVE_MS = 30_000

/**
 * Logs in at an SSH server whose host key is known, with Ed25519 keys or certificates.
 * @throws KithError `SSH_HOST_KEY_UNKNOWN`, `SSH_HOST_KEY_CHANGED`, `SSH_HOST_KEY_REVOKED`, `SSH_LOGIN_REFUSED`, `SSH_FAILED`, `TIMEOUT`, what proxies say, or the
 * signal's reason; TypeError without anything to know the host by.
 */
export async function connectSsh(options: ConnectSshOptions): Promise<SshConnection> {
  const { clock, credentials, knownHosts, fingerprint } = options
  if (knownHosts === undefined && fingerprint === undefined) throw new TypeError('a server is known by known_hosts or a fingerprint; none was given')
  const url = parseSshUrl(options.url)
  const late = new AbortController()
  const timer = clock.after(options.timeoutMs ?? TIMEOUT_MS, () => late.abort(new KithError('TIMEOUT', 'The SSH server did not answer in time.')))
  const signal = options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal])
  try {
    signal.throwIfAborted()
    const socket = options.over ?? (await connectThrough(options.proxies ?? [], { host: url.host, port: url.port, signal, clock }))
    return await logIn(socket, { ...options, url, signal, credentials })
  } finally {
    timer.cancel()
  }
}

interface LogIn extends Omit<ConnectSshOptions, 'url' | 'signal'> {
  readonly url: ReturnType<typeof parseSshUrl>
  readonly signal: AbortSignal
}

async function logIn(socket: Duplex, { url, credentials, signal, clock, ...trust }: LogIn): Promise<SshConnection> {
  const client = new (ssh2Library().Client)() as ssh2.Client & Insides
  const over = new AbortController()
  let exchange = ''
  let host: CheckedHost | undefined
  let failure: KithError | undefined
  client.on('close', () => over.abort())
  socket.once('close', () => over.abort())
  const abort = (): void => void socket.destroy()

  await new Promise<void>((resolve, reject) => {
    const fail = (error: unknown): void => {
      failure ??= isKithError(error) ? error : sshError(error)
      socket.destroy()
      reject(signal.aborted ? signal.reason : failure)
    }
    const aborted = (): void => fail(signal.reason)
    signal.addEventListener('abort', aborted, { once: true })
    client.on('error', fail)
    client.once('close', () => fail(new Error('the server closed the connection')))
    client.once('ready', () => {
      signal.removeEventListener('abort', aborted)
      resolve()
    })
    client.connect({
      sock: socket as never,
      username: url.user,
      readyTimeout: 0,
      keepaliveInterval: KEEPALIVE_MS,
      ident: 'Kith',
      // Sockets are forwarded by more servers than OpenSSH.
      strictVendor: false,
      hostVerifier: (shown: Buffer) => {
        try {
          host = checkHost(shown, url, trust, clock.now())
          return true
        } catch (error) {
          failure ??= asKithError(error, 'SSH_HOST_KEY_UNKNOWN')
          return false
        }
      },
      authHandler: showCredentials(client, url.user, credentials),
    })
    const { _protocol: protocol } = client
    protocol._offer = clientOffer(wantedTypes(url, trust)) as KexInit
    guardClient(client, (reason) => fail(new KithError('SSH_FAILED', `The SSH server broke the rules: ${reason}.`)))
    patchClient(protocol, {
      exchange: (name) => {
        exchange = name
      },
      subjectOf: () => host?.subject,
    })
  })

  const channel = <T>(run: (done: (error: Error | undefined, channel: T) => void) => void): Promise<T> =>
    new Promise((resolve, reject) => {
      if (over.signal.aborted) return reject(new KithError('LINK_CLOSED'))
      run((error, opened) => {
        if (error === undefined) resolve(opened)
        else reject(new KithError(over.signal.aborted ? 'LINK_CLOSED' : 'SSH_CHANNEL_REFUSED', undefined, { cause: error }))
      })
    })
  return {
    fingerprint: host?.fingerprint ?? '',
    pq: exchange === HYBRID,
    closed: over.signal,
    open: (to, port) => channel<ssh2.ClientChannel>((done) => client.forwardOut('127.0.0.1', 0, to, port, done)).then(quiet),
    openSocket: (path) => channel<ssh2.ClientChannel>((done) => client.openssh_forwardOutStreamLocal(path, done)).then(quiet),
    exec: (command) => channel<ssh2.ClientChannel>((done) => client.exec(command, done)).then(commandOf),
    close: () => {
      client.end()
      // Whoever does not close its end is not waited for.
      clock.after(LAST_WORDS_MS, abort)
    },
  }
}

const LAST_WORDS_MS = 1_000

/** An error nobody listens for would end the process; the stream ends all the same. */
function quiet<T extends Duplex>(channel: T): T {
  channel.on('error', () => {})
  return channel
}

function commandOf(channel: ssh2.ClientChannel): SshCommand {
  let code: number | null = null
  quiet(channel).on('exit', (status: number | null) => {
    code = typeof status === 'number' ? status : null
  })
  const status = new Promise<number | null>((resolve) => channel.once('close', () => resolve(code)))
  return { stream: channel, stderr: channel.stderr, status }
}

function sshError(error: unknown): KithError {
  const { level, message } = error as Error & { level?: string }
  if (level === 'client-authentication') return new KithError('SSH_LOGIN_REFUSED', undefined, { cause: error })
  return new KithError('SSH_FAILED', undefined, { details: { reason: message.slice(0, 200) }, cause: error })
}

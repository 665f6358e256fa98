import { createRequire } from 'node:module'
import { Duplex } from 'node:stream'
import type ssh2 from 'ssh2'
import { blobFingerprint, keyBlob } from '../../src/access/ssh-wire.ts'
import type { Caller, IdentityProvider, Presentation } from '../../src/access/types.ts'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import type { LogFields, Logger } from '../../src/core/observe/log.ts'
import { Secret } from '../../src/core/secret.ts'
import { createSshDoor, type SshDoor, type SshDoorOptions } from '../../src/ssh/door.ts'

const library = createRequire(import.meta.url)('ssh2') as typeof ssh2

export const HOST_SEED: Uint8Array = new Uint8Array(32).fill(7)

export interface UserKey {
  readonly privateKey: string
  readonly blob: Buffer
  readonly fingerprint: string
}

/** About one in two hundred of the keys that the library writes it cannot read again. */
export function userKey(): UserKey {
  const { private: privateKey, public: line } = library.utils.generateKeyPairSync('ed25519')
  if (library.utils.parseKey(privateKey) instanceof Error) return userKey()
  const blob = Buffer.from(line.split(' ')[1] as string, 'base64')
  return { privateKey, blob, fingerprint: blobFingerprint(blob) }
}

export function callerOf(id: string, extra: Partial<Caller> = {}): Caller {
  return { id, via: 'ssh-key', scopes: new Set(), resources: new Map(), ...extra }
}

/** Knows keys by their fingerprint, and writes down what it was asked. */
export class FakeProvider implements IdentityProvider {
  readonly callers: Map<string, Caller> = new Map()
  readonly asked: Presentation[] = []
  certified: ((certificate: Uint8Array, user: string, address: string) => Caller | undefined) | undefined

  allow(key: UserKey, extra: Partial<Caller> = {}): Caller {
    const caller = callerOf(`ssh:${key.fingerprint}`, extra)
    this.callers.set(key.fingerprint, caller)
    return caller
  }

  async resolve(presentation: Presentation): Promise<Caller | undefined> {
    this.asked.push(presentation)
    if (presentation.kind === 'ssh-key') return this.callers.get(blobFingerprint(keyBlob(presentation.key)))
    if (presentation.kind === 'ssh-certificate') return this.certified?.(presentation.certificate, presentation.user, presentation.address)
    return undefined
  }
}

export interface LogLine {
  readonly level: string
  readonly event: string
  readonly fields: LogFields
}

export function recordingLogger(lines: LogLine[]): Logger {
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}): void =>
      void lines.push({ level, event, fields })
  const logger: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => logger }
  return logger
}

/** Two ends of a line that, unlike the system's own `duplexPair`, never delivers during a write: no network does, and the library counts on it. */
export function pair(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex & { taken?: (() => void) | undefined } => {
    const side: Duplex & { taken?: (() => void) | undefined } = new Duplex({
      read() {
        const { taken } = side
        side.taken = undefined
        taken?.()
      },
      write(chunk: Buffer, _encoding, done) {
        setImmediate(() => {
          const peer = other() as typeof side
          if (peer.destroyed || peer.push(chunk)) done()
          else peer.taken = done
        })
      },
      final(done) {
        setImmediate(() => {
          other().push(null)
          done()
        })
      },
    })
    return side
  }
  const a: Duplex = make(() => b)
  const b: Duplex = make(() => a)
  return [a, b]
}

export interface TestDoor {
  readonly door: SshDoor
  readonly identity: FakeProvider
  readonly lines: LogLine[]
  /** A connection to the door that never touches the network. */
  dial(address?: string): Duplex
}

export function testDoor(options: Partial<SshDoorOptions> & { readonly clock?: Clock } = {}): TestDoor {
  const identity = new FakeProvider()
  const lines: LogLine[] = []
  const door = createSshDoor({
    hostKey: createSigner('service', Secret.take(new Uint8Array(HOST_SEED))),
    identity,
    clock: systemClock,
    logger: recordingLogger(lines),
    ...options,
  })
  return {
    door,
    identity,
    lines,
    dial(address = '192.0.2.1') {
      const [mine, theirs] = pair()
      // What the door cuts off is cut off at the other end too.
      theirs.on('close', () => mine.destroy())
      mine.on('close', () => theirs.destroy())
      door.accept(theirs, { remoteAddress: address, remotePort: 50_000, transport: 'tcp' })
      return mine
    },
  }
}

export interface LoginOptions extends Omit<ssh2.ConnectConfig, 'authHandler'> {
  readonly key: UserKey
  readonly authHandler?: readonly unknown[]
}

/** Logs in with the library's own client. @throws what the client reports. */
export async function login(sock: Duplex, { key, ...config }: LoginOptions): Promise<ssh2.Client> {
  const client = new library.Client()
  await new Promise<void>((resolve, reject) => {
    client.once('ready', resolve)
    client.on('error', reject)
    client.once('close', () => reject(new Error('closed')))
    client.connect({ sock: sock as never, username: 'alice', privateKey: key.privateKey, readyTimeout: 10_000, ...(config as ssh2.ConnectConfig) })
  })
  return client
}

export function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) return resolve()
    stream.resume()
    stream.once('close', () => resolve())
    stream.on('error', () => {})
  })
}

export interface ExecResult {
  readonly out: string
  readonly err: string
  readonly status: number | undefined
}

export function exec(client: ssh2.Client, command: string, input?: string): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error !== undefined) return reject(error)
      const out: Buffer[] = []
      const err: Buffer[] = []
      let status: number | undefined
      channel.on('data', (chunk: Buffer) => out.push(chunk))
      channel.stderr.on('data', (chunk: Buffer) => err.push(chunk))
      channel.on('exit', (code: number) => {
        status = code
      })
      channel.on('close', () => resolve({ out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString(), status }))
      channel.end(input)
    })
  })
}

export { library }

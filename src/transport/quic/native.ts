import { createRequire } from 'node:module'

/**
 * The classes of quinn and rustls as the platform packages of `@chainsafe/libp2p-quic` export them. Only these names are used; a missing
 * package or class makes the scheme unavailable, never the program.
 */
export interface Native {
  readonly QuinnConfig: new (config: NativeConfig) => NativeQuinnConfig
  readonly Server: new (config: NativeQuinnConfig, ip: string, port: number) => NativeServer
  readonly Client: new (config: NativeQuinnConfig, family: 0 | 1) => NativeClient
}

/** All fields are required; times in ms, sizes in bytes. */
export interface NativeConfig {
  readonly privateKeyProto: Uint8Array
  /** Has no effect in 2.1.1: the handshake ends with `maxIdleTimeout`. */
  readonly handshakeTimeout: number
  readonly maxIdleTimeout: number
  readonly keepAliveInterval: number
  readonly maxConcurrentStreamLimit: number
  readonly maxStreamData: number
  readonly maxConnectionData: number
  readonly receiveBufferSize: number
  readonly sendBufferSize: number
}

export interface NativeQuinnConfig {
  readonly __native: 'QuinnConfig'
}

export interface NativeServer {
  port(): number
  /** Takes one handshake and finishes it: one that stays half-open keeps this call pending until the idle timeout. */
  inboundConnection(): Promise<NativeConnection>
  /** Ends every connection accepted here and frees the port. */
  abort(): Promise<void>
  stats(): { readonly acceptedHandshakes: number }
}

export interface NativeClient {
  outboundConnection(ip: string, port: number): Promise<NativeConnection>
  abort(): void
}

export interface NativeConnection {
  /** Resolves when the first frame of a new stream has come. */
  inboundStream(): Promise<NativeStream>
  outboundStream(): Promise<NativeStream>
  closed(): Promise<void>
  /** Ends at once; what was not acknowledged is lost. */
  abort(): void
  remoteMultiaddr(): string
  rtt(): number
  stats(): { readonly udpRxBytes: number }
}

/** Each half has a lock held by its pending call: one call at a time per half, and `resetWrite` or `stopRead` wait behind it. */
export interface NativeStream {
  /** Index per opener, in decimal. Throws while a write is pending: called once, first. */
  id(): string
  /** The next bytes, at most `max`; null after the peer's end. */
  read(max: number): Promise<Uint8Array | null>
  write(data: Uint8Array): Promise<void>
  finishWrite(): Promise<void>
  resetWrite(): Promise<void>
  stopRead(): Promise<void>
}

export type Availability = { readonly ok: true; readonly native: Native } | { readonly ok: false; readonly reason: string }

/** The package for a platform; `undefined` where none is built. */
export function platformPackage(platform: string, arch: string, libc: 'gnu' | 'musl'): string | undefined {
  const name = platform === 'linux' ? `linux-${arch}-${libc}` : platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`
  return BUILT.has(name) ? `@chainsafe/libp2p-quic-${name}` : undefined
}

const BUILT: ReadonlySet<string> = new Set([
  'linux-x64-gnu',
  'linux-x64-musl',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
])

/** Loads the platform's package, or says why there is none. */
export function loadNative(require: (name: string) => unknown = createRequire(import.meta.url)): Availability {
  const name = platformPackage(process.platform, process.arch, libc())
  if (name === undefined) return { ok: false, reason: `no QUIC library is built for ${process.platform}-${process.arch}` }
  let loaded: unknown
  try {
    loaded = require(name)
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND'
    return { ok: false, reason: missing ? `the package ${name} is not installed` : `the package ${name} does not load` }
  }
  return isNative(loaded) ? { ok: true, native: loaded } : { ok: false, reason: `the package ${name} lacks a class that is needed` }
}

function isNative(value: unknown): value is Native {
  if (typeof value !== 'object' || value === null) return false
  const names = value as Record<string, unknown>
  return ['QuinnConfig', 'Server', 'Client'].every((name) => typeof names[name] === 'function')
}

/** glibc reports its version; musl does not. */
function libc(): 'gnu' | 'musl' {
  if (process.platform !== 'linux') return 'gnu'
  const report: unknown = process.report.getReport()
  const header = typeof report === 'object' && report !== null && 'header' in report ? report.header : undefined
  return typeof header === 'object' && header !== null && 'glibcVersionRuntime' in header ? 'gnu' : 'musl'
}

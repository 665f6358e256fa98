import { equal, type PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { DialOptions } from '../types.ts'
import { type Endpoint, formatAddress, parseAddress, resolveHost } from './address.ts'
import type { Clients } from './clients.ts'
import { fromDial } from './errors.ts'
import { parseRemote } from './keys.ts'
import type { NativeConnection, NativeStream } from './native.ts'
import { watchRefusal } from './refusal.ts'

/** A name's further addresses are tried when the ones before have not answered for this long, or failed (RFC 8305). */
const STAGGER_MS = 250
/** Addresses of one name that are tried. */
const MOST_ADDRESSES = 4

export interface Dialled {
  readonly native: NativeConnection
  readonly first: NativeStream
  readonly remoteKey: PublicKey
  /** URL of the address that answered. */
  readonly address: string
}

interface Dial {
  readonly clients: Clients
  readonly clock: Clock
  readonly expect: PublicKey
  /** Aborted when the dial is over, in whatever way: attempts that are still under way are given up. */
  readonly over: AbortSignal
}

/**
 * Connects to the first address that answers and compares its key before a byte is written. The promise settles at once on abort and at the
 * deadline; connections that come later are ended.
 */
export function connect(clients: Clients, clock: Clock, address: string, options: DialOptions, timeoutMs: number): Promise<Dialled> {
  const { signal } = options
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const over = new AbortController()
    const finish = (settle: () => void): void => {
      if (over.signal.aborted) return
      deadline.cancel()
      signal.removeEventListener('abort', abort)
      settle()
      over.abort()
    }
    const abort = (): void => finish(() => reject(signal.reason))
    const silence = (): KithError => new KithError('ADDRESS_UNREACHABLE', `nobody answered at ${address}`, { details: { address, timeoutMs } })
    const deadline = clock.after(timeoutMs, () => finish(() => reject(silence())), { keepAlive: true })
    signal.addEventListener('abort', abort, { once: true })
    race({ clients, clock, expect: options.expect, over: over.signal }, address).then(
      (dialled) => {
        if (over.signal.aborted) dialled.native.abort()
        finish(() => resolve(dialled))
      },
      (error: unknown) => finish(() => reject(error)),
    )
  })
}

async function race(dial: Dial, address: string): Promise<Dialled> {
  const { host, port } = parseAddress(address, 1)
  const endpoints = (await resolveHost(host)).slice(0, MOST_ADDRESSES)
  return new Promise((resolve, reject) => {
    let won = false
    let failed = 0
    let next = 0
    const start = (): void => {
      const endpoint = endpoints[next]
      if (endpoint === undefined || won || dial.over.aborted) return
      next++
      const timer = dial.clock.after(STAGGER_MS, start)
      attempt(dial, endpoint, port).then(
        (dialled) => {
          timer.cancel()
          if (won) return dialled.native.abort()
          won = true
          resolve(dialled)
        },
        (error: unknown) => {
          timer.cancel()
          failed++
          if (failed === endpoints.length) reject(error)
          else start()
        },
      )
    }
    if (endpoints.length === 0) reject(new KithError('ADDRESS_UNREACHABLE', `the name ${host} has no address`, { details: { host } }))
    start()
  })
}

async function attempt(dial: Dial, endpoint: Endpoint, port: number): Promise<Dialled> {
  const address = formatAddress(endpoint.ip, port)
  const refused = new AbortController()
  const over = AbortSignal.any([dial.over, refused.signal])
  watchRefusal(endpoint, port, over, () => refused.abort(new KithError('ADDRESS_UNREACHABLE', `nothing listens at ${address}`, { details: { address } })))
  let native: NativeConnection | undefined
  try {
    native = await dial.clients.connect(endpoint.ip, port, endpoint.family, over)
    const remote = parseRemote(native.remoteMultiaddr())
    if (!equal(remote.key, dial.expect)) throw new KithError('WRONG_KEY', undefined, { details: { address } })
    return { native, first: await native.outboundStream(), remoteKey: remote.key, address }
  } catch (error) {
    native?.abort()
    throw error instanceof KithError ? error : fromDial(error, address)
  } finally {
    refused.abort()
  }
}

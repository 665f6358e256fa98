import type { PublicKey } from '../../core/bytes.ts'
import { equal } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { DialOptions } from '../types.ts'
import { formatAddress, parseAddress, resolveHost } from './address.ts'
import type { Clients } from './clients.ts'
import { fromDial } from './errors.ts'
import { parseRemote } from './keys.ts'
import type { NativeConnection, NativeStream } from './native.ts'

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

/**
 * Connects to the first address that answers and compares its key before a byte is written. The promise settles at once on abort and at the
 * deadline; connections that come later are ended.
 */
export function connect(clients: Clients, clock: Clock, address: string, options: DialOptions, timeoutMs: number): Promise<Dialled> {
  const { signal } = options
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    let done = false
    const finish = (settle: () => void): void => {
      if (done) return
      done = true
      deadline.cancel()
      signal.removeEventListener('abort', abort)
      settle()
    }
    const abort = (): void => finish(() => reject(signal.reason))
    const deadline = clock.after(timeoutMs, () =>
      finish(() => reject(new KithError('ADDRESS_UNREACHABLE', `nobody answered at ${address}`, { details: { address, timeoutMs } }))),
    )
    signal.addEventListener('abort', abort, { once: true })
    race(clients, clock, address, options.expect, () => done).then(
      (dialled) => {
        if (done) dialled.native.abort()
        finish(() => resolve(dialled))
      },
      (error: unknown) => finish(() => reject(error)),
    )
  })
}

async function race(clients: Clients, clock: Clock, address: string, expect: PublicKey, done: () => boolean): Promise<Dialled> {
  const { host, port } = parseAddress(address, 1)
  const endpoints = (await resolveHost(host)).slice(0, MOST_ADDRESSES)
  return new Promise((resolve, reject) => {
    let won = false
    let failed = 0
    let next = 0
    const start = (): void => {
      const endpoint = endpoints[next]
      if (endpoint === undefined || won || done()) return
      next++
      const timer = clock.after(STAGGER_MS, start)
      attempt(clients, endpoint.ip, port, endpoint.family, expect).then(
        (dialled) => {
          timer.cancel()
          if (won) return dialled.native.abort()
          won = true
          resolve(dialled)
        },
        (error: unknown) => {
          timer.cancel()
          failed++
          if (failed === endpoints.length) return reject(error)
          start()
        },
      )
    }
    if (endpoints.length === 0) reject(new KithError('ADDRESS_UNREACHABLE', `the name ${host} has no address`, { details: { host } }))
    start()
  })
}

async function attempt(clients: Clients, ip: string, port: number, family: 4 | 6, expect: PublicKey): Promise<Dialled> {
  const address = formatAddress(ip, port)
  let native: NativeConnection
  try {
    native = await clients.connect(ip, port, family)
  } catch (error) {
    throw fromDial(error, address)
  }
  try {
    const remote = parseRemote(native.remoteMultiaddr())
    if (!equal(remote.key, expect)) throw new KithError('WRONG_KEY', undefined, { details: { address } })
    return { native, first: await native.outboundStream(), remoteKey: remote.key, address }
  } catch (error) {
    native.abort()
    throw error instanceof KithError ? error : fromDial(error, address)
  }
}

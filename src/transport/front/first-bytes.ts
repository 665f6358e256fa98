import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/clock.ts'

export interface Peek<T> {
  /** Decides on what has arrived so far; undefined asks for more. Called with at least one byte. */
  readonly decide: (bytes: Buffer) => T | undefined
  readonly clock: Clock
  readonly timeoutMs: number
}

/**
 * Looks at the first bytes of a stream, however they are split, and puts them back.
 * Undefined when the stream ends, fails or stays silent too long before a decision; it is destroyed then.
 */
export function peekFirstBytes<T>(stream: Duplex, { decide, clock, timeoutMs }: Peek<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    const settle = (value: T | undefined): void => {
      deadline.cancel()
      stream.off('readable', readable)
      stream.off('end', failed)
      stream.off('close', failed)
      if (value === undefined) stream.destroy()
      // Once it is flowing for somebody else nothing may be put back.
      else if (parts.length > 0) stream.unshift(Buffer.concat(parts))
      resolve(value)
    }
    const readable = (): void => {
      const chunk: unknown = stream.read()
      if (!Buffer.isBuffer(chunk)) return
      parts.push(chunk)
      const bytes = parts.length === 1 ? chunk : Buffer.concat(parts)
      parts.splice(0, parts.length, bytes)
      const value = decide(bytes)
      if (value !== undefined) settle(value)
    }
    const failed = (): void => settle(undefined)
    const deadline = clock.after(timeoutMs, failed)
    stream.on('readable', readable)
    stream.on('end', failed)
    stream.on('close', failed)
    if (stream.destroyed || stream.readableEnded) failed()
    else readable()
  })
}

const SSH_BANNER = Buffer.from('SSH-2.0-')

/** SSH clients introduce themselves (RFC 4253, 4.2); everything that differs from it at any byte is meant for the site. Undefined while it could still become either. */
export function sshOrHttp(bytes: Buffer): 'ssh' | 'http' | undefined {
  const length = Math.min(bytes.length, SSH_BANNER.length)
  if (bytes.compare(SSH_BANNER, 0, length, 0, length) !== 0) return 'http'
  return length === SSH_BANNER.length ? 'ssh' : undefined
}

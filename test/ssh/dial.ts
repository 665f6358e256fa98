import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { KithError } from '../../src/core/errors.ts'

/** Dials whatever it is asked for: what the rules are for stands in other tests. */
export async function dialAnything({ target }: { readonly target: string }): Promise<{ stream: Duplex; close(): void }> {
  const at = target.lastIndexOf(':')
  const place = target.startsWith('unix:')
    ? { path: target.slice(5) }
    : { host: target.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(target.slice(at + 1)) }
  const stream = connect({ ...place, allowHalfOpen: true })
  await new Promise<void>((resolve, reject) => {
    stream.once('connect', resolve)
    stream.once('error', () => reject(new KithError('FORWARD_UNREACHABLE')))
  })
  return { stream, close: () => stream.destroy() }
}

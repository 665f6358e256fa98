import assert from 'node:assert/strict'
import type { PublicKey } from '../../src/core/bytes.ts'
import { KithError } from '../../src/core/errors.ts'
import { greet } from '../../src/mesh/hello.ts'
import type { AuthenticatedLink, GreetContext, GreetOptions } from '../../src/mesh/hello-types.ts'
import type { ChannelBinding } from '../../src/transport/types.ts'
import { type ChannelPair, createChannelPair, type Tap } from './channel-pair.ts'
import type { TestNode } from './fixtures.ts'

export type Outcome = AuthenticatedLink | KithError

export interface Meeting {
  readonly dialer: Outcome
  readonly listener: Outcome
  readonly pair: ChannelPair
}

export interface MeetingOptions {
  readonly tap?: Tap
  readonly expect?: GreetOptions['expect']
  readonly peerHas?: number
  readonly dialer?: Partial<GreetContext>
  readonly listener?: Partial<GreetContext>
  /** What the transports say, where it is not the truth. */
  readonly dialerChannel?: { readonly localKey?: PublicKey; readonly remoteKey?: PublicKey; readonly binding?: ChannelBinding }
  readonly listenerChannel?: { readonly localKey?: PublicKey; readonly remoteKey?: PublicKey; readonly binding?: ChannelBinding }
  readonly scheme?: string
  readonly postQuantum?: boolean
}

/** Lets two nodes greet each other over a wire of the test's making; never rejects. */
export async function meet(dialer: TestNode, listener: TestNode, options: MeetingOptions = {}): Promise<Meeting> {
  const pair = createChannelPair({
    dialer: { localKey: dialer.linkKey, remoteKey: listener.linkKey, ...options.dialerChannel },
    listener: { localKey: listener.linkKey, remoteKey: dialer.linkKey, ...options.listenerChannel },
    ...(options.tap === undefined ? {} : { tap: options.tap }),
    ...(options.scheme === undefined ? {} : { scheme: options.scheme }),
    ...(options.postQuantum === undefined ? {} : { postQuantum: options.postQuantum }),
  })
  const { expect, peerHas } = options
  const expectation = { ...(expect === undefined ? {} : { expect }), ...(peerHas === undefined ? {} : { peerHas }) }
  const [a, b] = await Promise.all([
    greet(pair.dialer, dialer.context(options.dialer), expectation).catch(asError),
    greet(pair.listener, listener.context(options.listener)).catch(asError),
  ])
  return { dialer: a, listener: b, pair }
}

export function asError(error: unknown): KithError {
  assert.ok(error instanceof KithError, `not a KithError: ${String(error)}`)
  return error
}

export function linked(outcome: Outcome): AuthenticatedLink {
  if (outcome instanceof KithError) throw outcome
  return outcome
}

/** The outcome is this error, found by this side and by this check. */
export function assertRefused(outcome: Outcome, code: string, check?: string): void {
  assert.ok(outcome instanceof KithError, 'a link came about')
  assert.deepEqual({ code: outcome.code, remote: outcome.remote, check: outcome.details.check }, { code, remote: false, check }, String(outcome.stack))
}

/** The outcome is the other side's refusal. */
export function assertTold(outcome: Outcome, code: string): void {
  assert.ok(outcome instanceof KithError, 'a link came about')
  assert.deepEqual({ code: outcome.code, remote: outcome.remote }, { code, remote: true }, String(outcome.stack))
}

/** Changes one byte. */
export function flip(message: Uint8Array, at: number, mask = 0x01): Uint8Array {
  const changed = Uint8Array.from(message)
  changed[at] = (changed[at] as number) ^ mask
  return changed
}

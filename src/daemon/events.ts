import type { ErrorCode } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { LinkEvent } from '../mesh/types.ts'
import type { Trouble } from './service.ts'

/** What the node tells: links by the mesh, messages, and its own state. Few and typed. */
export type NodeEvent =
  | { readonly type: 'ready'; readonly did: string; readonly listen: readonly string[] }
  | { readonly type: 'degraded'; readonly degraded: readonly Trouble[] }
  | { readonly type: 'stopping' }
  /** A message came from a peer and is in the inbox. `text` is undefined where it is not text. */
  | { readonly type: 'message'; readonly peer: Did; readonly id: string; readonly text: string | undefined }
  | LinkEvent

export type NodeEventType = NodeEvent['type']

/** An event as the control interface sends it: plain data. */
export interface EventRecord {
  readonly time: string
  readonly event: NodeEventType
  readonly [field: string]: unknown
}

/** Events waiting for a reader that is slower than the node; older ones are dropped and counted. */
const MAX_WAITING = 1_000

export interface EventHub {
  emit(event: NodeEvent): void
  /** A listener that throws is dropped from nothing and harms nobody: its error goes to `onFailure`. Returns the way to stop. */
  on(listener: (event: NodeEvent) => void): () => void
  /** Events as they come, until the signal aborts. */
  stream(signal: AbortSignal): AsyncIterable<NodeEvent>
}

export function createEventHub(onFailure: (error: unknown) => void): EventHub {
  const listeners = new Set<(event: NodeEvent) => void>()
  const on = (listener: (event: NodeEvent) => void): (() => void) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }
  return {
    emit(event) {
      for (const listener of [...listeners]) {
        try {
          listener(event)
        } catch (error) {
          onFailure(error)
        }
      }
    },
    on,
    stream: (signal) => follow(on, signal),
  }
}

/** Turns a subscription into an iterable with a bounded queue. */
export async function* follow<T>(subscribe: (listener: (value: T) => void) => () => void, signal: AbortSignal): AsyncGenerator<T> {
  let waiting: T[] = []
  let wake: (() => void) | undefined
  const stop = subscribe((value) => {
    if (waiting.length >= MAX_WAITING) waiting.shift()
    waiting.push(value)
    wake?.()
  })
  const onAbort = (): void => wake?.()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    while (!signal.aborted) {
      const values = waiting
      waiting = []
      yield* values
      if (waiting.length === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        wake = undefined
      }
    }
  } finally {
    stop()
    signal.removeEventListener('abort', onAbort)
  }
}

/** Plain data of an event; errors keep code and sentence only, and what a message says stays in the inbox: records end up in logs. */
export function eventRecord(event: NodeEvent, now: number): EventRecord {
  const { type, ...fields } = event.type === 'message' ? { type: event.type, peer: event.peer, id: event.id } : event
  const plain = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name === 'linkKey' ? 'link_key' : name, value instanceof Error ? errorRecord(value) : value]),
  )
  return { time: new Date(now).toISOString(), event: type, ...plain }
}

function errorRecord(error: Error & { code?: ErrorCode; next?: string | undefined }): object {
  return { code: error.code ?? 'INTERNAL', message: error.message, next: error.next ?? null }
}

import type { Duplex } from 'node:stream'

/** As much of the npm yamux as the tests use. */
export interface YamuxStream extends AsyncIterable<{ subarray(): Uint8Array }> {
  send(bytes: Uint8Array): boolean
  onDrain(): Promise<void>
  close(): Promise<void>
  abort(error: Error): void
  addEventListener(type: string, listener: (event: { error?: Error }) => void): void
}

export interface YamuxMuxer {
  readonly streams: readonly YamuxStream[]
  readonly status: string
  createStream(): Promise<YamuxStream>
  ping(): Promise<number>
  close(): Promise<void>
  addEventListener(type: 'stream', listener: (event: { detail: YamuxStream }) => void): void
}

export function yamuxOver(duplex: Duplex, role: 'dialer' | 'listener', options?: object): YamuxMuxer

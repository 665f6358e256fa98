import type { Duplex } from 'node:stream'
import type { LinkStream } from '../../src/transport/types.ts'

/** What the benchmarks ask of any stream: thin enough to weigh nothing beside what it wraps. */
export interface Flow {
  /** False: wait for `onDrain`. */
  write(data: Buffer): boolean
  end(): void
  onData: (data: Buffer, start: number, end: number) => void
  onEnd: () => void
  onDrain: () => void
}

export function leanFlow(stream: LinkStream): Flow {
  const flow: Flow = { write: (data) => stream.write(data), end: () => stream.end(), onData: nothing, onEnd: nothing, onDrain: nothing }
  stream.onEnd = () => flow.onEnd()
  stream.onDrain = () => flow.onDrain()
  stream.onData = (data, start, end) => {
    flow.onData(data, start, end)
    stream.consume(end - start)
  }
  return flow
}

export function duplexFlow(duplex: Duplex): Flow {
  const flow: Flow = {
    write: (data) => duplex.write(data),
    end: () => void duplex.end(),
    onData: nothing,
    onEnd: nothing,
    onDrain: nothing,
  }
  duplex.on('data', (data: Buffer) => flow.onData(data, 0, data.length))
  duplex.on('end', () => flow.onEnd())
  duplex.on('drain', () => flow.onDrain())
  duplex.on('error', nothing)
  return flow
}

/** As much of a stream of the npm yamux as is used here. */
export interface YamuxStream {
  send(bytes: Uint8Array): boolean
  close(): Promise<void>
  addEventListener(type: string, listener: (event: { data: Uint8Array & { subarray(): Uint8Array } }) => void): void
}

export function yamuxFlow(stream: YamuxStream): Flow {
  const flow: Flow = {
    write: (data) => stream.send(data),
    end: () => void stream.close().catch(nothing),
    onData: nothing,
    onEnd: nothing,
    onDrain: nothing,
  }
  stream.addEventListener('message', ({ data }) => {
    const bytes = data.subarray()
    flow.onData(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length)
  })
  stream.addEventListener('remoteCloseWrite', () => flow.onEnd())
  stream.addEventListener('drain', () => flow.onDrain())
  return flow
}

/** The far end. The first byte says what it does: `e` echoes, `s` counts and tells at the end, `r` answers each stream with as much as it got. */
export function serve(flow: Flow): void {
  let mode = 0
  let count = 0
  flow.onData = (data, start, end) => {
    if (mode === 0) mode = data[start] as number
    count += end - start
    if (mode === ECHO) flow.write(Buffer.from(data.subarray(start, end)))
  }
  flow.onEnd = () => {
    if (mode === SINK) flow.write(Buffer.from(String(count)))
    else if (mode === ANSWER) flow.write(Buffer.alloc(count, mode))
    flow.end()
  }
}

export const ECHO: number = 'e'.charCodeAt(0)
export const SINK: number = 's'.charCodeAt(0)
export const ANSWER: number = 'r'.charCodeAt(0)

function nothing(): void {}

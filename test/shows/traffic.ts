import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Runtime } from '../../src/daemon/runtime.ts'

const ECHO = 'test/echo/1'
const MESSAGE = Buffer.alloc(20_000, 'what was sent comes back ')

/** Serves what `startTraffic` asks for. */
export function serveEcho(node: Runtime): void {
  node.handle(ECHO, (stream) => {
    stream.pipe(stream)
  })
}

export interface Traffic {
  /** Streams that came back whole so far. */
  readonly done: number
  /** Resolves after so many more. Rejects as soon as one is lost. */
  more(count: number): Promise<void>
  /** @throws what the first lost stream ended with. */
  stop(): Promise<void>
}

/** Streams from one node to a peer, one after the other, each checked. */
export function startTraffic(from: Runtime, peer: string): Traffic {
  let done = 0
  let stopped = false
  let progress = Promise.withResolvers<void>()
  const run = async (): Promise<void> => {
    while (!stopped) {
      const stream = await from.mesh.open(peer, ECHO)
      stream.end(MESSAGE)
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      await once(stream, 'end')
      assert.ok(Buffer.concat(chunks).equals(MESSAGE), 'a stream came back changed')
      done++
      progress.resolve()
      progress = Promise.withResolvers()
    }
  }
  const running = run()
  running.catch(() => {})
  return {
    get done() {
      return done
    },
    async more(count) {
      const wanted = done + count
      while (done < wanted) await Promise.race([progress.promise, running])
    },
    async stop() {
      stopped = true
      await running
    },
  }
}

import { toHex } from '../../../src/core/bytes.ts'
import type { GossipMesh } from '../../../src/gossip/neighbours.ts'
import type { Did } from '../../../src/identity/did.ts'
import { DEFAULT_CONSTRAINTS } from '../../../src/mesh/constraints.ts'
import type { ConstraintSet, LinkEvent, StreamContext } from '../../../src/mesh/types.ts'
import type { LinkStream } from '../../../src/transport/types.ts'

/** Nobody is too fast here. */
export const LIMITS: ConstraintSet = { ...DEFAULT_CONSTRAINTS.federated, messagesPerSecond: 1_000_000, burst: 1_000_000 }

/** One direction of a stream; what was written arrives when the link is pumped. */
export class Wire {
  readonly chunks: Uint8Array[] = []
  readonly to: LinkStream

  constructor(to: LinkStream) {
    this.to = to
  }

  pump(): boolean {
    const chunks = this.chunks.splice(0)
    for (const chunk of chunks) this.to.onData(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length), 0, chunk.length)
    return chunks.length > 0
  }
}

export function stream(write: (bytes: Uint8Array) => void): LinkStream {
  const nothing = (): void => undefined
  return {
    write: (bytes: Uint8Array, start = 0, end = bytes.length) => {
      write(Uint8Array.from(bytes.subarray(start, end)))
      return true
    },
    end: nothing,
    reset: nothing,
    stop: nothing,
    consume: nothing,
    onData: nothing,
    onEnd: nothing,
    onError: nothing,
    onDrain: nothing,
    onClose: nothing,
  } as unknown as LinkStream
}

/** As much of a mesh as gossip sees. */
export class FakeMesh {
  readonly events: Set<(event: LinkEvent) => void> = new Set()
  handler: ((stream: LinkStream, context: StreamContext) => void) | undefined
  /** Peers that streams can be opened to, and what takes what is written there. */
  readonly routes: Map<Did, () => LinkStream> = new Map()

  of(did: Did): GossipMesh {
    return {
      did,
      handleLean: (_protocol, handler) => {
        this.handler = handler
        return () => undefined
      },
      openLean: async (peer) => {
        const open = this.routes.get(peer as Did)
        return open === undefined ? await new Promise<never>(() => {}) : open()
      },
      links: () => [],
      onEvent: (listener) => {
        this.events.add(listener)
        return () => this.events.delete(listener)
      },
      policy: {
        decide: () => ({ allowed: true, rule: 'all', next: 'none' }),
        constraints: () => LIMITS,
        classOf: () => 'federated',
        scoreOf: () => 10_000,
        provide: () => () => undefined,
      },
    }
  }

  say(type: 'up' | 'down', peer: Did, device: Uint8Array): void {
    const event = { type, peer, linkKey: toHex(device), error: null } as unknown as LinkEvent
    for (const listener of this.events) listener(event)
  }

  accept(from: { readonly did: Did; readonly device: Uint8Array }, incoming: LinkStream): void {
    this.handler?.(incoming, { peer: from.did, linkKey: from.device } as unknown as StreamContext)
  }
}

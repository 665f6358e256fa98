import { encodePayload } from '../../src/gossip/entry.ts'
import { placesOf } from '../../src/gossip/seen-filter.ts'
import { type Bound, type DigestRange, encodeFrame, topicHash } from '../../src/gossip/wire.ts'
import { conformance, type Generator } from '../conformance.ts'

const bound = (g: Generator): Bound => ({ timeMs: g.integer(2 ** 53), prefix: g.bytesUpTo(32) })
const ids = (g: Generator, most: number): Uint8Array[] => [g.bytes(32), ...g.list(most, () => g.bytes(32))]
const handle = (g: Generator): number => g.integer(2 ** 32)
const nonce = (g: Generator): number => g.integer(2 ** 32)
const range = (g: Generator): DigestRange => {
  const upper = bound(g)
  const mode = g.pick(['skip', 'fingerprint', 'ids'] as const)
  if (mode === 'skip') return { upper, mode }
  return mode === 'ids' ? { upper, mode, ids: g.list(5, () => g.bytes(32)) } : { upper, mode, count: g.integer(2 ** 32), fingerprint: g.bytes(16) }
}

conformance('icn/gossip-topic/v1', (g) => topicHash(`a${g.integer(1_000_000)}:b`))
conformance('icn/gossip/1 subscribe', (g) =>
  encodeFrame({ kind: 'subscribe', topics: [{ handle: handle(g), topic: g.bytes(32) }, ...g.list(5, () => ({ handle: handle(g), topic: g.bytes(32) }))] }),
)
conformance('icn/gossip/1 unsubscribe', (g) => encodeFrame({ kind: 'unsubscribe', handles: [handle(g), ...g.list(5, () => handle(g))] }))
conformance('icn/gossip/1 push', (g) => encodeFrame({ kind: 'push', envelope: g.bytesUpTo(20_000) }))
conformance('icn/gossip/1 announce', (g) => encodeFrame({ kind: 'announce', handle: handle(g), urgent: g.bool(), ids: ids(g, 10) }))
conformance('icn/gossip/1 prune', (g) => encodeFrame({ kind: 'prune', handle: handle(g) }))
conformance('icn/gossip/1 request', (g) => encodeFrame({ kind: 'request', nonce: nonce(g), handle: handle(g), graft: g.bool(), ids: ids(g, 10) }))
conformance('icn/gossip/1 digest', (g) =>
  encodeFrame({ kind: 'digest', nonce: nonce(g), handle: handle(g), round: g.integer(256), from: bound(g), ranges: g.list(6, () => range(g)) }),
)
conformance('icn/gossip/1 pull', (g) =>
  encodeFrame({ kind: 'pull', nonce: nonce(g), handle: handle(g), from: bound(g), to: bound(g), maxBytes: nonce(g), cursor: g.option(() => g.bytes(64)) }),
)
conformance('icn/gossip/1 entries', (g) =>
  encodeFrame({
    kind: 'entries',
    nonce: nonce(g),
    state: g.pick(['more', 'done', 'cut', 'busy']),
    cursor: g.option(() => g.bytes(64)),
    entries: g.list(4, () => g.bytesUpTo(300)),
  }),
)
// Below a kilobyte nothing is compressed: what zstd writes may change with its version.
conformance('gossip entry payload', (g) =>
  encodePayload({ references: g.list(8, () => ({ timeMs: g.integer(2 ** 53), id: g.bytes(32) })), data: g.bytesUpTo(1_023) }),
)
conformance('gossip filter places', (g) => Buffer.from(placesOf(g.bytes(32)).join(' ')))

import { holderTag } from '../../src/files/blobs.ts'
import { at, fetch, share, sharedOffer } from '../../src/files/wire.ts'
import { announceTag, notice, requestTag } from '../../src/gossip/blobs/announce.ts'
import { grantPayload } from '../../src/gossip/blobs/grant.ts'
import { chunkHash, MAX_BLOB_BYTES, pageHash, rootHash } from '../../src/gossip/blobs/layout.ts'
import { encodeChunkHead, encodeGet, encodePage, opening } from '../../src/gossip/blobs/wire.ts'
import { conformance, conformanceOfCodec } from '../conformance.ts'
import { testIdentity } from '../mesh/fixtures.ts'

const DIDS = ['ann', 'ben', 'cem'].map((name) => testIdentity(name).chain.did)
const MAX = 2 ** 32

conformance('icn/blob-chunk/v1 hash', (g) => chunkHash(g.bytesUpTo(300)))
conformance('icn/blob-page/v1 hash', (g) => pageHash(g.bytes(32 * (1 + g.integer(8)))))
conformance('icn/blob-root/v1 hash', (g) => rootHash(g.integer(MAX_BLOB_BYTES + 1), g.bytes(32 * g.integer(8))))
conformanceOfCodec('icn/blob/1 open', opening, (g) => ({
  root: g.bytes(32),
  size: g.integer(MAX_BLOB_BYTES + 1),
  nonce: g.bytes(16),
  grant: g.option(() => g.bytesUpTo(900)),
  papers: g.option(() => ({ binding: g.bytesUpTo(500), chain: g.bytesUpTo(500) })),
}))
conformance('icn/blob/1 page', (g) => encodePage(g.integer(MAX)))
conformance('icn/blob/1 get', (g) => encodeGet({ id: g.integer(MAX), first: g.integer(MAX), count: g.integer(65_536) }))
conformance('icn/blob/1 chunk head', (g) => encodeChunkHead(g.integer(MAX), 5, 5 * 65_536 + 1 + g.integer(100_000)))
conformanceOfCodec('icn/blob grant payload', grantPayload, (g) => ({
  root: g.bytes(32),
  size: g.integer(MAX_BLOB_BYTES + 1),
  sha256: g.bytes(32),
  recipient: g.pick(DIDS),
  expiresMs: g.integer(2 ** 45),
  providers: DIDS.slice(0, g.integer(DIDS.length + 1)),
}))
conformanceOfCodec('icn/blob notice', notice, (g) => ({ tag: g.bytes(32), expiresMs: g.integer(2 ** 45) }))
conformance('icn/blob-announce/v1 tag', (g) => announceTag(g.bytes(32), g.pick(DIDS)))
conformance('icn/blob-request/v1 tag', (g) => requestTag(g.bytes(32), g.pick(DIDS)))
conformanceOfCodec('kith/file/1 shared offer', sharedOffer, (g) => ({
  name: g.text(240),
  size: g.integer(2 ** 50),
  fingerprint: g.bytes(32),
  resume: g.bool(),
  holders: g.list(16, () => g.bytes(16)),
}))
conformanceOfCodec('kith/file/1 fetch', fetch, (g) => ({ places: g.list(16, () => g.integer(16)) }))
conformanceOfCodec('kith/file/1 share', share, (g) => ({ root: g.bytes(32), sha256: g.bytes(32), grant: g.bytesUpTo(900) }))
conformanceOfCodec('kith/file/1 at', at, (g) => ({ bytes: g.integer(2 ** 50), resumed: g.integer(2 ** 50), peers: g.integer(256) }))
conformance('icn/file-holder/v1 tag', (g) => holderTag(g.bytes(32), g.pick(DIDS)))

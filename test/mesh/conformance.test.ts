import { utf8 } from '../../src/core/bytes.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { PEER_CLASSES } from '../../src/mesh/constraints.ts'
import { inviteKey } from '../../src/mesh/invite.ts'
import { encodeControl } from '../../src/mesh/link-control.ts'
import { grantCodec, openCodec, proveCodec } from '../../src/mesh/pairing.ts'
import { encodeTicket } from '../../src/mesh/ticket.ts'
import { pairWords } from '../../src/mesh/words.ts'
import { conformance, conformanceOfCodec } from '../conformance.ts'
import { testIdentity } from './fixtures.ts'

const DIDS = ['ann', 'ben', 'cem'].map((name) => testIdentity(name).chain.did)

conformance('kith1 ticket', (g) =>
  utf8(
    encodeTicket({
      id: g.bytes(8),
      secret: g.bytes(16),
      did: g.pick(DIDS),
      linkKey: didPublicKey(g.pick(DIDS)),
      chainIndex: g.integer(1_000),
      headPrefix: g.bytes(8),
      class: g.pick(PEER_CLASSES),
      expiresS: g.integer(2 ** 32),
      urls: g.list(4, () => `tcp://${g.integer(256)}.2.3.4:${g.integer(65_536)}`),
    }),
  ),
)
conformance('icn/invite/v1 key', (g) => inviteKey(g.bytes(16), g.bytes(8)))
conformanceOfCodec('icn/pair/1 open', openCodec, (g) => ({ id: g.bytes(8), commitment: g.bytes(32) }))
conformanceOfCodec('icn/pair/1 prove', proveCodec, (g) => ({ joinerRandom: g.bytes(32), proof: g.bytes(32), name: g.text(64) }))
conformanceOfCodec('icn/pair/1 grant', grantCodec, (g) => ({ proof: g.bytes(32), name: g.text(64), class: g.pick(PEER_CLASSES) }))
conformance('icn/pair-words/v1', (g) =>
  utf8(pairWords({ helloHash: g.bytes(32), inviter: g.pick(DIDS), joiner: g.pick(DIDS), inviterRandom: g.bytes(32), joinerRandom: g.bytes(32) })),
)
conformance('icn/link/1 control', (g) => {
  switch (g.integer(4)) {
    case 0:
      return encodeControl({ type: g.pick(['select', 'prefer']), id: g.bytes(8) })
    case 1:
      return encodeControl({ type: 'retire', opened: g.integer(2 ** 32) })
    case 2:
      return encodeControl({ type: 'empty' })
    default:
      return encodeControl({ type: 'addresses', urls: g.list(8, () => g.text(100)) })
  }
})

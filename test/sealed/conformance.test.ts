import { xwingPublicKey } from '../../src/core/crypto/xwing.ts'
import { Secret } from '../../src/core/secret.ts'
import {
  encodeDeleteAnswer,
  encodeGetAnswer,
  encodeListAnswer,
  encodePutAnswer,
  encodeRecordAnswer,
  encodeRecordRequest,
  encodeRequest,
} from '../../src/mesh/mailbox/wire.ts'
import { decodePeerRecord, encodePeerRecord } from '../../src/mesh/sealed/peer-record-codec.ts'
import { kidOf, PREKEY_LIFE_MS, signPrekey } from '../../src/mesh/sealed/prekey-codec.ts'
import { encodeBlocks, encodeHeader, joinSealed } from '../../src/mesh/sealed/sealed-codec.ts'
import { conformance, type Generator } from '../conformance.ts'
import { testDevice, testIdentity } from '../mesh/fixtures.ts'

const IDENTITIES = ['ann', 'ben', 'cem'].map((name) => testIdentity(name))
const DEVICES = IDENTITIES.map((identity, i) => testDevice(identity, ['ann', 'ben', 'cem'][i] as string))

const did = (g: Generator) => g.pick(IDENTITIES).chain.did
const header = (g: Generator): Uint8Array => encodeHeader({ to: did(g), msgId: g.bytes(16), expiresMs: g.integer(2 ** 45), bucket: 256 * 2 ** g.integer(13) })

conformance('icn/sealed/v1 header', header)
conformance('icn/sealed/v1 message', (g) => {
  const blocks = DEVICES.slice(0, 1 + g.integer(3)).map(({ linkSigner }) => ({
    device: linkSigner.publicKey,
    kid: g.bytes(8),
    enc: g.bytes(1120),
    wrapped: g.bytes(48),
  }))
  return joinSealed(header(g), encodeBlocks(blocks), g.bytes(272))
})
// Ed25519 alone: its signatures are the same each time.
conformance(
  'icn/prekey/v1',
  (g) => {
    const device = g.pick(DEVICES)
    using seed = Secret.take(g.bytes(32))
    const key = xwingPublicKey(seed)
    const notBeforeMs = g.integer(2 ** 45)
    const prekey = { did: device.did, device: device.linkSigner.publicKey, kid: kidOf(key), key, notBeforeMs, notAfterMs: notBeforeMs + PREKEY_LIFE_MS }
    return signPrekey(prekey, { ed25519: device.linkSigner, mldsa: undefined })
  },
  16,
)
conformance('icn/record/1 peer record', (g) => {
  const hosts = IDENTITIES.slice(0, g.integer(4)).map(({ chain }) => chain.did)
  const bytes = encodePeerRecord({ prekey: g.option(() => g.bytesUpTo(4_000)), hosts, expiresMs: g.integer(2 ** 45) })
  return encodePeerRecord(decodePeerRecord(bytes))
})
conformance('icn/mailbox/1 requests', (g) => {
  switch (g.integer(4)) {
    case 0:
      return encodeRequest({ op: 'put', sealed: g.bytesUpTo(200) })
    case 1:
      return encodeRequest({ op: 'list', after: g.option(() => g.bytes(16)), limit: 1 + g.integer(256) })
    case 2:
      return encodeRequest({ op: 'get', msgId: g.bytes(16) })
    default:
      return encodeRequest({ op: 'delete', msgIds: [g.bytes(16), ...g.list(63, () => g.bytes(16))] })
  }
})
conformance('icn/mailbox/1 answers', (g) => {
  switch (g.integer(5)) {
    case 0:
      return encodePutAnswer({ kept: g.pick(['inbox', 'mailbox']) })
    case 1:
      return encodePutAnswer({ record: g.bytesUpTo(300) })
    case 2:
      return encodeListAnswer({
        messages: g.list(20, () => ({ msgId: g.bytes(16), expiresMs: g.integer(2 ** 45), bytes: g.integer(2 ** 32) })),
        more: g.bool(),
      })
    case 3:
      return encodeGetAnswer(g.bytesUpTo(200))
    default:
      return encodeDeleteAnswer(g.integer(65_536))
  }
})
conformance('icn/record/1 request and answer', (g) => (g.bool() ? encodeRecordRequest(g.bytes(32)) : encodeRecordAnswer(g.list(16, () => g.bytesUpTo(100)))))

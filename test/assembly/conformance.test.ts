import { papersCodec } from '../../src/assembly/identity-updates.ts'
import { conformanceOfCodec } from '../conformance.ts'

conformanceOfCodec('identity:updates papers', papersCodec, (g) => ({
  _version: undefined,
  did: g.bytes(32),
  binding: g.bytesUpTo(400),
  chain: g.bytesUpTo(400),
}))

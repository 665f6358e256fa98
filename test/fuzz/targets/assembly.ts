import assert from 'node:assert/strict'
import { papersCodec } from '../../../src/assembly/identity-updates.ts'
import { equal } from '../../../src/core/bytes.ts'
import { decode, encode } from '../../../src/core/codec.ts'
import { encodeChain } from '../../../src/identity/chain-codec.ts'
import { didPublicKey } from '../../../src/identity/did.ts'
import { certify, testIdentity } from '../../mesh/fixtures.ts'
import type { FuzzTarget } from '../mutate.ts'

const identity = testIdentity('ann')
const did = didPublicKey(identity.chain.did)
const papers = encode(papersCodec, { _version: undefined, did, binding: certify(identity, 'ann'), chain: encodeChain(identity.chain.entries) })

/** Whatever decodes is the one encoding of what it says. */
const update: FuzzTarget = {
  name: 'papers-update',
  seeds: [papers, encode(papersCodec, { _version: undefined, did, binding: new Uint8Array(0), chain: new Uint8Array(0) })],
  codes: ['WIRE_MALFORMED', 'VERSION_UNSUPPORTED'],
  run(input) {
    const decoded = decode(papersCodec, input)
    assert.ok(equal(encode(papersCodec, decoded), input))
    return `${Math.min(decoded.binding.length, 1)} ${Math.min(decoded.chain.length, 1)}`
  },
  iterations: 10_000,
}

export const assemblyTargets: readonly FuzzTarget[] = [update]

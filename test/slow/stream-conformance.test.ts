import assert from 'node:assert/strict'
import test from 'node:test'
import { conformanceDigest } from '../stream/conformance.ts'
import { transcriptDigest } from '../stream/transcript-ops.ts'

test('conformance, 4,096 handshakes, give the digest that commonware publishes', async () => {
  assert.equal(await conformanceDigest(4096), '057cc42a74390f0b43250b8fba2c42abad651bee6beacb510f2f2a950185a694')
})

test('conformance, transcript operations of version 0, give the digest that commonware publishes', async () => {
  assert.equal(await transcriptDigest(4096, 0), '9115bb89c941947d7bfabb3c67b7812c842c3ab8be196a61e3378a873e2e5837')
})

test('conformance, transcript operations of version 1, give the digest that commonware publishes', async () => {
  assert.equal(await transcriptDigest(4096, 1), '8b67a5feb9019c290bb51a632a042cf302a66eb16f69a91c45f599602ce27fcf')
})

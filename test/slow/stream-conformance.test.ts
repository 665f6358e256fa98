import assert from 'node:assert/strict'
import test from 'node:test'
import { conformanceDigest } from '../stream/conformance.ts'

test('conformance, 4,096 handshakes, give the digest that commonware publishes', async () => {
  assert.equal(await conformanceDigest(4096), '057cc42a74390f0b43250b8fba2c42abad651bee6beacb510f2f2a950185a694')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { toHex } from '../../src/core/bytes.ts'
import { decodeDeviceDocument, MAX_ACTIVE_DEVICES, MAX_DEVICES, verifyDeviceDocument } from '../../src/identity/device-document.ts'
import { addDocument, type DeviceRoster, decodeRoster, documentsOf, encodeRoster, listedDevices } from '../../src/identity/device-roster.ts'
import { documentBytes, documentOf, linkOf, listed } from './device-make.ts'
import { DAY, failing, person, rotate, T0 } from './make.ts'

const ann = person('ann')
const ben = person('ben')
const two = [listed('laptop'), listed('phone')]
const NOW = T0 + DAY

test('device document, made by the identity, verifies and gives back its devices in the order of their keys', () => {
  const hybrid = person('pq', { mldsa: true })
  const bytes = documentBytes(hybrid, 7, two)
  const document = verifyDeviceDocument(bytes, { chain: hybrid.chain, now: NOW })
  assert.equal(document.version, 7)
  assert.deepEqual(new Set(document.devices.map(({ name }) => name)), new Set(['laptop', 'phone']))
  const keys = document.devices.map(({ linkKey }) => toHex(linkKey))
  assert.deepEqual(keys, [...keys].sort())
})

test('device document, any byte flipped, does not verify', () => {
  const bytes = documentBytes(ann, 1, two)
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Uint8Array.from(bytes)
    flipped[at] = (flipped[at] as number) ^ 1
    assert.throws(() => verifyDeviceDocument(flipped, { chain: ann.chain, now: NOW }), failing2(['DEVICE_DOCUMENT_INVALID', 'CHAIN_STALE']), `byte ${at}`)
  }
})

test('device document, truncated anywhere or with a byte too many, is refused', () => {
  const bytes = documentBytes(ann, 1, two)
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeDeviceDocument(bytes.subarray(0, length)), failing('DEVICE_DOCUMENT_INVALID', /malformed/), `length ${length}`)
  }
  assert.throws(() => decodeDeviceDocument(Uint8Array.of(...bytes, 0)), failing('DEVICE_DOCUMENT_INVALID', /malformed/))
})

test('device document, of another identity, on another chain or without a signature of the identity, is refused', () => {
  const verify = (bytes: Uint8Array, who = ann) => verifyDeviceDocument(bytes, { chain: who.chain, now: NOW })
  assert.throws(() => verify(documentBytes(ben, 1, two)), failing('DEVICE_DOCUMENT_INVALID', /another identity/))
  const forged = Uint8Array.from(documentBytes(ann, 1, two))
  forged.set(documentBytes(ben, 1, two).subarray(-65), forged.length - 65)
  assert.throws(() => verify(forged), failing('DEVICE_DOCUMENT_INVALID', /did not sign/))
  const emptyProof = Uint8Array.from(documentBytes(ann, 1, two))
  emptyProof.fill(0, emptyProof.length - 65, emptyProof.length - 1)
  assert.throws(() => verify(emptyProof), failing('DEVICE_DOCUMENT_INVALID', /did not sign/))
})

test('device document, of keys replaced on schedule, still counts; of compromised keys it does not', () => {
  const carl = person('carl')
  const before = documentBytes(carl, 1, two)
  rotate(carl, 'scheduled')
  assert.equal(verifyDeviceDocument(before, { chain: carl.chain, now: T0 + 2 * DAY }).chainIndex, 0)
  const between = documentBytes(carl, 2, two)
  rotate(carl, 'compromised', { now: T0 + 2 * DAY })
  for (const bytes of [before, between]) {
    assert.throws(() => verifyDeviceDocument(bytes, { chain: carl.chain, now: T0 + 3 * DAY }), failing('DEVICE_DOCUMENT_INVALID', /compromised/))
  }
})

test('device document, of a chain entry that is not known yet, asks for the chain', () => {
  const dora = person('dora')
  const known = dora.chain
  rotate(dora, 'lost')
  assert.throws(() => verifyDeviceDocument(documentBytes(dora, 1, two), { chain: known, now: NOW }), failing2(['CHAIN_STALE']))
})

test('device document, dated more than a day ahead or naming an identity key, is refused', () => {
  assert.throws(
    () => verifyDeviceDocument(documentBytes(ann, 1, two, NOW + 2 * DAY), { chain: ann.chain, now: NOW }),
    failing('DEVICE_DOCUMENT_INVALID', /ahead/),
  )
  const own = { ...listed('x'), linkKey: ann.chain.keys.ed25519 }
  assert.throws(() => verifyDeviceDocument(documentBytes(ann, 1, [own]), { chain: ann.chain, now: NOW }), failing('DEVICE_DOCUMENT_INVALID', /identity key/))
})

test('device document, with more devices than fit, is not made', () => {
  const many = Array.from({ length: MAX_ACTIVE_DEVICES + 1 }, (_, at) => listed(`m${at}`))
  assert.throws(() => documentBytes(ann, 1, many), failing('DEVICE_DOCUMENT_INVALID', /active/))
  const one = listed('one', 'lost')
  assert.throws(
    () =>
      documentBytes(
        ann,
        1,
        Array.from({ length: MAX_DEVICES + 1 }, () => one),
      ),
    failing('DEVICE_DOCUMENT_INVALID', /more than 256/),
  )
  assert.throws(() => documentBytes(ann, 1, [one, one]), /out of order/)
})

test('device roster, a revocation in any document, is never undone by a later, an older or a competing one', () => {
  const base = addDocument(undefined, documentOf(ann, 2, two)).roster
  const revoking = addDocument(base, documentOf(ann, 3, [listed('laptop'), listed('phone', 'lost', T0 + 5)]))
  assert.deepEqual(
    revoking.revoked.map(({ reason }) => reason),
    ['lost'],
  )
  const later = addDocument(revoking.roster, documentOf(ann, 9, two))
  assert.equal(later.roster.latest.version, 9)
  assert.deepEqual(later.revoked, [])
  assert.ok(later.roster.revoked.has(toHex(linkOf('phone'))))
  assert.equal(listedDevices(later.roster).find(({ name }) => name === 'phone')?.status, 'lost')
  // An older one may still take away, and never gives back.
  const older = addDocument(later.roster, documentOf(ann, 1, [listed('laptop', 'compromised')]))
  assert.equal(older.roster.latest.version, 9)
  assert.deepEqual(
    older.revoked.map(({ reason }) => reason),
    ['compromised'],
  )
  // Whoever is behind is given all of them.
  const elsewhere = documentsOf(older.roster).reduce<DeviceRoster | undefined>(
    (roster, bytes) => addDocument(roster, decodeDeviceDocument(bytes)).roster,
    undefined,
  )
  assert.deepEqual(new Set(elsewhere?.revoked.keys()), new Set(older.roster.revoked.keys()))
})

test('device roster, the same document twice, changes nothing', () => {
  const once = addDocument(undefined, documentOf(ann, 2, two)).roster
  const again = addDocument(once, documentOf(ann, 2, two))
  assert.equal(again.changed, false)
  assert.equal(again.roster, once)
})

test('device roster, of a later chain entry, outranks any version of an older one', () => {
  const eve = person('eve')
  const huge = documentOf(eve, Number.MAX_SAFE_INTEGER, two)
  rotate(eve, 'lost')
  const { roster } = addDocument(addDocument(undefined, huge).roster, documentOf(eve, 5, [listed('laptop')]))
  assert.equal(roster.latest.chainIndex, 1)
})

test('device roster, documents in every order, is the same', () => {
  const names = ['a', 'b', 'c', 'd']
  const status = fc.constantFrom<('active' | 'lost' | 'removed' | 'compromised')[]>('active', 'active', 'lost', 'removed', 'compromised')
  const document = fc.record({
    version: fc.integer({ min: 1, max: 4 }),
    states: fc.array(status, { minLength: 4, maxLength: 4 }),
    since: fc.integer({ min: 0, max: 3 }),
  })
  fc.assert(
    fc.property(fc.array(document, { minLength: 1, maxLength: 4 }), fc.integer(), (specs, seed) => {
      const documents = specs.map(({ version, states, since }) =>
        documentOf(
          ann,
          version,
          names.map((name, at) => listed(name, states[at] ?? 'active', T0 + since)),
        ),
      )
      const fold = (list: typeof documents) =>
        list.reduce<DeviceRoster | undefined>((roster, next) => addDocument(roster, next).roster, undefined) as DeviceRoster
      const shuffled = documents.map((doc, at) => ({ doc, key: (at * 7919 + seed) % 13 })).sort((x, y) => x.key - y.key)
      const [one, other] = [fold(documents), fold(shuffled.map(({ doc }) => doc))]
      assert.deepEqual(listedDevices(one), listedDevices(other))
      assert.deepEqual(one.latest.hash, other.latest.hash)
    }),
    { numRuns: 60 },
  )
})

test('device roster, stored and read back, is the same; damaged bytes are refused', () => {
  const roster = addDocument(addDocument(undefined, documentOf(ann, 1, [listed('phone', 'lost')])).roster, documentOf(ann, 2, two)).roster
  const stored = encodeRoster(roster)
  const read = decodeRoster(stored)
  assert.deepEqual(read === undefined ? undefined : listedDevices(read), listedDevices(roster))
  for (let length = 0; length < stored.length; length += 13)
    assert.throws(() => decodeRoster(stored.subarray(0, length)), failing2(['WIRE_MALFORMED', 'DEVICE_DOCUMENT_INVALID']))
})

function failing2(codes: readonly string[]): (error: unknown) => boolean {
  return (error) => {
    const { code } = error as { code?: string }
    if (code === undefined || !codes.includes(code)) throw error
    return true
  }
}

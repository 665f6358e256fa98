import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PublicKey } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { formatDid } from '../../src/identity/did.ts'
import { AddressBook } from '../../src/mesh/address-book.ts'
import { cleanName, uniqueName } from '../../src/mesh/peer-name.ts'

function key(seed: number): PublicKey {
  const secret = Secret.take(new Uint8Array(32).fill(seed))
  try {
    return publicKeyOfSeed(secret)
  } finally {
    secret.wipe()
  }
}

const ALICE = formatDid(key(1))
const BOB = formatDid(key(2))

test('address book reopened, holds what was stored', async () => {
  const store = createMemoryStore()
  const clock = manualClock()
  const book = await AddressBook.open(store, clock)
  await book.add({
    did: ALICE,
    name: 'alice',
    class: 'partner',
    pending: 'federated',
    met: 'invite 7',
    addresses: [{ url: 'tcp://192.0.2.1:4433', linkKey: key(3) }],
  })
  await book.add({ did: BOB })
  await book.note(ALICE, 'tcp://192.0.2.1:4433', { ok: true, linkKey: key(4) })
  await book.forget(BOB)
  const again = await AddressBook.open(store, clock)
  assert.deepEqual(again.list(), book.list())
  const alice = again.get(ALICE)
  assert.equal(alice?.class, 'partner')
  assert.equal(alice?.pending, 'federated')
  assert.deepEqual(alice?.addresses[0]?.linkKey, key(4))
  assert.equal(alice?.addresses[0]?.lastSuccessMs, clock.now())
})

test('address book asked for a peer, takes DID, did:key, prefix and name', async () => {
  const book = await AddressBook.open(createMemoryStore(), manualClock())
  await book.add({ did: ALICE, name: 'Alice' })
  await book.add({ did: BOB, name: 'bob' })
  assert.equal(book.resolve(ALICE), ALICE)
  assert.equal(book.resolve('alice'), ALICE)
  assert.equal(book.resolve(ALICE.slice(0, 18)), ALICE)
  assert.equal(book.resolve(ALICE.slice(8, 18)), ALICE)
  assert.equal(book.resolve(ALICE.slice(9, 18)), ALICE)
  assert.equal(book.resolve(formatDid(key(9))), formatDid(key(9)))
})

test('address book asked for nobody it knows, suggests the nearest or lists what is ambiguous', async () => {
  const book = await AddressBook.open(createMemoryStore(), manualClock())
  await book.add({ did: ALICE, name: 'alice' })
  await book.add({ did: BOB, name: 'bob' })
  assert.throws(
    () => book.resolve('alcie'),
    (error) => isKithError(error, 'PEER_UNKNOWN') && error.details.nearest === 'alice',
  )
  assert.throws(
    () => book.resolve('did:icn:z'),
    (error) => isKithError(error, 'PEER_AMBIGUOUS') && Array.isArray(error.details.matches) && error.details.matches.length === 2,
  )
  assert.throws(
    () => book.resolve(ALICE.slice(9, 14)),
    (error) => isKithError(error, 'PEER_UNKNOWN'),
  )
})

test('address book given a name that is taken, a class or a beginning of a DID, makes it another one', async () => {
  const book = await AddressBook.open(createMemoryStore(), manualClock())
  assert.equal((await book.add({ did: ALICE, name: 'box' })).name, 'box')
  assert.equal((await book.add({ did: BOB, name: 'BOX' })).name, 'BOX-2')
  assert.equal((await book.add({ did: formatDid(key(5)), name: 'partner' })).name, 'partner-2')
  assert.equal((await book.add({ did: formatDid(key(6)), name: ALICE.slice(9, 20) })).name, `${ALICE.slice(9, 20)}-2`)
  await assert.rejects(book.rename(BOB, 'box'), (error) => isKithError(error, 'PEER_AMBIGUOUS'))
  await assert.rejects(async () => book.rename(BOB, 'no spaces'), TypeError)
  assert.equal((await book.rename(BOB, 'laptop')).name, 'laptop')
})

test('address book with more addresses than it keeps, drops those that worked longest ago', async () => {
  const clock = manualClock()
  const book = await AddressBook.open(createMemoryStore(), clock)
  await book.add({ did: ALICE, addresses: Array.from({ length: 16 }, (_, i) => ({ url: `tcp://192.0.2.1:${1000 + i}` })) })
  for (let i = 1; i < 16; i++) {
    clock.advance(1000)
    await book.note(ALICE, `tcp://192.0.2.1:${1000 + i}`, { ok: true })
  }
  const peer = await book.addAddresses(ALICE, [{ url: 'tcp://192.0.2.2:1' }])
  assert.equal(peer.addresses.length, 16)
  assert.ok(peer.addresses.some(({ url }) => url === 'tcp://192.0.2.2:1'))
  assert.ok(!peer.addresses.some(({ url }) => url === 'tcp://192.0.2.1:1000'))
})

test('address book changed many times at once, applies every change', async () => {
  const book = await AddressBook.open(createMemoryStore(), manualClock())
  await Promise.all(Array.from({ length: 20 }, (_, i) => book.add({ did: formatDid(key(i + 1)), name: 'same' })))
  assert.equal(new Set(book.list().map(({ name }) => name)).size, 20)
  await assert.rejects(book.setClass(formatDid(key(99)), 'known', null), (error) => isKithError(error, 'PEER_UNKNOWN'))
})

test('peer name from anywhere, becomes letters, digits and three marks', () => {
  assert.equal(cleanName('Ädam’s laptop \u202e', ALICE), 'A-dam-s-laptop')
  assert.equal(cleanName('../../etc/passwd', ALICE), 'etc-passwd')
  assert.match(cleanName('\n\u0000', ALICE), /^peer-[A-Za-z0-9]{6}$/)
  assert.equal(cleanName('x'.repeat(100), ALICE).length, 32)
  assert.equal(
    uniqueName('x'.repeat(32), (name) => name === 'x'.repeat(32)),
    `${'x'.repeat(30)}-2`,
  )
})

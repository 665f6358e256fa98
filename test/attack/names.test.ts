import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PublicKey } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { type Did, formatDid } from '../../src/identity/did.ts'
import { AddressBook } from '../../src/mesh/address-book.ts'
import { acceptableAddresses, splitAddress } from '../../src/mesh/addresses.ts'
import { isPeerName } from '../../src/mesh/peer-name.ts'

/** A newcomer calls itself so that the owner's next command means the newcomer. */
function key(seed: number): PublicKey {
  const secret = Secret.take(new Uint8Array(32).fill(seed))
  try {
    return publicKeyOfSeed(secret)
  } finally {
    secret.wipe()
  }
}

const BOB = formatDid(key(2))
const MALLORY = formatDid(key(3))
const CAROL = formatDid(key(4))

async function withBob(): Promise<AddressBook> {
  const book = await AddressBook.open(createMemoryStore(), manualClock())
  await book.add({ did: BOB, name: 'Bill-10' })
  return book
}

test('a newcomer with the name of another, or one that looks like it, gets a name that shows it', async () => {
  const looks = [
    'Bill-10',
    'bill-10',
    'BILL-10',
    'BiII-10',
    'B1ll-10',
    'Bi1l-lO',
    'bill-1o',
    '8ill-10',
    'Ｂｉｌｌ-10',
    ' Bill-10 ',
    'Bill-10\u200b',
    '\u202eBill-10',
    'Bill-10.',
  ]
  for (const name of looks) {
    const book = await withBob()
    const added = await book.add({ did: MALLORY, name })
    assert.match(added.name, /-2$/, name)
    assert.ok(isPeerName(added.name))
    assert.equal(book.resolve('bill-10'), BOB)
  }
})

test('a newcomer named like the DID of somebody, known or not yet, never answers to that DID', async () => {
  const shapes = (did: Did): string[] => [
    did,
    did.slice(8),
    did.slice(9),
    did.slice(8, 20),
    did.slice(9, 20),
    did.slice(8, 16),
    `${did.slice(0, 20)}`,
    did.replace('did:icn:', 'did-icn-'),
  ]
  for (const did of [BOB, CAROL]) {
    for (const name of shapes(did)) {
      const book = await withBob()
      await book.add({ did: MALLORY, name })
      for (const asked of shapes(did).filter((text) => text !== name.replaceAll(':', '-'))) {
        let meant: Did | undefined
        try {
          meant = book.resolve(asked)
        } catch (error) {
          assert.ok(isKithError(error, 'PEER_UNKNOWN') || isKithError(error, 'PEER_AMBIGUOUS'))
        }
        assert.notEqual(meant, MALLORY, `${name} answers to ${asked}`)
      }
    }
  }
})

test('a short DID as shown for a stranger, is not the name of somebody else', async () => {
  const book = await withBob()
  await book.add({ did: MALLORY, name: CAROL.slice(8, 20) })
  assert.throws(
    () => book.resolve(CAROL.slice(8, 20)),
    (error) => isKithError(error, 'PEER_UNKNOWN'),
  )
})

test('a peer that pairs again under another name, keeps the one the owner knows', async () => {
  const book = await withBob()
  await book.add({ did: MALLORY, name: 'mallory' })
  assert.equal((await book.add({ did: MALLORY, name: 'Bill-10', class: 'known' })).name, 'mallory')
})

test('names that are words of the command line, are nobody’s', async () => {
  for (const name of ['known', 'Partner', 'FEDERATED', 'isolated', '*', '-', '--yes']) {
    const book = await withBob()
    const added = await book.add({ did: MALLORY, name })
    assert.ok(!['known', 'partner', 'federated', 'isolated', '*'].includes(added.name.toLowerCase()), name)
    assert.ok(!added.name.startsWith('-'))
  }
})

test('addresses with escape sequences, unseen letters or spaces, are addresses of nothing', () => {
  const bad = [
    'tcp://192.0.2.1:4433/\u001b[2J',
    'tcp://192.0.2.1:4433/\u009b2J',
    'tcp://\u001b]0;x\u0007:4433',
    'tcp://evil\u202e.example:4433',
    'tcp://ex\u0430mple.com:4433',
    'tcp://a\u0000b:4433',
    'tcp://192.0.2.1:4433?\u0007',
    'tcp://192.0.2.1:4433#\u2028',
    'tcp://user@192.0.2.1:4433',
    'tcp://192.0.2.1:4433/ x',
  ]
  for (const url of bad) {
    assert.equal(splitAddress(url), undefined, JSON.stringify(url))
    assert.deepEqual(acceptableAddresses([url], 'tcp://192.0.2.1:1'), [])
  }
  for (const url of ['tcp://192.0.2.1:4433', 'quic://[2001:db8::1]:4433', 'wss://example.com:443/a/b?x=1#y', 'memory://ann_b'])
    assert.notEqual(splitAddress(url), undefined)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { AddressBook } from '../../src/mesh/address-book.ts'
import { AddressNews } from '../../src/mesh/address-news.ts'
import type { Member } from '../../src/mesh/link-member.ts'
import { NOW, testNode } from '../mesh/fixtures.ts'

test('a machine that tells addresses, neither takes over nor pushes out those of the identity’s other machines', async () => {
  const [good, bad] = await Promise.all(['good', 'bad'].map((name) => testNode(name)))
  assert.ok(good !== undefined && bad !== undefined)
  const { did } = good.device
  const book = await AddressBook.open(createMemoryStore(), manualClock(NOW))
  const mine = Array.from({ length: 12 }, (_, index) => ({ url: `tcp://198.51.100.${index + 1}:4433`, linkKey: good.linkKey }))
  await book.add({ did, addresses: mine })
  const news = new AddressNews({ book, logger: silentLogger, addresses: () => [] })
  const member = { link: { did, linkKey: bad.linkKey }, path: { address: 'tcp://203.0.113.1:5' } } as unknown as Member
  let writes = 0
  book.onChange = () => writes++
  for (let round = 0; round < 5; round++)
    news.told(member, [...mine.map(({ url }) => url).slice(0, 2), ...Array.from({ length: 6 }, (_, index) => `tcp://203.0.113.${index}:4433`)])
  await book.exclusive(async () => undefined)
  const addresses = book.get(did)?.addresses ?? []
  for (const { url, linkKey } of mine) assert.deepEqual(addresses.find((address) => address.url === url)?.linkKey, linkKey, url)
  assert.equal(addresses.length, 16)
  const before = writes
  news.told(
    member,
    addresses.filter(({ linkKey }) => linkKey !== good.linkKey).map(({ url }) => url),
  )
  await book.exclusive(async () => undefined)
  assert.equal(writes, before, 'nothing new is not written')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { anyPort, node } from './mdns-support.ts'

test('mdns: two nodes at home find each other with DID, key, name and addresses; neither finds itself', async (t) => {
  const port = anyPort()
  const a = await node(t, 'anna', { port, home: true })
  const b = await node(t, 'b\u001b[31mert', { port, home: true })
  const seen = await a.hears((peer) => peer.did === b.announcement.did)
  assert.deepEqual(seen, { did: b.announcement.did, linkKey: b.announcement.linkKey, urls: b.announcement.urls, name: 'b[31mert' })
  await b.hears((peer) => peer.did === a.announcement.did)
  assert.ok(a.found.every((peer) => peer.did !== a.announcement.did))
  assert.ok(b.found.every((peer) => peer.did !== b.announcement.did))
})

test('mdns: a node that stops says goodbye, and changed addresses replace the old ones', async (t) => {
  const port = anyPort()
  const a = await node(t, 'anna', { port, home: true })
  const b = await node(t, 'bert', { port, home: true })
  await a.hears((peer) => peer.did === b.announcement.did)
  await b.discovery.announce({ ...b.announcement, urls: ['tcp://127.0.0.1:9'] })
  await a.hears((peer) => peer.urls[0] === 'tcp://127.0.0.1:9')
  a.found.length = 0
  await b.discovery.stop()
  const gone = await a.hears((peer) => peer.gone === true)
  assert.equal(gone.did, b.announcement.did)
  assert.deepEqual(gone.urls, ['tcp://127.0.0.1:9'])
  await b.discovery.stop()
})

test('mdns: away from home neither DID, key nor name is told, and only those who know the DID recognise it', async (t) => {
  const port = anyPort()
  const b = await node(t, 'bert', { port, home: (address) => address !== '127.0.0.1' })
  const friend = await node(t, 'anna', { port, known: () => [b.announcement.did] })
  const stranger = await node(t, 'carl', { port })
  const recognised = await friend.hears((peer) => peer.did === b.announcement.did)
  assert.deepEqual(recognised, { did: b.announcement.did, urls: b.announcement.urls })
  const seen = await stranger.hears((peer) => peer.urls[0] === b.announcement.urls[0])
  assert.deepEqual(seen, { urls: b.announcement.urls })
})

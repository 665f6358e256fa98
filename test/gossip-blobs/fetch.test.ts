import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { CHUNK_BYTES, MAX_BLOB_BYTES } from '../../src/gossip/blobs/layout.ts'
import { type BlobWorld, bytesSink, bytesSource, createBlobWorld } from './support.ts'

let world: BlobWorld
beforeEach(() => {
  world = createBlobWorld()
})
afterEach(async () => {
  await world.close()
})

for (const size of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 40 * CHUNK_BYTES + 7, 257 * CHUNK_BYTES + 3]) {
  test(`a blob of ${size} bytes from one provider, arrives whole`, async () => {
    const [alice, bob] = [world.node('alice'), world.node('bob')]
    await world.link(alice, bob)
    const source = bytesSource(randomBytes(size))
    const manifest = await alice.blobs.describe(source)
    alice.blobs.offer(manifest, source, { peers: [bob.did] })
    const sink = bytesSink(size)
    const result = await bob.blobs.fetch(manifest, sink, { providers: [{ peer: alice.did }] })
    assert.deepEqual(sink.content, new Uint8Array(source.content))
    assert.deepEqual([result.bytes, result.resumed], [size, 0])
    assert.deepEqual([...bob.violations, ...alice.violations], [])
  })
}

test('two providers at once, both are used and neither delivers what the other did', async () => {
  const [alice, carol, bob] = [world.node('alice'), world.node('carol'), world.node('bob')]
  await Promise.all([world.link(alice, bob), world.link(carol, bob)])
  const size = 100 * CHUNK_BYTES + 5
  const source = bytesSource(randomBytes(size))
  const manifest = await alice.blobs.describe(source)
  for (const provider of [alice, carol]) provider.blobs.offer(manifest, source, { peers: [bob.did] })
  const sink = bytesSink(size)
  const result = await bob.blobs.fetch(manifest, sink, { providers: [{ peer: alice.did }, { peer: carol.did }] })
  assert.deepEqual(sink.content, new Uint8Array(source.content))
  assert.ok((result.from.get(alice.did) ?? 0) > 0 && (result.from.get(carol.did) ?? 0) > 0, JSON.stringify([...result.from.values()]))
  assert.equal(
    [...result.from.values()].reduce((sum, bytes) => sum + bytes, 0),
    size,
  )
  assert.equal(result.providers, 2)
})

test('nobody offers it, the fetch says so with the reason', async () => {
  const [alice, bob] = [world.node('alice'), world.node('bob')]
  await world.link(alice, bob)
  const manifest = await alice.blobs.describe(bytesSource(randomBytes(10)))
  await assert.rejects(
    bob.blobs.fetch(manifest, bytesSink(10), { providers: [{ peer: alice.did }] }),
    (error) => isKithError(error, 'BLOB_UNAVAILABLE') && isKithError(error.cause, 'BLOB_UNKNOWN'),
  )
})

test('any part of a blob of several pages is there already, exactly the rest is fetched', async () => {
  const [alice, bob] = [world.node('alice'), world.node('bob')]
  await world.link(alice, bob)
  const chunks = 530
  const size = chunks * CHUNK_BYTES - 9
  const source = bytesSource(randomBytes(size))
  const manifest = await alice.blobs.describe(source)
  alice.blobs.offer(manifest, source, { peers: [bob.did] })
  const random = seededRandom('holes')
  for (const share of [0, 0.1, 0.5, 0.99, 1]) {
    const sink = bytesSink(size)
    let there = 0
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (random.unit() >= share) continue
      const data = source.content.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES)
      await sink.write(data, chunk * CHUNK_BYTES)
      there += data.length
    }
    sink.writes = 0
    const result = await bob.blobs.fetch(manifest, sink, { providers: [{ peer: alice.did }], resume: true })
    assert.equal(result.resumed, there)
    assert.equal(result.from.get(alice.did) ?? 0, size - there)
    assert.equal(sink.writes, Math.ceil((size - there) / CHUNK_BYTES))
    assert.ok(Buffer.from(sink.content).equals(source.content))
  }
})

test('a blob larger than any, is a mistake of the caller', async () => {
  const bob = world.node('bob')
  for (const size of [MAX_BLOB_BYTES + 1, -1, Number.NaN]) {
    await assert.rejects(bob.blobs.fetch({ root: randomBytes(32), size }, bytesSink(0), { providers: [] }), TypeError)
  }
})

test('an empty blob under a false root, is never whole', async () => {
  const bob = world.node('bob')
  await assert.rejects(bob.blobs.fetch({ root: randomBytes(32), size: 0 }, bytesSink(0), { providers: [] }), (error) => isKithError(error, 'BLOB_UNAVAILABLE'))
})

test('a node that is closed, ends what it fetches and serves, and does no more', async () => {
  const [alice, bob] = [world.node('alice'), world.node('bob')]
  await world.link(alice, bob)
  const source = bytesSource(randomBytes(50 * CHUNK_BYTES))
  const manifest = await alice.blobs.describe(source)
  alice.blobs.offer(manifest, source, { peers: [bob.did] })
  const closing: Promise<void>[] = []
  const fetching = bob.blobs.fetch(manifest, bytesSink(source.size), {
    providers: [{ peer: alice.did }],
    onProgress: () => closing.length === 0 && closing.push(bob.blobs.close()),
  })
  await assert.rejects(fetching, (error) => isKithError(error, 'ABORTED'))
  await Promise.all(closing)
  await assert.rejects(bob.blobs.fetch(manifest, bytesSink(source.size), { providers: [] }), (error) => isKithError(error, 'CLOSED'))
  assert.throws(
    () => bob.blobs.offer(manifest, source, { peers: [] }),
    (error) => isKithError(error, 'CLOSED'),
  )
})

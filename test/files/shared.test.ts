import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { manualClock, systemClock } from '../../src/core/clock.ts'
import { encode } from '../../src/core/codec.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { holderTag } from '../../src/files/blobs.ts'
import { createFiles, type Files } from '../../src/files/files.ts'
import { AT, at, FETCH, fetch, SHARE, share, sharedOffer, stored } from '../../src/files/wire.ts'
import { type BlobNode, type BlobWorld, createBlobWorld, settle } from '../gossip-blobs/support.ts'

/** `kith send` of a file that others have already: fetched from all of them, into the same inbox. */
const SIZE = 6 * 1_048_576 + 77
let world: BlobWorld
let folder = ''
beforeEach(async () => {
  world = createBlobWorld()
  folder = await mkdtemp(join(tmpdir(), 'kith-shared-'))
})
afterEach(async () => {
  for (const { files } of people) await files.close()
  people.length = 0
  await world.close()
  await rm(folder, { recursive: true, force: true })
})

interface Person {
  readonly node: BlobNode
  readonly files: Files
  readonly store: Store
  readonly inbox: string
}
const people: Person[] = []

async function person(
  name: string,
  options: { quotaBytes?: number; node?: BlobNode; store?: Store; world?: Parameters<BlobWorld['node']>[1] } = {},
): Promise<Person> {
  const node = options.node ?? world.node(name, options.world)
  const store = options.store ?? createMemoryStore()
  const inbox = join(folder, name)
  const { quotaBytes } = options
  const files = await createFiles({
    mesh: node.fileMesh,
    policy: node.policy,
    blobs: node.blobs,
    store,
    clock: systemClock,
    logger: silentLogger,
    inbox,
    ...(quotaBytes === undefined ? {} : { quotaBytes }),
  })
  const made: Person = { node, files, store, inbox }
  people.push(made)
  return made
}

/** Alice has sent a file to Carol; Bob, linked with both, is next. */
async function scene(
  options: { bobQuota?: number; carol?: Parameters<BlobWorld['node']>[1] } = {},
): Promise<{ alice: Person; carol: Person; bob: Person; path: string; content: Buffer }> {
  const alice = await person('alice')
  const carol = await person('carol', options.carol === undefined ? {} : { world: options.carol })
  const bob = await person('bob', options.bobQuota === undefined ? {} : { quotaBytes: options.bobQuota })
  await Promise.all([world.link(alice.node, carol.node), world.link(alice.node, bob.node), world.link(carol.node, bob.node)])
  const content = randomBytes(SIZE)
  const path = join(folder, 'film.bin')
  await writeFile(path, content)
  const first = await alice.files.send(carol.node.did, { path })
  assert.equal(first.providers, 1)
  return { alice, carol, bob, path, content }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

test('a file another peer has already, comes from both and lies in the same inbox', async () => {
  const { alice, carol, bob, path, content } = await scene()
  const seen: number[] = []
  const result = await alice.files.send(bob.node.did, { path, onProgress: ({ bytes }) => seen.push(bytes) })
  assert.deepEqual([result.bytes, result.sha256, result.name, result.resumed, result.providers], [SIZE, sha256(content), 'film.bin', 0, 2])
  assert.deepEqual(await readFile(join(bob.inbox, 'film.bin')), content)
  assert.equal((await stat(join(bob.inbox, 'film.bin'))).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(join(bob.inbox, '.partial')), [])
  const [entry] = await bob.files.list()
  assert.deepEqual([entry?.from, entry?.sha256, entry?.bytes, entry?.here], [alice.node.did, sha256(content), SIZE, true])
  assert.equal(seen.at(-1), SIZE)
  assert.equal(carol.node.opened.size, 0)
  assert.deepEqual([...alice.node.violations, ...bob.node.violations, ...carol.node.violations], [])
})

test('the third who gets it, may fetch it from both before', async () => {
  const { alice, carol, bob, path, content } = await scene()
  await alice.files.send(bob.node.did, { path })
  const dave = await person('dave')
  await Promise.all([alice, bob, carol].map(({ node }) => world.link(dave.node, node)))
  const result = await alice.files.send(dave.node.did, { path })
  assert.equal(result.providers, 3)
  assert.deepEqual(await readFile(join(dave.inbox, 'film.bin')), content)
})

test('two who get it at the same time, both have it whole', async () => {
  const { alice, bob, content } = await scene()
  const dave = await person('dave')
  await Promise.all([world.link(dave.node, alice.node), world.link(dave.node, bob.node)])
  const other = join(folder, 'other.bin')
  await writeFile(other, content)
  const results = await Promise.all([bob, dave].map(({ node }) => alice.files.send(node.did, { path: other })))
  assert.ok(results.every(({ sha256: digest }) => digest === sha256(content)))
  assert.deepEqual(await readFile(join(bob.inbox, 'other.bin')), content)
  assert.deepEqual(await readFile(join(dave.inbox, 'other.bin')), content)
  assert.equal(dave.node.opened.get(bob.node.did) ?? bob.node.opened.get(dave.node.did), 1, 'one was told of the other')
})

test('a receiver that is not linked with the others, gets all of it from the sender and learns no name', async () => {
  const alice = await person('alice')
  const [carol, bob] = [await person('carol'), await person('bob')]
  await Promise.all([world.link(alice.node, carol.node), world.link(alice.node, bob.node)])
  const path = join(folder, 'film.bin')
  await writeFile(path, randomBytes(3_000_000))
  await alice.files.send(carol.node.did, { path })
  const result = await alice.files.send(bob.node.did, { path })
  assert.equal(result.providers, 1)
  assert.equal(bob.node.opened.size, 0, 'nothing was fetched')
})

test('the file changed since the others got it, they are not asked', async () => {
  const { alice, carol, bob, path } = await scene()
  const { mtime } = await stat(path)
  const other = randomBytes(SIZE)
  await writeFile(path, other)
  await utimes(path, mtime, mtime)
  const result = await alice.files.send(bob.node.did, { path })
  assert.deepEqual(await readFile(join(bob.inbox, result.name)), other)
  assert.equal(bob.node.opened.get(carol.node.did), undefined)
})

test('the other has taken the file out of its inbox, the sender gives all of it', async () => {
  const { alice, carol, bob, path, content } = await scene()
  await rm(join(carol.inbox, 'film.bin'))
  const result = await alice.files.send(bob.node.did, { path })
  assert.equal(result.providers, 1)
  assert.deepEqual(await readFile(join(bob.inbox, 'film.bin')), content)
})

test('the other has changed its copy, nothing of it arrives and nobody is blamed', async () => {
  const { alice, carol, bob, path, content } = await scene()
  const changed = Buffer.from(content)
  changed[SIZE - 1] = (changed[SIZE - 1] as number) ^ 1
  await writeFile(join(carol.inbox, 'film.bin'), changed)
  const result = await alice.files.send(bob.node.did, { path })
  assert.equal(result.providers, 1)
  assert.deepEqual(await readFile(join(bob.inbox, 'film.bin')), content)
  assert.deepEqual(bob.node.violations, [])
})

test('a receiver that does not take files, refuses before anything is hashed or fetched', async () => {
  const { alice, bob, path } = await scene()
  bob.node.acceptsFiles = false
  await assert.rejects(alice.files.send(bob.node.did, { path }), (error) => isKithError(error, 'FILE_DENIED'))
  assert.equal(bob.node.opened.size, 0)
})

test('no room in the inbox, the offer is refused before anything is fetched', async () => {
  const { alice, bob, path } = await scene({ bobQuota: SIZE - 1 })
  await assert.rejects(alice.files.send(bob.node.did, { path }), (error) => isKithError(error, 'FILE_QUOTA'))
  assert.equal(bob.node.opened.size, 0)
})

test('permission taken back in the middle, ends the transfer and keeps what was verified out of the inbox', async () => {
  const { alice, bob, path } = await scene()
  const sending = alice.files.send(bob.node.did, { path })
  bob.node.tap = (stream) => {
    bob.node.acceptsFiles = false
    return stream
  }
  await assert.rejects(sending, (error) => isKithError(error, 'FILE_DENIED'))
  assert.deepEqual(await bob.files.list(), [])
})

/** The sender is stopped once half of it is there. */
async function interrupted(alice: Person, bob: Person, path: string): Promise<void> {
  const stop = new AbortController()
  const { blobs } = bob.node
  const whole = blobs.fetch.bind(blobs)
  blobs.fetch = (ref, sink, options) => {
    const onProgress: typeof options.onProgress = (progress) => {
      options.onProgress?.(progress)
      if (progress.bytes > SIZE / 2) stop.abort()
    }
    return whole(ref, sink, { ...options, onProgress })
  }
  await assert.rejects(alice.files.send(bob.node.did, { path, resume: true, signal: stop.signal }), (error) => isKithError(error, 'ABORTED'))
  blobs.fetch = whole
}

test('cut by the sender in the middle and resumed, only the rest is fetched', async () => {
  const { alice, bob, path, content } = await scene()
  await interrupted(alice, bob, path)
  assert.deepEqual(await bob.files.list(), [])
  const result = await alice.files.send(bob.node.did, { path, resume: true })
  assert.ok(result.resumed > 0 && result.resumed < SIZE, `resumed ${result.resumed}`)
  assert.deepEqual(await readFile(join(bob.inbox, 'film.bin')), content)
})

test('the receiver is started anew in the middle, what it has on disk is used', async () => {
  const { alice, bob, path, content } = await scene()
  await interrupted(alice, bob, path)
  await bob.files.close()
  const again = await person('bob', { node: bob.node, store: bob.store })
  const result = await alice.files.send(bob.node.did, { path, resume: true })
  assert.ok(result.resumed > 0)
  assert.deepEqual(await readFile(join(again.inbox, 'film.bin')), content)
})

test('begun with several peers and resumed with the sender alone, the file is whole', async () => {
  const { alice, carol, bob, path, content } = await scene()
  await interrupted(alice, bob, path)
  const links = bob.node.blobs.linked
  bob.node.blobs.linked = () => links.call(bob.node.blobs).filter((peer) => peer !== carol.node.did)
  const result = await alice.files.send(bob.node.did, { path, resume: true })
  assert.equal(result.providers, 1)
  assert.deepEqual(await readFile(join(bob.inbox, 'film.bin')), content)
})

test('sent again without resume, nothing of before is used', async () => {
  const { alice, bob, path, content } = await scene()
  await interrupted(alice, bob, path)
  const result = await alice.files.send(bob.node.did, { path })
  assert.equal(result.resumed, 0)
  assert.deepEqual(await readFile(join(bob.inbox, 'film.bin')), content)
})

test('a stranger with the hashes of what two others exchanged, gets nothing from either', async () => {
  const { alice, carol, content } = await scene()
  const clock = manualClock()
  const mallory = await person('mallory', { world: { clock } })
  await Promise.all([world.link(mallory.node, alice.node), world.link(mallory.node, carol.node)])
  const source = { size: SIZE, read: async (target: Uint8Array, position: number) => target.set(content.subarray(position, position + target.length)) }
  const manifest = await mallory.node.blobs.describe(source)
  const grant = mallory.node.blobs.grant({ ...manifest, recipient: mallory.node.did, providers: [carol.node.did, alice.node.did] })
  for (const peer of [carol.node.did, alice.node.did]) {
    for (const shown of [grant, undefined]) {
      const sink = { read: async () => 0, write: async () => assert.fail('something came') }
      await assert.rejects(
        settle(clock, mallory.node.blobs.fetch(manifest, sink, { providers: [{ peer, grant: shown }] })),
        (error) => isKithError(error, 'BLOB_UNAVAILABLE') && isKithError(error.cause, 'BLOB_UNKNOWN'),
      )
    }
  }
})

// ---- the two forms on the wire, by hand

test('a receiver that fetches what was not offered as shared, is refused', async () => {
  const alice = await person('alice')
  const bob = world.node('bob')
  await world.link(alice.node, bob)
  bob.fileMesh.handle('', (stream) => {
    stream.on('error', () => {})
    stream.write(encode(fetch, { places: [] }))
  })
  const path = join(folder, 'x')
  await writeFile(path, 'content')
  await assert.rejects(alice.files.send(bob.did, { path }), (error) => isKithError(error, 'WIRE_MALFORMED'))
})

for (const [what, places] of [
  ['a holder that was not offered', [1]],
  ['a holder twice', [0, 0]],
] as const) {
  test(`a receiver that names ${what}, is refused`, async () => {
    const { alice, bob, path } = await scene()
    bob.node.fileMesh.handle('', (stream) => {
      stream.on('error', () => {})
      stream.write(encode(fetch, { places }))
    })
    await assert.rejects(alice.files.send(bob.node.did, { path }), (error) => isKithError(error, 'WIRE_MALFORMED'))
  })
}

test('a receiver that claims more than was offered, is refused', async () => {
  const { alice, bob, path } = await scene()
  bob.node.fileMesh.handle('', (stream) => {
    stream.on('error', () => {})
    stream.write(encode(fetch, { places: [0] }))
    stream.write(encode(at, { bytes: SIZE + 1, resumed: 0, peers: 1 }))
  })
  await assert.rejects(alice.files.send(bob.node.did, { path }), (error) => isKithError(error, 'WIRE_MALFORMED'))
})

test('a receiver that stored something else, is found out', async () => {
  const { alice, bob, path } = await scene()
  bob.node.fileMesh.handle('', (stream) => {
    stream.on('error', () => {})
    stream.resume()
    stream.write(encode(fetch, { places: [0] }))
    stream.write(encode(stored, { name: 'film.bin', digest: randomBytes(32) }))
  })
  await assert.rejects(alice.files.send(bob.node.did, { path }), (error) => isKithError(error, 'FILE_MISMATCH'))
})

/** A sender by hand: what it shows after the receiver wants to fetch. */
async function shown(bytes: (scene: { alice: Person; carol: Person; bob: Person }) => Uint8Array): Promise<string> {
  const { alice, carol, bob } = await scene()
  const stream = await alice.node.fileMesh.open(bob.node.did, '', {})
  const fingerprint = randomBytes(32)
  const refused = new Promise<string>((resolve) => stream.on('error', (error) => resolve(isKithError(error) ? error.code : String(error))))
  stream.write(encode(sharedOffer, { name: 'lie', size: SIZE, fingerprint, resume: false, holders: [holderTag(fingerprint, carol.node.did)] }))
  stream.once('data', (data: Buffer) => {
    assert.equal(data[0], FETCH)
    stream.write(bytes({ alice, carol, bob }))
  })
  const code = await refused
  assert.deepEqual(await bob.files.list(), [])
  return code
}

test('a sender whose grant is for somebody else, is refused', async () => {
  const code = await shown(({ alice, carol }) => {
    const [root, digest] = [randomBytes(32), randomBytes(32)]
    const grant = alice.node.blobs.grant({ root, size: SIZE, sha256: digest, recipient: carol.node.did, providers: [] })
    return encode(share, { root, sha256: digest, grant })
  })
  assert.equal(code, 'BLOB_GRANT_INVALID')
})

test('a sender that shows no grant at all, is refused', async () => {
  assert.equal(await shown(() => Buffer.concat([Uint8Array.of(SHARE), randomBytes(64), Uint8Array.of(0xff, 0x7f)])), 'WIRE_MALFORMED')
})

test('a sender that says something else, is refused', async () => {
  assert.equal(await shown(() => Uint8Array.of(AT)), 'WIRE_MALFORMED')
})

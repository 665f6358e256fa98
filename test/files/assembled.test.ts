import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { createAssembly } from '../../src/assembly/assembly.ts'
import type { Assembly } from '../../src/assembly/types.ts'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createFiles, type Files } from '../../src/files/files.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../src/transport/memory.ts'
import { NOW, testDevice, testIdentity } from '../mesh/fixtures.ts'

/** Whole nodes: real links, real grants, real policy. */
const SIZE = 5 * 1_048_576 + 3
const TIMEOUT = { timeout: 60_000 }
const clock: Clock = {
  now: () => NOW + Math.floor(systemClock.monotonic()),
  monotonic: () => systemClock.monotonic(),
  after: (ms, run, options) => systemClock.after(ms, run, options),
}
let folder = ''
let network = createMemoryNetwork()
const people: Person[] = []
beforeEach(async () => {
  network = createMemoryNetwork()
  folder = await mkdtemp(join(tmpdir(), 'kith-assembled-'))
})
afterEach(async () => {
  for (const { files } of people) await files.close()
  await Promise.all(people.map(({ assembly }) => assembly.close()))
  people.length = 0
  await rm(folder, { recursive: true, force: true })
})

interface Person {
  readonly name: string
  readonly assembly: Assembly
  readonly files: Files
}

async function person(name: string): Promise<Person> {
  const device = testDevice(testIdentity(name), name)
  const store = createMemoryStore()
  const transports = [createMemoryTransport({ network, signer: device.linkSigner, random: systemRandom, clock, name })]
  const assembly = await createAssembly({ device, store, transports, clock, random: systemRandom, logger: silentLogger, interfaces: () => [] })
  await assembly.mesh.listen(`memory://${name}`)
  await assembly.start()
  const { mesh, blobs } = assembly
  const files = await createFiles({ mesh, policy: mesh.policy, blobs, store, clock, logger: silentLogger, inbox: join(folder, name) })
  const made = { name, assembly, files }
  people.push(made)
  return made
}

/** They know each other, accept each other's files, and are linked. */
async function introduce(a: Person, b: Person): Promise<void> {
  const link = async (near: Person, far: Person): Promise<void> => {
    await near.assembly.mesh.book.add(far.assembly.mesh.did, { name: far.name, urls: [`memory://${far.name}`], class: 'known' })
    await near.assembly.mesh.policy.allow(far.assembly.mesh.did, 'file')
  }
  await link(a, b)
  await link(b, a)
  await a.assembly.mesh.dial(b.name)
  await b.assembly.mesh.ping(a.name)
}

test('a file sent to one peer and then to another, comes to the second from both', TIMEOUT, async () => {
  const [ann, ben, cem] = [await person('ann'), await person('ben'), await person('cem')]
  await introduce(ann, ben)
  await introduce(ann, cem)
  await introduce(ben, cem)
  const content = randomBytes(SIZE)
  const path = join(folder, 'film.bin')
  await writeFile(path, content)
  const first = await ann.files.send(ben.assembly.mesh.did, { path })
  assert.equal(first.providers, 1)
  const second = await ann.files.send(cem.assembly.mesh.did, { path })
  assert.equal(second.providers, 2)
  assert.deepEqual(await readFile(join(cem.files.inbox, 'film.bin')), content)
})

test('a holder whose owner denies the protocol to the recipient, gives nothing and the sender gives all', TIMEOUT, async () => {
  const [ann, ben, cem] = [await person('ann'), await person('ben'), await person('cem')]
  await introduce(ann, ben)
  await introduce(ann, cem)
  await introduce(ben, cem)
  await ben.assembly.mesh.policy.deny(cem.assembly.mesh.did, 'open', 'icn/blob/1')
  const path = join(folder, 'film.bin')
  await writeFile(path, randomBytes(SIZE))
  await ann.files.send(ben.assembly.mesh.did, { path })
  assert.equal((await ann.files.send(cem.assembly.mesh.did, { path })).providers, 1)
})

test('a grant changed by whoever shows it, opens nothing and is charged to the one that showed it', TIMEOUT, async () => {
  const [ann, ben, mal] = [await person('ann'), await person('ben'), await person('mal')]
  await introduce(ann, ben)
  await introduce(ben, mal)
  const content = randomBytes(100_000)
  const path = join(folder, 'film.bin')
  await writeFile(path, content)
  await ann.files.send(ben.assembly.mesh.did, { path })
  const source = {
    size: content.length,
    read: async (target: Uint8Array, position: number) => target.set(content.subarray(position, position + target.length)),
  }
  const manifest = await mal.assembly.blobs.describe(source)
  const grant = ann.assembly.blobs.grant({ ...manifest, recipient: ann.assembly.mesh.did, providers: [ben.assembly.mesh.did] })
  const sink = { read: async () => 0, write: async () => assert.fail('something came') }
  const fetched = (shown: Uint8Array): Promise<unknown> => {
    const stop = new AbortController()
    const timer = systemClock.after(500, () => stop.abort())
    return mal.assembly.blobs
      .fetch(manifest, sink, { providers: [{ peer: ben.assembly.mesh.did, grant: shown }], signal: stop.signal })
      .finally(() => timer.cancel())
  }
  await assert.rejects(fetched(grant), (error) => isKithError(error, 'ABORTED'))
  assert.deepEqual(violations(ben), [], 'a grant for somebody else is no violation')
  const changed = Buffer.from(grant)
  changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1
  await assert.rejects(fetched(changed), (error) => isKithError(error))
  assert.deepEqual(new Set(violations(ben)), new Set(['mal invalid-signature']), 'whoever shows one has checked it')
})

/** What a node holds against whom. */
function violations({ assembly }: Person): readonly string[] {
  return assembly.trust.standings().flatMap(({ did, violations: all }) => all.map(({ kind }) => `${assembly.mesh.book.get(did)?.name} ${kind}`))
}

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { encode } from '../../src/core/codec.ts'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createFiles, type Files, type FilesOptions } from '../../src/files/files.ts'
import { begin, CHUNK_BYTES, chunkHeader, offer, resume } from '../../src/files/wire.ts'
import type { Did } from '../../src/identity/did.ts'
import type { Policy, StreamHandler } from '../../src/mesh/types.ts'
import { type ConnectedPair, connectedPair } from '../support/links.ts'
import { ONE_OF_EACH } from '../support/policy.ts'

const ALICE = 'did:icn:alice' as Did
const BOB = 'did:icn:bob' as Did

let folder = ''
let links: ConnectedPair
beforeEach(async () => {
  links = await connectedPair()
  folder = await mkdtemp(join(tmpdir(), 'kith-files-'))
})
afterEach(async () => {
  await links.close()
  await rm(folder, { recursive: true, force: true })
})

function policy(allowed: boolean): Policy {
  return {
    decide: () => ({ allowed, rule: 'test', next: '' }),
    constraints: () => ONE_OF_EACH,
    classOf: () => 'known',
    scoreOf: () => 1_000,
  }
}

/** Alice sends, Bob receives, over a real link. */
async function pair(options: Partial<FilesOptions> & { allowed?: boolean } = {}): Promise<{ alice: Files; bob: Files }> {
  const base = { clock: systemClock, logger: silentLogger, policy: policy(options.allowed ?? true), ...options }
  const bob = await createFiles({ ...base, store: createMemoryStore(), inbox: join(folder, 'bob'), mesh: receiving(BOB) })
  const mesh = { did: ALICE, handle: () => {}, open: async () => (await links.near.open()).toDuplex() }
  const alice = await createFiles({ ...base, store: createMemoryStore(), inbox: join(folder, 'alice'), mesh })
  return { alice, bob }
}

/** The far end of the link as a mesh: every stream goes to the one handler. */
function receiving(did: Did): FilesOptions['mesh'] {
  return {
    did,
    open: () => Promise.reject(new TypeError('not used')),
    handle: (_protocol, handler) => {
      links.far.onStream = (stream) => void handler(stream.toDuplex(), { peer: ALICE, signal: new AbortController().signal } as Parameters<StreamHandler>[1])
    },
  }
}

async function file(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, bytes)
  return path
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

for (const size of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17]) {
  test(`a file of ${size} bytes arrives whole and is listed`, async () => {
    const { alice, bob } = await pair()
    const content = randomBytes(size)
    const progress: number[] = []
    const result = await alice.send(BOB, { path: await file('report.bin', content), onProgress: ({ bytes }) => progress.push(bytes) })
    assert.deepEqual([result.bytes, result.sha256, result.name, result.resumed], [size, sha256(content), 'report.bin', 0])
    assert.deepEqual(await readFile(join(bob.inbox, 'report.bin')), content)
    assert.equal((await stat(join(bob.inbox, 'report.bin'))).mode & 0o777, 0o600)
    assert.equal(progress.at(-1), size)
    const [entry] = await bob.list()
    assert.deepEqual([entry?.name, entry?.from, entry?.bytes, entry?.sha256], ['report.bin', ALICE, size, sha256(content)])
    assert.deepEqual(await readdir(join(bob.inbox, '.partial')), [])
  })
}

test('a name that is taken, nothing is overwritten', async () => {
  const { alice, bob } = await pair()
  const path = await file('notes.txt', Buffer.from('one'))
  await alice.send(BOB, { path })
  await writeFile(path, 'two')
  assert.equal((await alice.send(BOB, { path })).name, 'notes (1).txt')
  assert.equal(await readFile(join(bob.inbox, 'notes.txt'), 'utf8'), 'one')
  assert.equal(await readFile(join(bob.inbox, 'notes (1).txt'), 'utf8'), 'two')
})

test('a peer without permission is refused, told the command, and stores nothing', async () => {
  const { alice, bob } = await pair({ allowed: false })
  const path = await file('secret.txt', Buffer.from('x'))
  await assert.rejects(
    alice.send(BOB, { path }),
    (error) => isKithError(error, 'FILE_DENIED') && error.next === `on the other machine: kith allow ${ALICE} file`,
  )
  assert.deepEqual(await bob.list(), [])
  assert.deepEqual(await readdir(join(bob.inbox, '.partial')), [])
})

test('a file beyond the quota is refused before a byte is stored', async () => {
  const { alice } = await pair({ quotaBytes: 1_000 })
  await assert.rejects(alice.send(BOB, { path: await file('big.bin', randomBytes(1_001)) }), (error) => isKithError(error, 'FILE_QUOTA'))
})

test('a name the other side cannot store safely is refused by the sender', async () => {
  const { alice } = await pair()
  await assert.rejects(alice.send(BOB, { path: await file('.bashrc', Buffer.from('x')) }), (error) => isKithError(error, 'FILE_NAME'))
})

test('what is not a regular file cannot be sent', async () => {
  const { alice } = await pair()
  await assert.rejects(alice.send(BOB, { path: folder }), (error) => isKithError(error, 'FILE_MISSING'))
  await assert.rejects(alice.send(BOB, { path: join(folder, 'absent') }), (error) => isKithError(error, 'FILE_MISSING'))
})

test('an interrupted transfer resumed goes on behind the verified part', async () => {
  const content = randomBytes(5 * CHUNK_BYTES + 99)
  const path = await file('large.bin', content)
  let cut = true
  const { alice, bob } = await pair()
  await assert.rejects(
    alice.send(BOB, {
      path,
      signal: cutOff.signal,
      onProgress: ({ bytes }) => {
        if (cut && bytes >= 4 * CHUNK_BYTES) {
          cut = false
          cutOff.abort()
        }
      },
    }),
    (error) => isKithError(error, 'ABORTED'),
  )
  assert.equal((await readdir(join(bob.inbox, '.partial'))).length, 1)
  const result = await alice.send(BOB, { path, resume: true })
  assert.ok(result.resumed >= CHUNK_BYTES && result.resumed % CHUNK_BYTES === 0, `resumed ${result.resumed}`)
  assert.equal(result.sha256, sha256(content))
  assert.deepEqual(await readFile(join(bob.inbox, 'large.bin')), content)
})
const cutOff = new AbortController()

test('what was left behind is damaged, the transfer starts over and still verifies', async () => {
  const content = randomBytes(2 * CHUNK_BYTES)
  const path = await file('large.bin', content)
  const stop = new AbortController()
  const { alice, bob } = await pair()
  await assert.rejects(alice.send(BOB, { path, signal: stop.signal, onProgress: ({ bytes }) => bytes > CHUNK_BYTES && stop.abort() }))
  const [name] = await readdir(join(bob.inbox, '.partial'))
  await writeFile(join(bob.inbox, '.partial', name as string), randomBytes(CHUNK_BYTES))
  const result = await alice.send(BOB, { path, resume: true })
  assert.equal(result.resumed, 0)
  assert.deepEqual(await readFile(join(bob.inbox, 'large.bin')), content)
})

test('the file changed since the interrupted attempt, nothing of the old is used', async () => {
  const path = await file('large.bin', randomBytes(2 * CHUNK_BYTES))
  const stop = new AbortController()
  const { alice, bob } = await pair()
  await assert.rejects(alice.send(BOB, { path, signal: stop.signal, onProgress: ({ bytes }) => bytes > CHUNK_BYTES && stop.abort() }))
  const content = randomBytes(2 * CHUNK_BYTES)
  await writeFile(path, content)
  await utimes(path, 1, 1)
  assert.equal((await alice.send(BOB, { path, resume: true })).resumed, 0)
  assert.deepEqual(await readFile(join(bob.inbox, 'large.bin')), content)
})

const LIES: readonly (readonly [string, KithError['code'], (stream: Duplex) => void])[] = [
  ['a chunk that does not match its digest', 'FILE_MISMATCH', (stream) => sendChunk(stream, randomBytes(10), new Uint8Array(32))],
  ['a chunk of the wrong length', 'WIRE_MALFORMED', (stream) => stream.write(encode(chunkHeader, { length: 11, digest: new Uint8Array(32) }))],
  ['a chunk larger than any', 'WIRE_MALFORMED', (stream) => stream.write(encode(chunkHeader, { length: 2 ** 32 - 1, digest: new Uint8Array(32) }))],
  ['an end before the file is whole', 'FILE_MISMATCH', (stream) => stream.write(Buffer.concat([Uint8Array.of(5), new Uint8Array(32)]))],
  ['an unknown frame', 'WIRE_MALFORMED', (stream) => stream.write(Uint8Array.of(0x7f))],
]
for (const [what, code, lie] of LIES) {
  test(`a sender that sends ${what} is refused with ${code} and nothing is stored`, async () => {
    const { bob, refusal } = await lyingSender((stream) => {
      stream.write(encode(begin, { from: 0 }))
      lie(stream)
    })
    assert.equal((await refusal).code, code)
    assert.deepEqual(await bob.list(), [])
  })
}

for (const name of ['../escape', 'a/b', '', 'nul', 'x\u0000y', '.hidden', 'evil\u202etxt.exe', 'dot.']) {
  test(`a sender that offers the name ${JSON.stringify(name)} is refused`, async () => {
    const { refusal } = await lyingSender(() => {}, name)
    assert.equal((await refusal).code, 'FILE_NAME')
  })
}

function sendChunk(stream: Duplex, data: Uint8Array, digest: Uint8Array): void {
  stream.write(encode(chunkHeader, { length: data.length, digest }))
  stream.write(data)
}

/** A hand-made sender of a 10-byte file against Bob's real receiver; the refusal as it reaches the sender. */
async function lyingSender(lie: (stream: Duplex) => void, name = 'lie.bin'): Promise<{ bob: Files; refusal: Promise<KithError> }> {
  const options = { clock: systemClock, logger: silentLogger, policy: policy(true), store: createMemoryStore(), inbox: join(folder, 'bob') }
  const bob = await createFiles({ ...options, mesh: receiving(BOB) })
  const stream = (await links.near.open()).toDuplex()
  const refusal = new Promise<KithError>((resolve) => stream.on('error', (error) => isKithError(error) && resolve(error)))
  stream.write(encode(offer, { name, size: 10, fingerprint: new Uint8Array(32), resume: false }))
  let answered = 0
  stream.on('data', (data: Buffer) => {
    answered += data.length
    if (answered === resume.max) lie(stream)
  })
  return { bob, refusal }
}

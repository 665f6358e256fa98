import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { link, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { encode } from '../../src/core/codec.ts'
import { hashLabeled } from '../../src/core/crypto/labels.ts'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createFiles, type Files } from '../../src/files/files.ts'
import { checkName } from '../../src/files/names.ts'
import { partialName } from '../../src/files/receive.ts'
import { CHUNK_BYTES, offer } from '../../src/files/wire.ts'
import type { Did } from '../../src/identity/did.ts'
import type { Policy, StreamHandler } from '../../src/mesh/types.ts'
import { type ConnectedPair, connectedPair } from '../support/links.ts'
import { ONE_OF_EACH } from '../support/policy.ts'

/** Peers that may send files send more, elsewhere or under other names than the owner meant. */
const ME = 'did:icn:me' as Did
const BOB = 'did:icn:bob' as Did
const MALLORY = 'did:icn:mallory' as Did
const POLICY: Policy = {
  decide: () => ({ allowed: true, rule: 'test', next: '' }),
  constraints: () => ONE_OF_EACH,
  classOf: () => 'known',
  scoreOf: () => 1_000,
}
/** Where a claimed version of a file is looked for. */
const FINGERPRINT = new Uint8Array(32).fill(3)

let folder = ''
let links: ConnectedPair
/** Whom the receiver takes the other end for. */
let sender = MALLORY
beforeEach(async () => {
  links = await connectedPair()
  folder = await mkdtemp(join(tmpdir(), 'kith-attack-files-'))
  sender = MALLORY
})
afterEach(async () => {
  await links.close()
  await rm(folder, { recursive: true, force: true })
})

const inbox = (): string => join(folder, 'inbox')
const planted = (): string => join(inbox(), '.partial', partialName(MALLORY, FINGERPRINT))

async function receiver(quotaBytes: number): Promise<{ files: Files; from: Files }> {
  const base = { clock: systemClock, logger: silentLogger, policy: POLICY, quotaBytes }
  const files = await createFiles({
    ...base,
    store: createMemoryStore(),
    inbox: inbox(),
    mesh: {
      did: ME,
      open: () => Promise.reject(new TypeError('not used')),
      handle: (_protocol, handler) => {
        links.far.onStream = (stream) => void handler(stream.toDuplex(), { peer: sender, signal: new AbortController().signal } as Parameters<StreamHandler>[1])
      },
    },
  })
  const from = await createFiles({
    ...base,
    store: createMemoryStore(),
    inbox: join(folder, 'sender'),
    mesh: { did: MALLORY, handle: () => {}, open: async () => (await links.near.open()).toDuplex() },
  })
  return { files, from }
}

async function file(name: string, content: Uint8Array): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}

async function stored(): Promise<number> {
  let bytes = 0
  for (const place of [inbox(), join(inbox(), '.partial')])
    for (const entry of await readdir(place, { withFileTypes: true })) if (entry.isFile()) bytes += (await stat(join(place, entry.name))).size
  return bytes
}

/** Offers by hand and gives what the receiver answers: its first byte, or the refusal. */
async function offered(what: { name: string; size: number; resume?: boolean; fingerprint?: Uint8Array }): Promise<number | KithError> {
  const stream = (await links.near.open()).toDuplex()
  const answer = new Promise<number | KithError>((resolve) => {
    stream.once('data', (data: Buffer) => resolve(data.readUIntBE(1, 6) * 65_536 + data.readUInt16BE(7)))
    stream.on('error', (error) => resolve(error as KithError))
  })
  stream.write(encode(offer, { name: what.name, size: what.size, fingerprint: what.fingerprint ?? FINGERPRINT, resume: what.resume ?? false }))
  const result = await answer
  stream.destroy()
  return result
}

test('several offers at the same moment, together stay within the quota', async () => {
  const { from } = await receiver(3 * CHUNK_BYTES)
  const paths = await Promise.all([1, 2, 3, 4].map((n) => file(`part${n}.bin`, randomBytes(2 * CHUNK_BYTES))))
  const results = await Promise.allSettled(paths.map((path) => from.send(ME, { path })))
  assert.deepEqual(
    results.flatMap((result) => (result.status === 'rejected' && isKithError(result.reason) ? [result.reason.code] : [])),
    ['FILE_QUOTA', 'FILE_QUOTA', 'FILE_QUOTA'],
  )
  assert.ok((await stored()) <= 3 * CHUNK_BYTES)
})

test('a transfer under way is counted once, so the rest of the quota stays for others', async () => {
  const { from } = await receiver(5 * CHUNK_BYTES)
  const [large, small] = [await file('large.bin', randomBytes(3 * CHUNK_BYTES)), await file('small.bin', randomBytes(CHUNK_BYTES))]
  let sentMeanwhile: Promise<unknown> | undefined
  await from.send(ME, {
    path: large,
    onProgress: ({ bytes }) => {
      if (bytes >= 2 * CHUNK_BYTES) sentMeanwhile ??= from.send(ME, { path: small })
    },
  })
  await sentMeanwhile
  assert.equal(await stored(), 4 * CHUNK_BYTES)
})

test('empty and tiny files, take from the quota too', async () => {
  const { from } = await receiver(0)
  await assert.rejects(from.send(ME, { path: await file('empty', new Uint8Array(0)) }), (error) => isKithError(error, 'FILE_QUOTA'))
  assert.deepEqual(await readdir(inbox()), ['.partial'])
  assert.deepEqual(await readdir(join(inbox(), '.partial')), [])
})

test('many tiny files, end where the quota in blocks ends', async () => {
  const { from } = await receiver(5 * 4_096)
  let refusal: KithError['code'] | undefined
  let sent = 0
  while (refusal === undefined && sent < 10) {
    await from.send(ME, { path: await file(`tiny${sent}`, Uint8Array.of(1)) }).then(
      () => sent++,
      (error: KithError) => {
        refusal = error.code
      },
    )
  }
  assert.deepEqual([refusal, sent], ['FILE_QUOTA', 5])
})

test('sizes that nothing could hold, are refused before a byte is stored', async () => {
  await receiver(2 ** 50)
  for (const size of [2 ** 49, 2 ** 50, 2 ** 53 - 1]) {
    const refused = await offered({ name: 'huge', size })
    assert.ok(isKithError(refused, 'FILE_QUOTA'), String(size))
  }
  assert.deepEqual(await readdir(join(inbox(), '.partial')), [])
})

test('a finished file that is still linked as unfinished, is not written to by the next attempt', async () => {
  // What a kill between the file's new name and the removal of its old one leaves behind.
  const { from } = await receiver(100 * CHUNK_BYTES)
  const content = randomBytes(2 * CHUNK_BYTES)
  const path = await file('diary.txt', content)
  await utimes(path, 1, 1)
  const { mtimeNs } = await stat(path, { bigint: true })
  const fingerprint = hashLabeled('icn/file-fingerprint/v1', utf8('diary.txt'), utf8(`\0${content.length}\0${mtimeNs}`))
  const finished = join(inbox(), 'diary.txt')
  await writeFile(finished, content)
  await link(finished, join(inbox(), '.partial', partialName(MALLORY, fingerprint)))
  // The same fingerprint, other bytes: the sender chooses it freely.
  await writeFile(path, randomBytes(2 * CHUNK_BYTES))
  await utimes(path, 1, 1)
  for (const resume of [false, true]) await from.send(ME, { path, resume })
  assert.ok((await readFile(finished)).equals(content), 'the finished file was changed')
})

test('links planted where an unfinished file is expected, are neither followed nor written through', async () => {
  const { from } = await receiver(100 * CHUNK_BYTES)
  const victim = await file('victim', Buffer.alloc(CHUNK_BYTES, 'v'))
  const before = await readFile(victim)
  const plant: readonly (() => Promise<void>)[] = [() => link(victim, planted()), () => symlink(victim, planted()), () => symlink(folder, planted())]
  for (const one of plant) {
    await rm(planted(), { force: true, recursive: true })
    await one()
    for (const resume of [false, true]) {
      const answer = await offered({ name: 'x.bin', size: 4 * CHUNK_BYTES, resume })
      // Either refused or nothing of the victim is taken for a verified part.
      if (typeof answer === 'number') assert.equal(answer, 0)
    }
    assert.ok((await readFile(victim)).equals(before), 'the file behind the link was changed')
  }
  assert.equal((await from.send(ME, { path: victim })).name, 'victim')
})

test('a file that another peer left unfinished, is not offered to this one', async () => {
  const { files } = await receiver(100 * CHUNK_BYTES)
  await writeFile(join(inbox(), '.partial', partialName(BOB, FINGERPRINT)), randomBytes(2 * CHUNK_BYTES))
  assert.equal(await offered({ name: 'x.bin', size: 4 * CHUNK_BYTES, resume: true }), 0)
  sender = BOB
  assert.equal(await offered({ name: 'x.bin', size: 4 * CHUNK_BYTES, resume: true }), 2 * CHUNK_BYTES)
  assert.deepEqual(await files.list(), [])
})

test('things in the directory of unfinished files that are none, do not keep the inbox from opening', async () => {
  await mkdir(join(inbox(), '.partial', 'directory.part'), { recursive: true, mode: 0o700 })
  await symlink('/nonexistent/target', join(inbox(), '.partial', 'dangling.part'))
  const { from } = await receiver(100 * CHUNK_BYTES)
  assert.equal((await from.send(ME, { path: await file('fine.txt', Buffer.from('x')) })).name, 'fine.txt')
})

test('names that mislead eyes, shells or other systems, are refused', () => {
  const names = [
    '-rf',
    '--help.txt',
    ' leading.txt',
    'in\u200bvoice.pdf',
    'in\u2060voice.pdf',
    'in\u00advoice.pdf',
    '\ufeffreport.txt',
    'gpj\u061c.exe',
    'line\u2028break.txt',
    'para\u2029graph.txt',
    'tag\u{e0041}.txt',
    'note\u2066.txt',
    'isolate\u202dtxt.exe',
    'esc\u001b[2J',
    'csi\u009b2J',
    'CON',
    'com1.txt',
    'COM\u00b9.txt',
    'lpt\u00b3',
    'conin$',
    'CONOUT$.log',
    'stream:hidden',
    '..',
    '.partial',
    'a\\b',
    '/etc/passwd',
    'trailing ',
    'trailing.',
    'e\u0301 decomposed',
    'x'.repeat(241),
  ]
  for (const name of names)
    assert.throws(
      () => checkName(name),
      (error) => isKithError(error, 'FILE_NAME'),
      JSON.stringify(name),
    )
  // Joiners belong to scripts and to families.
  for (const name of ['نامه\u200cها.txt', '👨‍👩‍👧.jpg', 'a-b.txt', 'com.txt', 'x²']) assert.equal(checkName(name), name)
})

test('a name as long as allowed, is stored, listed and numbered', async () => {
  const { files, from } = await receiver(100 * CHUNK_BYTES)
  const name = `${'n'.repeat(236)}.txt`
  const path = await file(name, Buffer.from('x'))
  assert.equal((await from.send(ME, { path })).name, name)
  assert.equal((await from.send(ME, { path })).name, `${'n'.repeat(236)} (1).txt`)
  assert.equal((await files.list()).length, 2)
  assert.equal((await files.list())[0]?.sha256, createHash('sha256').update('x').digest('hex'))
})

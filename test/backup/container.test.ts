import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { concat } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom, systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { ScryptIdentity, ScryptRecipient } from '../../src/identity/age-scrypt.ts'
import { formatRecipient, parseKeyFile, parseRecipient } from '../../src/vault/bech32.ts'
import { generatePhrase, parsePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { type ContainerFile, type ReadContainer, readContainer, writeContainer } from '../../src/vault/container.ts'
import type { ContainerRecipients } from '../../src/vault/container-header.ts'
import { deriveBackupKey, recipientOf, X25519Identity, X25519Recipient } from '../../src/vault/container-recipients.ts'
import { openSmall, sealSmall } from '../../src/vault/container-small.ts'
import { CHUNK_BYTES, openStream, SealingStream } from '../../src/vault/container-stream.ts'
import { deriveEd25519 } from '../../src/vault/slip10.ts'
import { secret, sourceOf, toKey } from './support.ts'

const SEALED = CHUNK_BYTES + 16
const KEY = Secret.random(32, seededRandom('backup key'))
const IDENTITY = new X25519Identity(KEY)

interface Given {
  readonly name: string
  readonly bytes: Uint8Array
}

async function pack(
  files: readonly Given[],
  recipients: ContainerRecipients = toKey(KEY),
  header: Record<string, unknown> = { about: 'a test' },
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  async function* all(): AsyncGenerator<ContainerFile> {
    for (const { name, bytes } of files) yield { name, size: bytes.length, mtime: 1, content: () => sourceOf(bytes, 7_001) }
  }
  await writeContainer({
    ...recipients,
    sink: async (bytes) => void parts.push(Uint8Array.from(bytes)),
    header,
    files: all(),
    mtime: 1,
    seal: async () => ({ by: 'a test' }),
  })
  return concat(...parts)
}

async function unpack(container: Uint8Array, piece?: number): Promise<ReadContainer & { readonly contents: ReadonlyMap<string, Buffer> }> {
  const contents = new Map<string, Buffer>()
  const read = await readContainer({
    source: sourceOf(container, piece),
    identities: [IDENTITY],
    onHeader: async () => {},
    async onFile(file) {
      const parts: Buffer[] = []
      for await (const bytes of file.content()) parts.push(Buffer.from(bytes))
      contents.set(file.name, Buffer.concat(parts))
    },
  })
  return { ...read, contents }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'accepted'
  } catch (error) {
    if (!isKithError(error)) throw error
    assert.equal(typeof error.next, 'string', `${error.code} names no next step`)
    return error.code
  }
}

/** Seals an archive that some other program, or an attacker who knows the recipient, put together. */
async function sealRaw(archive: Uint8Array): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  const stream = await SealingStream.create(toKey(KEY), async (bytes) => void parts.push(Uint8Array.from(bytes)))
  await stream.write(archive)
  await stream.close()
  return concat(...parts)
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'kith-container-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function missing(): string | false {
  try {
    for (const tool of ['age', 'age-keygen', 'tar']) execFileSync(tool, [tool === 'age-keygen' ? '-version' : '--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'needs age and tar'
  }
}

const headerLength = (container: Uint8Array): number => {
  const bytes = Buffer.from(container)
  return bytes.indexOf('\n', bytes.indexOf('\n--- ') + 1) + 1 + 16
}

test('containers of any files, read in pieces of any size, give every byte back', async () => {
  const sizes = fc.oneof(fc.nat(2_000), fc.constantFrom(0, 511, 512, 513, CHUNK_BYTES - 1024, CHUNK_BYTES, 3 * CHUNK_BYTES, 17 * CHUNK_BYTES + 1))
  await fc.assert(
    fc.asyncProperty(fc.array(sizes, { maxLength: 5 }), fc.integer({ min: 1, max: 200_000 }), async (lengths, piece) => {
      const random = seededRandom(String(lengths))
      const files = lengths.map((length, at) => ({ name: `folder/file ${at}`, bytes: random.bytes(length) }))
      const read = await unpack(await pack(files), Math.max(piece, 50))
      assert.deepEqual(
        [...read.contents].map(([name, bytes]) => [name, bytes.length]),
        files.map(({ name, bytes }) => [name, bytes.length]),
      )
      for (const { name, bytes } of files) assert.ok(read.contents.get(name)?.equals(bytes))
    }),
    { numRuns: 40 },
  )
})

test('a container, opened with the age tool and listed with tar, is what was put in', { skip: missing() }, async (t) => {
  const base = folder(t)
  execFileSync('age-keygen', ['-o', join(base, 'key')], { stdio: 'ignore' })
  const recipient = execFileSync('age-keygen', ['-y', join(base, 'key')], { encoding: 'utf8' }).trim()
  assert.equal(formatRecipient(parseRecipient(recipient)), recipient)
  const long = `inbox/${'ä'.repeat(120)}.txt`
  const files = [
    { name: 'config.toml', bytes: Buffer.from('listen = []\n') },
    { name: long, bytes: seededRandom('long').bytes(200_000) },
    { name: 'empty', bytes: Buffer.alloc(0) },
  ]
  const recipients = {
    recipients: [KEY, ...parseKeyFile(readFileSync(join(base, 'key')))].map((key) => new X25519Recipient(recipientOf(key), systemRandom)),
    random: systemRandom,
  }
  writeFileSync(join(base, 'backup.age'), await pack(files, recipients))
  execFileSync('sh', ['-c', 'age -d -i key backup.age > plain.tar && tar xf plain.tar'], { cwd: base })
  for (const { name, bytes } of files) assert.ok(readFileSync(join(base, name)).equals(bytes), name)
  const listed = execFileSync('tar', ['tf', 'plain.tar', '--quoting-style=literal'], { cwd: base, encoding: 'utf8' }).trim().split('\n')
  assert.deepEqual(listed, ['kith-backup.json', ...files.map(({ name }) => name), 'kith-manifest.json'])
  const manifest = JSON.parse(readFileSync(join(base, 'kith-manifest.json'), 'utf8')) as { files: { name: string; sha256: string }[] }
  for (const { name, sha256 } of manifest.files)
    assert.equal(
      createHash('sha256')
        .update(readFileSync(join(base, name)))
        .digest('hex'),
      sha256,
      name,
    )
})

test('files of the age tool, at every length round a chunk, open here', { skip: missing() }, async (t) => {
  const base = folder(t)
  const recipient = formatRecipient(recipientOf(KEY))
  for (const length of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 16 * CHUNK_BYTES, 17 * CHUNK_BYTES, 40 * CHUNK_BYTES + 3]) {
    const bytes = seededRandom(length).bytes(length)
    const sealed = execFileSync('age', ['-r', recipient], { input: bytes, maxBuffer: 1 << 26, cwd: base })
    const parts: Buffer[] = []
    for await (const piece of openStream({ source: sourceOf(sealed), identities: [IDENTITY] })) parts.push(Buffer.from(piece))
    assert.ok(Buffer.concat(parts).equals(bytes), `${length} bytes`)
  }
})

test('a container sealed with a passphrase, opens with it and with nothing else', async () => {
  const container = await pack([{ name: 'a', bytes: Buffer.from('b') }], {
    recipients: [new ScryptRecipient(secret('right'), 2, systemRandom)],
    passphrase: true,
    random: systemRandom,
  })
  const read = (passphrase: string): Promise<ReadContainer> =>
    readContainer({
      source: sourceOf(container),
      identities: [new ScryptIdentity(secret(passphrase))],
      onHeader: async () => {},
      async onFile(file) {
        for await (const _ of file.content());
      },
    })
  assert.equal((await read('right')).files.length, 1)
  assert.equal(await codeOf(read('wrong')), 'BACKUP_KEY_WRONG')
})

test('the backup key of a phrase, derived by SLIP-0010, is the key at its path; another phrase has another', () => {
  const seedOf = (words: string): Secret => phraseToSeed(parsePhrase(words))
  const seed = seedOf('abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about')
  assert.ok(deriveBackupKey(seed).equals(deriveEd25519(seed, "m/74'/2'/1'/0'")))
  assert.equal(formatRecipient(recipientOf(deriveBackupKey(seed))), EXPECTED_RECIPIENT)
  const other = phraseToSeed(generatePhrase(12, seededRandom('other')))
  assert.equal(deriveBackupKey(other).equals(deriveBackupKey(seed)), false)
})

/** Of the phrase "abandon … about": computed once, held since, so that no version ever derives another key for old backups. */
const EXPECTED_RECIPIENT = 'age148mxdc4n337x5elt2awkuxrz285y6p03a2lx0m4090vh70ry4g2qjra743'

test('a container cut anywhere, is refused as truncated, or as no backup when nothing of it is left', async () => {
  const container = await pack([{ name: 'a', bytes: seededRandom('cut').bytes(20 * CHUNK_BYTES) }])
  const head = headerLength(container)
  const cuts = new Set<number>([0, 1, 20, head - 17, head - 16, head - 1, head])
  for (let chunk = head; chunk < container.length; chunk += SEALED)
    for (const at of [chunk, chunk + 1, chunk + 15, chunk + 16, chunk + SEALED / 2, chunk + SEALED - 1]) cuts.add(Math.floor(at))
  for (const at of cuts) {
    if (at >= container.length) continue
    assert.equal(await codeOf(unpack(container.subarray(0, at))), 'BACKUP_TRUNCATED', `cut at ${at} of ${container.length}`)
  }
})

test('a container with a flipped bit anywhere, is refused', async () => {
  const container = await pack([{ name: 'a', bytes: Buffer.from('content') }])
  const head = headerLength(container)
  const seen = new Map<string, number>()
  for (let at = 0; at < container.length; at += at < head + 80 || at > container.length - 80 ? 1 : 211) {
    const flipped = Uint8Array.from(container)
    flipped[at] = (flipped[at] as number) ^ (1 << (at % 8))
    const code = await codeOf(unpack(flipped))
    const region = at < 22 ? 'BACKUP_INVALID' : 'BACKUP_DAMAGED'
    // A flip can undo the end of a header line or of the header itself; then what follows is not understood, or missing.
    assert.ok(code === region || (at < head && (code === 'BACKUP_TRUNCATED' || code === 'BACKUP_DAMAGED')), `${code} at ${at}, header of ${head}`)
    seen.set(code, (seen.get(code) ?? 0) + 1)
  }
  assert.ok((seen.get('BACKUP_DAMAGED') ?? 0) > 300)
})

test('chunks exchanged, repeated or left out, are damage', async () => {
  const container = await pack([{ name: 'a', bytes: seededRandom('order').bytes(6 * CHUNK_BYTES) }])
  const head = headerLength(container)
  const chunk = (n: number): Uint8Array => container.subarray(head + n * SEALED, head + (n + 1) * SEALED)
  const rest = container.subarray(head + 3 * SEALED)
  const start = container.subarray(0, head)
  assert.equal(await codeOf(unpack(concat(start, chunk(1), chunk(0), chunk(2), rest))), 'BACKUP_DAMAGED')
  assert.equal(await codeOf(unpack(concat(start, chunk(0), chunk(0), chunk(1), chunk(2), rest))), 'BACKUP_DAMAGED')
  assert.equal(await codeOf(unpack(concat(start, chunk(0), chunk(2), rest))), 'BACKUP_DAMAGED')
})

test('bytes behind the end, from one to a second container, are said to be that', async () => {
  const container = await pack([{ name: 'a', bytes: Buffer.from('content') }])
  for (const extra of [Buffer.from([0]), Buffer.alloc(15), Buffer.alloc(16), Buffer.alloc(SEALED), Buffer.alloc(5 * SEALED + 7), container]) {
    assert.equal(await codeOf(unpack(concat(container, extra))), 'BACKUP_TRAILING', `${extra.length} bytes more`)
  }
})

test('another key, a file of another program, an empty file, each have their code', async () => {
  const container = await pack([{ name: 'a', bytes: Buffer.from('content') }], toKey(Secret.random(32, seededRandom('another'))))
  assert.equal(await codeOf(unpack(container)), 'BACKUP_KEY_WRONG')
  assert.equal(await codeOf(unpack(Buffer.from('%PDF-1.7 not a backup of anything, but long enough to be one'))), 'BACKUP_INVALID')
  assert.equal(await codeOf(unpack(new Uint8Array(0))), 'BACKUP_TRUNCATED')
  assert.equal(await codeOf(unpack(await sealRaw(Buffer.from('an age file, and no archive in it')))), 'BACKUP_INVALID')
  assert.equal(await codeOf(unpack(await sealRaw(Buffer.alloc(0)))), 'BACKUP_INVALID')
  assert.equal(await codeOf(unpack(Buffer.from(`age-encryption.org/v1\n-> X25519 ${'A'.repeat(70_000)}\n`))), 'BACKUP_DAMAGED')
})

test('a container of a newer format, is told from a damaged one and names both versions', async () => {
  const container = await pack([], toKey(KEY), { format: 2 })
  await assert.rejects(unpack(container), (error) => isKithError(error, 'BACKUP_UNSUPPORTED') && error.details.format === 2 && error.details.known === 1)
})

test('archives of other hands, with links, devices, ways out or two files of one name, are refused and name what they hold', { skip: missing() }, async (t) => {
  const base = folder(t)
  // A header that is read, then what the other program wrote.
  const start = (await opened(await pack([]))).subarray(0, 1024)
  const tar = (setUp: string, args: string): Uint8Array => {
    execFileSync('sh', ['-c', `rm -rf in && mkdir in && cd in && ${setUp}`], { cwd: base })
    const made = execFileSync('sh', ['-c', `tar -C in --format=ustar --owner=0 --group=0 --numeric-owner --mode=0600 -cf - ${args}`], {
      cwd: base,
      maxBuffer: 1 << 24,
    })
    return concat(start, made)
  }
  const unsafe: Record<string, Uint8Array> = {
    symlink: tar('ln -s /etc/passwd link', 'link'),
    'hard link': tar('echo x > one && ln one two', 'one two'),
    fifo: tar('mkfifo pipe', 'pipe'),
    folder: tar('mkdir folder', 'folder'),
    'way up': tar('echo x > up', "up --transform 's,up,../../up,' -P"),
    absolute: tar('echo x > up', "up --transform 's,up,/tmp/up,' -P"),
    'dot part': tar('echo x > up', "up --transform 's,up,a/./b,' -P"),
    backslash: tar('echo x > up', "up --transform 's,up,a\\\\\\\\b,' -P"),
  }
  for (const [what, archive] of Object.entries(unsafe)) {
    const code = await codeOf(unpack(await sealRaw(archive)))
    // Other programs write their own fields into a block; either is a refusal before anything is written.
    assert.ok(code === 'BACKUP_UNSAFE' || code === 'BACKUP_INVALID', `${what}: ${code}`)
    if (['symlink', 'fifo', 'folder'].includes(what)) assert.equal(code, 'BACKUP_UNSAFE', what)
  }
})

test('names that lead out, twice the same name, a name below a file, are refused in writing and in reading', async () => {
  const bad = ['../up', '/etc/passwd', 'a/../b', 'a//b', 'a/', './a', 'a\\b', 'a\nb', 'a\0b', '', '.', '..', `${'x/'.repeat(20)}y`, 'n'.repeat(300)]
  for (const name of bad) assert.equal(await codeOf(pack([{ name, bytes: Buffer.from('x') }])), 'BACKUP_UNSAFE', JSON.stringify(name))
  const one = { name: 'a', bytes: Buffer.from('x') }
  assert.equal(await codeOf(unpack(await pack([one, one]))), 'BACKUP_UNSAFE')
  assert.equal(await codeOf(unpack(await pack([one, { name: 'a/b', bytes: Buffer.from('x') }]))), 'BACKUP_UNSAFE')
  assert.equal(await codeOf(unpack(await pack([{ name: 'kith-backup.json', bytes: Buffer.from('{}') }]))), 'BACKUP_UNSAFE')
  assert.equal(await codeOf(unpack(await pack([{ name: 'kith-manifest.json', bytes: Buffer.from('{"format":1}') }]))), 'BACKUP_UNSAFE')
})

test('sizes that are claimed and not there, or beyond any disk, cost nothing and are refused', async () => {
  async function* liar(size: number): AsyncGenerator<ContainerFile> {
    yield { name: 'a', size, mtime: 1, content: () => sourceOf(Buffer.alloc(10)) }
  }
  const write = (size: number): Promise<unknown> =>
    writeContainer({ ...toKey(KEY), sink: async () => {}, header: {}, files: liar(size), mtime: 1, seal: async () => ({}) })
  for (const size of [0, 9, 11, 2 ** 40]) await assert.rejects(write(size), (error) => isKithError(error, 'FILE_CHANGED'), String(size))
  const archive = Buffer.from((await opened(await pack([{ name: 'a', bytes: Buffer.alloc(600) }]))).subarray(0, 1024))
  // The size field of the header's own entry, eight gigabytes.
  const huge = Buffer.from(archive)
  huge.write('77777777777', 124, 'latin1')
  huge.fill(0x20, 148, 156)
  huge.write(
    `${huge
      .subarray(0, 512)
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  )
  assert.equal(await codeOf(unpack(await sealRaw(huge))), 'BACKUP_INVALID')
})

async function opened(container: Uint8Array): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const piece of openStream({ source: sourceOf(container), identities: [IDENTITY] })) parts.push(Buffer.from(piece))
  return Buffer.concat(parts)
}

test('a manifest that does not fit, files exchanged or changed inside, are refused though the seal of age holds', async () => {
  const archive = await opened(
    await pack([
      { name: 'a', bytes: Buffer.from('content') },
      { name: 'b', bytes: Buffer.from('CONTENT') },
    ]),
  )
  const exchanged = Buffer.from(archive.toString('latin1').replace('content', 'cOntent'), 'latin1')
  assert.equal(await codeOf(unpack(await sealRaw(exchanged))), 'BACKUP_INVALID')
  const counted = Buffer.from(archive.toString('latin1').replace('"content":14', '"content":15'), 'latin1')
  assert.equal(await codeOf(unpack(await sealRaw(counted))), 'BACKUP_INVALID')
  assert.equal(await codeOf(unpack(await sealRaw(archive))), 'accepted')
  const spare = Buffer.from(archive)
  spare[spare.length - 1] = 1
  assert.equal(await codeOf(unpack(await sealRaw(spare))), 'BACKUP_INVALID')
})

test('a failing sink, at whatever piece, ends the writing with its error and no unhandled rejection', async () => {
  for (let at = 0; at < 6; at++) {
    let piece = 0
    const sink = async (): Promise<void> => {
      if (piece++ >= at) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
    }
    async function* files(): AsyncGenerator<ContainerFile> {
      yield { name: 'a', size: 5 << 20, mtime: 1, content: () => sourceOf(Buffer.alloc(5 << 20)) }
    }
    await assert.rejects(writeContainer({ ...toKey(KEY), sink, header: {}, files: files(), mtime: 1, seal: async () => ({}) }), /ENOSPC/)
  }
})

test('a few secret bytes sealed to keys, come back in guarded memory; cut or under another key they do not', async () => {
  for (const length of [1, 65_536, 65_537, 1 << 20]) {
    const bytes = seededRandom(length).bytes(length)
    const sealed = await sealSmall(Secret.take(Uint8Array.from(bytes)), toKey(KEY))
    using back = await openSmall(sealed, [IDENTITY])
    assert.ok(back.use((found) => found.equals(bytes)))
    assert.notEqual(await codeOf(openSmall(sealed.subarray(0, sealed.length - 1), [IDENTITY])), 'accepted')
  }
})

test('recipients and key files as age writes them, mistyped by one letter anywhere, are refused', () => {
  const recipient = formatRecipient(recipientOf(KEY))
  for (let at = 0; at < recipient.length; at++) {
    const letter = recipient[at] === 'q' ? 'p' : 'q'
    assert.throws(
      () => parseRecipient(recipient.slice(0, at) + letter + recipient.slice(at + 1)),
      (error) => isKithError(error, 'USAGE'),
      `letter ${at}`,
    )
  }
  for (const text of ['', 'age1', recipient.toUpperCase(), `${recipient}q`, `age1pq1${'q'.repeat(1_900)}`])
    assert.throws(
      () => parseRecipient(text),
      (error) => isKithError(error, 'USAGE'),
    )
  for (const text of ['', '# only a comment\n', 'AGE-SECRET-KEY-1QQQQ\n', `${recipient}\n`])
    assert.throws(
      () => parseKeyFile(Buffer.from(text)),
      (error) => isKithError(error, 'KEY_INVALID'),
    )
})

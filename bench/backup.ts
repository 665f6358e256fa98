/** Sealing and opening a backup beside the age library, and beside `tar | age`. */
import { execFile, execFileSync } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { Decrypter, Encrypter } from 'age-encryption'
import { systemRandom } from '../src/core/random.ts'
import { Secret } from '../src/core/secret.ts'
import { formatRecipient } from '../src/vault/bech32.ts'
import { type ContainerFile, readContainer, writeContainer } from '../src/vault/container.ts'
import { recipientOf, X25519Identity, X25519Recipient } from '../src/vault/container-recipients.ts'
import type { BenchRow } from './harness.ts'
import { timedAsync } from './support/turns.ts'

const MIB = 1 << 20
const key = Secret.random(32, systemRandom)
const recipient = formatRecipient(recipientOf(key))
const run = promisify(execFile)
let folder: Promise<string> | undefined

/** One file of random bytes, and both containers of it. */
async function made(size: number): Promise<{ base: string; plain: string; ours: string; theirs: string }> {
  folder ??= mkdtemp(join(tmpdir(), 'kith-bench-backup-'))
  const base = join(await folder, String(size))
  const at = { base, plain: join(base, 'home', 'large.bin'), ours: join(base, 'ours.age'), theirs: join(base, 'theirs.age') }
  if ((await mkdir(join(base, 'home'), { recursive: true })) !== undefined) await writeFile(at.plain, systemRandom.bytes(size))
  return at
}

export async function close(): Promise<void> {
  if (folder !== undefined) await rm(await folder, { recursive: true })
}

async function write(plain: string, size: number, to: string): Promise<void> {
  const file = await open(to, 'w')
  async function* files(): AsyncGenerator<ContainerFile> {
    yield { name: 'large.bin', size, mtime: 1, content: () => createReadStream(plain, { highWaterMark: MIB }) as AsyncIterable<Uint8Array> }
  }
  await writeContainer({
    recipients: [new X25519Recipient(recipientOf(key), systemRandom)],
    random: systemRandom,
    sink: async (bytes) => void (await file.write(bytes)),
    header: {},
    files: files(),
    mtime: 1,
    seal: async () => ({}),
  })
  await file.close()
}

async function read(from: string): Promise<void> {
  await readContainer({
    source: createReadStream(from, { highWaterMark: MIB }),
    identities: [new X25519Identity(key)],
    onHeader: async () => {},
    async onFile(file) {
      for await (const _ of file.content());
    },
  })
}

/** The library's stream, with nothing but the file round it. */
async function libraryWrite(plain: string, to: string): Promise<void> {
  const encrypter = new Encrypter()
  encrypter.addRecipient(recipient)
  const sealed = await encrypter.encrypt(Readable.toWeb(createReadStream(plain, { highWaterMark: MIB })) as unknown as ReadableStream<Uint8Array>)
  const file = await open(to, 'w')
  for await (const piece of sealed as unknown as AsyncIterable<Uint8Array>) await file.write(piece)
  await file.close()
}

async function libraryRead(from: string): Promise<void> {
  const decrypter = new Decrypter()
  decrypter.addIdentity(new X25519Identity(key))
  const opened = await decrypter.decrypt(Readable.toWeb(createReadStream(from, { highWaterMark: MIB })) as unknown as ReadableStream<Uint8Array>)
  for await (const _ of opened as unknown as AsyncIterable<Uint8Array>);
}

function tools(): boolean {
  try {
    for (const tool of ['age', 'tar']) execFileSync(tool, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const sizeOf = (quick: boolean): number => (quick ? 32 : 256) * MIB

export const rows: readonly BenchRow[] = [
  {
    name: 'backup: a file archived, hashed, sealed and written',
    unit: 'MB/s',
    peer: 'the age library, sealing and writing alone',
    better: 'higher',
    goal: 0.8,
    async measure({ quick }) {
      const size = sizeOf(quick)
      const { plain, ours, theirs } = await made(size)
      const mine = await timedAsync(() => write(plain, size, ours))
      return { ours: size / 1e6 / mine, peer: size / 1e6 / (await timedAsync(() => libraryWrite(plain, theirs))) }
    },
  },
  {
    name: 'backup: a container opened and verified',
    unit: 'MB/s',
    peer: 'the age library, opening alone',
    better: 'higher',
    goal: 0.8,
    async measure({ quick }) {
      const size = sizeOf(quick)
      const { plain, ours } = await made(size)
      await write(plain, size, ours)
      const mine = await timedAsync(() => read(ours))
      return { ours: size / 1e6 / mine, peer: size / 1e6 / (await timedAsync(() => libraryRead(ours))) }
    },
  },
  {
    name: 'backup: the same beside tar | age, which hash nothing',
    unit: 'MB/s',
    peer: 'tar | age',
    better: 'higher',
    async measure({ quick }) {
      const size = sizeOf(quick)
      const { base, plain, ours, theirs } = await made(size)
      const mine = await timedAsync(() => write(plain, size, ours))
      if (!tools()) return { ours: size / 1e6 / mine }
      const peer = await timedAsync(() => run('sh', ['-c', `tar -C '${join(base, 'home')}' -cf - . | age -r ${recipient} > '${theirs}'`]))
      return { ours: size / 1e6 / mine, peer: size / 1e6 / peer }
    },
  },
]

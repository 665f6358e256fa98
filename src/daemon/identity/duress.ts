import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { hmacSha256 } from '../../core/crypto/hash.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import { Secret } from '../../core/secret.ts'
import { openAge, sealAge } from '../../identity/age-file.ts'
import { writeAtomic } from '../../identity/atomic-file.ts'
import type { LocalDevice } from '../../identity/device.ts'
import { type Home, homePaths } from '../../identity/home.ts'
import { createKeystore } from '../../identity/keystore.ts'
import { loadKeyFile } from '../../identity/keystore-file.ts'
import { readPrivateFile } from '../../identity/private-file.ts'
import { fabricate, MARK_BYTES, NOTE_BYTES, replaceSpare, spareDirectory } from '../../identity/spare.ts'
import { generatePhrase, phraseToSeed } from '../../vault/bip39.ts'
import { deriveIdentitySeeds } from '../../vault/identity-seeds.ts'
import { DEFAULT_PHRASE_WORDS } from './setup.ts'

/**
 * # A second passphrase for times of duress
 *
 * It opens another identity (`identity/spare.ts`), made at random when it is set, which nobody knows. A command may be run then, without a word: a message, a light
 * that goes out. The command stands in the second keystore, sealed under the second machine's own secret:
 *
 * ```text
 * mark        HMAC-SHA256(key of the first machine, SHA-256 of the second identity.age); random when nothing is set: only the first machine can tell
 * note.age    age file, passphrase from the second machine's root: u16 length || command || zeros, 1,024 bytes; random when nothing is set
 * ```
 */
const MARK_LABEL = 'kith/duress-mark/v1'
const NOTE_LABEL = 'kith/duress-note/v1'
const MAX_COMMAND_BYTES = 1_000
const NOTE_PLAIN_BYTES = 1_024

export interface DuressParts {
  readonly home: Home
  /** This machine, opened by the first passphrase. */
  readonly device: LocalDevice
  readonly clock: Clock
  readonly random: Random
  /** log2 of scrypt's N of the files. Default 18, as every home's. */
  readonly workFactor?: number
}

/**
 * Sets or replaces the second passphrase; the identity behind it is a new one each time.
 * @param passphrase stays the caller's. @param command run by `/bin/sh -c` when it opens. Absent: nothing is.
 * @throws KithError `USAGE` when it is the first passphrase, too, or the command is too long.
 */
export async function setDuress(parts: DuressParts, passphrase: Secret, command = ''): Promise<void> {
  const { home, device, clock, random, workFactor } = parts
  if (Buffer.byteLength(command) > MAX_COMMAND_BYTES) throw new KithError('USAGE', `The command is longer than ${MAX_COMMAND_BYTES} bytes.`)
  const own = await loadKeyFile(home.paths.device, passphrase).catch(() => undefined)
  own?.wipe()
  if (own !== undefined) throw new KithError('USAGE', 'The second passphrase is the first one; it has to be another.', { next: 'kith id duress set' })
  await replaceSpare(home.paths.root, async (directory) => {
    const paths = homePaths(directory)
    const place: Home = { paths, id: home.id, close: async () => {}, [Symbol.asyncDispose]: async () => {} }
    const phrase = generatePhrase(DEFAULT_PHRASE_WORDS, random)
    const seed = phraseToSeed(phrase)
    const identity = { seeds: deriveIdentitySeeds(seed, 0), next: deriveIdentitySeeds(seed, 1), phrase }
    seed.wipe()
    const made = await createKeystore(place, { passphrase, identity, name: device.name, clock, random, ...(workFactor === undefined ? {} : { workFactor }) })
    try {
      await writeNote(directory, made.device, command, random)
    } finally {
      made.identity.close()
      made.device.close()
    }
    await writeAtomic(join(directory, 'mark'), await markOf(device, paths.identity))
  })
}

/** Puts random bytes in its place again. */
export async function removeDuress({ home, device, random }: DuressParts): Promise<void> {
  await replaceSpare(home.paths.root, (directory) => fabricate(directory, Buffer.byteLength(device.name), random))
}

/** Whether this machine set a second passphrase. Opened by the second one, it knows of none. */
export async function isDuressSet({ home, device }: Pick<DuressParts, 'home' | 'device'>): Promise<boolean> {
  const paths = homePaths(spareDirectory(home.paths.root))
  if (!existsSync(paths.identity)) return false
  const mark = await readPrivateFile(join(paths.root, 'mark'), MARK_BYTES)
  return mark !== undefined && Buffer.from(mark).equals(await markOf(device, paths.identity))
}

async function markOf(device: LocalDevice, identity: string): Promise<Uint8Array> {
  using key = device.deriveSecret(MARK_LABEL)
  const file = await readFile(identity)
  return key.use((bytes) => hmacSha256(bytes, file))
}

async function writeNote(directory: string, device: LocalDevice, command: string, random: Random): Promise<void> {
  const plain = Secret.alloc(NOTE_PLAIN_BYTES)
  plain.fill((bytes) => {
    bytes.fill(0)
    bytes.writeUInt16BE(bytes.write(command, 2), 0)
  })
  using passphrase = device.deriveSecret(NOTE_LABEL)
  try {
    // Nobody guesses 256 random bits; that the factor is 1 everywhere says nothing.
    const sealed = await sealAge(plain, passphrase, { random, workFactor: 1 })
    if (sealed.length !== NOTE_BYTES) throw new KithError('INTERNAL', `a note of ${sealed.length} bytes would tell that it is one`)
    await writeAtomic(join(directory, 'note.age'), sealed)
  } finally {
    plain.wipe()
  }
}

/** Runs what was asked for, when the home is the second one. Never fails, waits for nothing and says nothing. */
export async function signalDuress(home: Home, device: LocalDevice): Promise<void> {
  const sealed = await readPrivateFile(join(home.paths.root, 'note.age'), NOTE_BYTES).catch(() => undefined)
  if (sealed === undefined) return
  try {
    using passphrase = device.deriveSecret(NOTE_LABEL)
    const opened = await openAge(sealed, passphrase)
    const command = opened.use((bytes) => bytes.toString('utf8', 2, 2 + bytes.readUInt16BE(0)))
    opened.wipe()
    if (command === '') return
    const child = spawn('/bin/sh', ['-c', command], { detached: true, stdio: 'ignore', env: withoutSecrets(process.env) })
    child.on('error', () => undefined)
    child.unref()
  } catch {
    // Somebody may look on.
  }
}

/** A passphrase or PIN that came by the environment is not for the programs that a command runs. */
function withoutSecrets(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !/^(?:ICN_|KITH_|CREDENTIALS_DIRECTORY$)/.test(name)))
}

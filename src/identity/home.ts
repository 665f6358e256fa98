import { lstat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { toHex } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import { makeFolder } from '../core/make-folder.ts'
import { type Random, systemRandom } from '../core/random.ts'
import { removeTemporaries, syncDirectory, writeAtomic } from './atomic-file.ts'
import { Tokens } from './hardware/tokens.ts'
import { acquireLock, type HomeLock } from './home-lock.ts'
import { finishSwitch } from './home-switch.ts'
import { finishKeyChange } from './key-change.ts'
import { checkOwner, readPrivateFile, unsafe } from './private-file.ts'
import { ensureSpare, spareDirectory } from './spare.ts'

export { readPrivateFile } from './private-file.ts'

/**
 * # The home directory
 *
 * ```text
 * HOME/                 0700, ours, no symbolic link
 *   id                  random name of this home, for things kept outside it
 *   .spare/          what a second passphrase opens, if there is one; in every home (spare.ts)
 *   identity.age  .sum  identity and next keys, phrase; opened rarely          device.age  .sum  device keys, binding, chain
 *   boot                number of the present run (PN-7)
 *   kith.lock  kith.pid held by the one process that uses the home, and its number
 *   config.toml  kith.db  inbox/  control/  log/
 * ```
 *
 * Everything in it is 0600 or 0700. A home or key file that others can touch is refused, never silently repaired.
 */
export interface HomePaths {
  readonly root: string
  readonly id: string
  readonly identity: string
  readonly device: string
  readonly boot: string
  readonly lock: string
  readonly pid: string
  readonly config: string
  readonly store: string
  readonly inbox: string
  readonly control: string
  readonly log: string
}

export function homePaths(directory: string): HomePaths {
  const root = resolve(directory)
  const at = (name: string): string => join(root, name)
  return {
    root,
    id: at('id'),
    identity: at('identity.age'),
    device: at('device.age'),
    boot: at('boot'),
    lock: at('kith.lock'),
    pid: at('kith.pid'),
    config: at('config.toml'),
    store: at('kith.db'),
    inbox: at('inbox'),
    control: at('control'),
    log: at('log'),
  }
}

/** Everything of the second keystore lies in a directory of its own; process, configuration and logs are the home's. */
function sparePaths({ root, lock, pid, config, control, log }: HomePaths): HomePaths {
  return { ...homePaths(spareDirectory(root)), lock, pid, config, control, log }
}

/** A home to read from without its lock, beside the process that holds it: key files are replaced whole. */
export function viewHome(paths: HomePaths, id: string): Home {
  return new OpenedHome(paths, id, new Tokens(), undefined)
}

/** A checked home, held exclusively until closed. */
export interface Home extends AsyncDisposable {
  /** Where everything lies: since `settle`, of the keystore that was opened. */
  readonly paths: HomePaths
  /** The keystore that another passphrase opens (`spare.ts`); undefined once either was opened. */
  readonly spare?: HomePaths | undefined
  /** From now on this home is the one of the keystore that opened, until it is closed: what is saved never lands in the other one. */
  settle?(paths: HomePaths): void
  /** 32 hexadecimal digits, made with the home. */
  readonly id: string
  /** Opens the keys of this home that live in tokens. */
  readonly tokens?: Tokens
  /** Releases the lock. Idempotent. */
  close(): Promise<void>
}

export interface OpenHomeOptions {
  /** Make the directory when it is missing. Default true. */
  readonly create?: boolean
  /** For the home's name. Default: the system's. */
  readonly random?: Random
  /** Opens keys that live in tokens. Default: one that finds modules by the keys' addresses and PINs in the environment. Closed with the home. */
  readonly tokens?: Tokens
}

/**
 * Takes the home for this process.
 * @throws KithError `HOME_IN_USE` (details.pid), `HOME_UNSAFE`, `HOME_UNUSABLE`, `IDENTITY_MISSING` when it does not exist and may not be made.
 */
export async function openHome(directory: string, options: OpenHomeOptions = {}): Promise<Home> {
  const paths = homePaths(directory)
  if (options.create !== false) makeHome(paths.root)
  await checkHome(paths.root)
  const lock = await acquireLock(paths)
  try {
    await finishSwitch(paths.root)
    await removeTemporaries(paths.root)
    await finishKeyChange(paths.root)
    await ensureSpare(paths, options.random ?? systemRandom)
    return new OpenedHome(paths, await homeId(paths, options.random ?? systemRandom), options.tokens ?? new Tokens(), lock)
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** Makes the folder of a home where there is none. @throws KithError `HOME_UNUSABLE`. */
export function makeHome(root: string): void {
  try {
    makeFolder(root)
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new KithError('HOME_UNUSABLE', `No home can be made at ${root} (${code}).`, {
      cause,
      details: { home: root },
      next: 'name another folder with --home',
    })
  }
}

class OpenedHome implements Home {
  readonly id: string
  #paths: HomePaths
  #spare: HomePaths | undefined
  readonly tokens: Tokens
  readonly #lock: HomeLock | undefined

  constructor(paths: HomePaths, id: string, tokens: Tokens, lock: HomeLock | undefined) {
    this.#paths = paths
    this.#spare = sparePaths(paths)
    this.id = id
    this.#lock = lock
    this.tokens = tokens
  }

  get paths(): HomePaths {
    return this.#paths
  }

  get spare(): HomePaths | undefined {
    return this.#spare
  }

  settle(paths: HomePaths): void {
    this.#paths = paths
    this.#spare = undefined
  }

  async close(): Promise<void> {
    this.tokens.close()
    await this.#lock?.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/**
 * A directory of our own that nobody else can read or change.
 * @throws KithError `HOME_UNSAFE`, `IDENTITY_MISSING` when there is none.
 */
export async function checkHome(root: string): Promise<void> {
  const info = await lstat(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    throw new KithError('IDENTITY_MISSING', 'this home does not exist', { details: { path: root }, next: 'kith init' })
  })
  if (info.isSymbolicLink() || !info.isDirectory()) throw unsafe(root, 'it is not a directory of its own', 'use a path without a symbolic link')
  checkOwner(root, info)
  if (process.platform === 'win32') return
  const parent = await lstat(dirname(root))
  const othersReplace = (parent.mode & 0o002) !== 0 && (parent.mode & 0o1000) === 0
  if (othersReplace) throw unsafe(dirname(root), 'anybody can replace directories in it', `chmod o-w ${dirname(root)}`)
}

async function homeId(paths: HomePaths, random: Random): Promise<string> {
  const stored = await readPrivateFile(paths.id, 64)
  if (stored !== undefined) {
    const id = Buffer.from(stored).toString('latin1').trim()
    if (/^[0-9a-f]{32}$/.test(id)) return id
  }
  const id = toHex(random.bytes(16))
  await writeAtomic(paths.id, Buffer.from(`${id}\n`))
  await syncDirectory(paths.root)
  return id
}

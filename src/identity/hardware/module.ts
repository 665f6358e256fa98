import { existsSync, lstatSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, isAbsolute, join } from 'node:path'
import { KithError } from '../../core/errors.ts'
import { CKR_CRYPTOKI_ALREADY_INITIALIZED, type Cryptoki, returnValue } from './cryptoki.ts'

/** Gives the functions of the module at a checked path. */
export type CryptokiLoader = (path: string) => Cryptoki

export const INSTALL_PKCS11JS = 'npm install pkcs11js@2 (beside kith; it compiles, so it needs a C++ compiler, make and python3)'

/** `pkcs11js`, if it is installed where Node finds it from here: beside kith, or in a directory of `NODE_PATH`. @throws KithError `TOKEN_UNAVAILABLE`. */
export const loadCryptoki: CryptokiLoader = (path) => {
  const cryptoki = construct()
  try {
    cryptoki.load(path)
  } catch (cause) {
    throw new KithError('TOKEN_UNAVAILABLE', `the module ${path} cannot be loaded`, { details: { path }, next: 'kith doctor', cause })
  }
  return cryptoki
}

function construct(): Cryptoki {
  try {
    const { PKCS11 } = createRequire(import.meta.url)('pkcs11js') as { PKCS11: new () => Cryptoki }
    return new PKCS11()
  } catch (cause) {
    throw new KithError('TOKEN_UNAVAILABLE', 'keys in tokens need the package pkcs11js, which is not installed or does not load', {
      next: INSTALL_PKCS11JS,
      cause,
    })
  }
}

/**
 * The real path of a module that only its owner and the administrator can replace: it runs inside this process.
 * @throws KithError `TOKEN_UNAVAILABLE`.
 */
export function checkModule(path: string): string {
  if (!isAbsolute(path)) throw refused(path, 'the path is not absolute', 'give the whole path of the module')
  let real: string
  try {
    real = realpathSync(path)
  } catch (cause) {
    throw refused(path, 'it is not there', 'install the module of your token, or give its path with --module', cause)
  }
  if (process.platform === 'win32') return real
  if (!lstatSync(real).isFile()) throw refused(real, 'it is not a file', 'give the path of the module itself')
  for (let at = real; ; at = dirname(at)) {
    const info = lstatSync(at)
    const sticky = at !== real && (info.mode & 0o1000) !== 0
    if (info.uid !== 0 && info.uid !== process.getuid?.()) throw refused(real, `${at} belongs to another user`, `chown root ${at}`)
    if ((info.mode & 0o022) !== 0 && !sticky) throw refused(real, `other users can change ${at}`, `chmod go-w ${at}`)
    // Files that peers send land below a home, and a key file from elsewhere could name one.
    if (at !== real && existsSync(join(at, 'kith.lock'))) throw refused(real, 'it lies in the home of a node', 'install the module elsewhere')
    if (at === dirname(at)) return real
  }
}

function refused(path: string, reason: string, next: string, cause?: unknown): KithError {
  return new KithError('TOKEN_UNAVAILABLE', `the module ${path} is not used: ${reason}`, { details: { path, reason }, next, cause })
}

interface Loaded {
  readonly cryptoki: Cryptoki
  /** Whether somebody else in this process had set the module up, who will also end it. */
  readonly foreign: boolean
  users: number
}

/** A module is set up once in a process, whoever uses it (PKCS#11, C_Initialize); so this is the process's and not one object's. */
const loaded = new Map<string, Loaded>()

/** @throws KithError `TOKEN_UNAVAILABLE`. */
export function useModule(path: string, load: CryptokiLoader): { readonly cryptoki: Cryptoki; release(): void } {
  const real = checkModule(path)
  const known = loaded.get(real) ?? initialise(real, load)
  loaded.set(real, known)
  known.users++
  let released = false
  return {
    cryptoki: known.cryptoki,
    release() {
      if (released) return
      released = true
      known.users--
      if (known.users > 0) return
      loaded.delete(real)
      if (!known.foreign) quietly(() => known.cryptoki.C_Finalize())
    },
  }
}

function initialise(path: string, load: CryptokiLoader): Loaded {
  const cryptoki = load(path)
  try {
    cryptoki.C_Initialize()
    return { cryptoki, foreign: false, users: 0 }
  } catch (cause) {
    if (returnValue(cause) === CKR_CRYPTOKI_ALREADY_INITIALIZED) return { cryptoki, foreign: true, users: 0 }
    throw new KithError('TOKEN_UNAVAILABLE', `the module ${path} does not start`, { details: { path }, next: 'kith doctor', cause })
  }
}

/** What fails while closing has nobody to tell. */
export function quietly(run: () => void): void {
  try {
    run()
  } catch {}
}

import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Cryptoki } from '../../src/identity/hardware/cryptoki.ts'
import type { CryptokiLoader } from '../../src/identity/hardware/module.ts'

export const MODULE: string | undefined = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/softhsm/libsofthsm2.so', '/usr/lib/pkcs11/libsofthsm2.so'].find(
  (path) => existsSync(path),
)
export const PIN = '567890'

const HERE = new URL('./pkcs11js/', import.meta.url).pathname
const CACHE = new URL('../../node_modules/.cache/', import.meta.url).pathname

/** Where `pkcs11js` is installed for these tests alone, for `NODE_PATH`; a text says why it is not. */
export async function installPkcs11js(): Promise<{ readonly path: string } | string> {
  const lock = readFileSync(join(HERE, 'package-lock.json'))
  const name = `kith-pkcs11js-${createHash('sha256').update(lock).update(process.versions.modules).digest('hex').slice(0, 12)}`
  const folder = join(CACHE, name)
  if (existsSync(folder)) return { path: join(folder, 'node_modules') }
  mkdirSync(CACHE, { recursive: true })
  const making = mkdtempSync(join(CACHE, `${name}-`))
  try {
    for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(HERE, file), join(making, file))
    const node = dirname(process.execPath)
    const headers = existsSync(join(node, '..', 'include', 'node', 'node_api.h')) ? { npm_config_nodedir: join(node, '..') } : {}
    const env = { ...process.env, ...headers, PATH: `${node}:${process.env.PATH ?? ''}` }
    await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund'], { cwd: making, env, timeout: 300_000, maxBuffer: 1 << 24 })
    createRequire(import.meta.url)(join(making, 'node_modules', 'pkcs11js'))
    // Two test files may have begun at once: the first one there is the one that counts.
    if (!existsSync(folder)) renameSync(making, folder)
    return { path: join(folder, 'node_modules') }
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string }
    return `pkcs11js cannot be installed here (no compiler or no network): ${(stderr ?? message).trim().split('\n').at(-1) ?? ''}`
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
}

export interface SoftHsm {
  readonly module: string
  readonly environment: { readonly SOFTHSM2_CONF: string; readonly NODE_PATH: string }
  readonly load: CryptokiLoader
  /** The directory that stands for the device: moving it away pulls the token. */
  readonly tokens: string
  addToken(label: string): void
  close(): void
}

/** SoftHSM with tokens of its own in a directory of its own. A text says why it cannot be had. */
export async function softHsm(): Promise<SoftHsm | string> {
  if (MODULE === undefined) return 'SoftHSM is not installed (softhsm2)'
  const installed = await installPkcs11js()
  if (typeof installed === 'string') return installed
  const directory = mkdtempSync(join(tmpdir(), 'kith-hsm-'))
  const tokens = join(directory, 'tokens')
  const conf = join(directory, 'softhsm2.conf')
  mkdirSync(tokens)
  writeFileSync(conf, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`)
  const { PKCS11 } = createRequire(import.meta.url)(join(installed.path, 'pkcs11js')) as { PKCS11: new () => Cryptoki }
  // The module reads the real environment of its process when it starts.
  process.env.SOFTHSM2_CONF = conf
  const environment = { SOFTHSM2_CONF: conf, NODE_PATH: installed.path }
  return {
    module: MODULE,
    environment,
    tokens,
    load: (path) => {
      const cryptoki = new PKCS11()
      cryptoki.load(path)
      return cryptoki
    },
    addToken(label) {
      const options = ['--init-token', '--free', '--label', label, '--so-pin', '12345678', '--pin', PIN]
      execFileSync('softhsm2-util', options, { env: { ...process.env, ...environment }, stdio: 'pipe' })
    },
    close: () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** Finds or installs what a command needs: the pinned Node 24 and the packages of the lockfile. Runs on any Node >= 20. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const stampFile = (folder) => join(folder, 'node_modules', '.kith-setup.json')

function lockDigest(folder) {
  return createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .update(process.platform)
    .update(process.arch)
    .digest('hex')
}

function readStamp(folder) {
  try {
    return JSON.parse(readFileSync(stampFile(folder), 'utf8'))
  } catch {
    return undefined
  }
}

/** Folders with packages of their own, by the scope that needs them. */
const EXTRA = { bench: 'bench', clients: join('test', 'clients') }

/**
 * Installs from the lockfile unless that was already done. `scope` 'run' leaves out development tools, 'all' brings everything, 'bench' adds the compared programs,
 * 'clients' what generates clients in the slow tests.
 */
export function ensureInstalled(scope) {
  const lock = lockDigest(ROOT)
  const stamp = readStamp(ROOT)
  const extra = EXTRA[scope]
  const wanted = extra === undefined ? scope : 'all'
  if (stamp?.lock !== lock || (stamp.scope !== 'all' && stamp.scope !== wanted) || !existsSync(join(ROOT, 'node_modules', 'sodium-native'))) {
    install(ROOT, wanted === 'run' ? ['--omit=dev'] : [])
    writeFileSync(stampFile(ROOT), JSON.stringify({ lock, scope: wanted }))
  }
  if (extra === undefined) return
  const folder = join(ROOT, extra)
  if (readStamp(folder)?.lock === lockDigest(folder)) return
  install(folder, [])
  writeFileSync(stampFile(folder), JSON.stringify({ lock: lockDigest(folder), scope }))
}

function install(folder, extra) {
  process.stderr.write(`Installing packages from ${relative(ROOT, join(folder, 'package-lock.json'))} (once) ...\n`)
  const args = ['ci', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error', ...extra]
  const npm = process.env.npm_execpath
  const [command, prefix] = npm?.endsWith('.js') === true ? [process.execPath, [npm]] : ['npm', []]
  const result = spawnSync(command, [...prefix, ...args], { cwd: folder, stdio: ['ignore', 2, 2], shell: command === 'npm' && process.platform === 'win32' })
  if (result.status === 0) return
  process.stderr.write('error[INSTALL_FAILED] npm could not install the packages of package-lock.json\nnext: npm ci --ignore-scripts\n')
  process.exit(1)
}

/** The pinned Node 24 of this platform, or this process's own when it is new enough. */
export function node24() {
  const system = process.platform === 'win32' ? 'win' : process.platform
  const binary = join(ROOT, 'node_modules', `node-${system}-${process.arch}`, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (existsSync(binary)) return binary
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 24 || (major === 24 && minor >= 21)) return process.execPath
  process.stderr.write(
    `error[NODE_TOO_OLD] kith needs Node 24.21 or newer; no pinned build exists for ${process.platform}-${process.arch} and this is ${process.versions.node}\nnext: install Node 24 and run the command again\n`,
  )
  process.exit(1)
}

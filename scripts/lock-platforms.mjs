/**
 * Completes package-lock.json after a dependency changed: npm leaves out the optional packages of platforms that the registry in use does not carry,
 * and then refuses its own lockfile in `npm ci`. Each is named here with version, os and cpu, so that it is skipped where it does not belong.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './lib/toolchain.mjs'

const SYSTEMS = {
  android: 'android',
  darwin: 'darwin',
  freebsd: 'freebsd',
  linux: 'linux',
  netbsd: 'netbsd',
  openbsd: 'openbsd',
  openharmony: 'openharmony',
  sunos: 'sunos',
  aix: 'aix',
  win32: 'win32',
  win: 'win32',
}
const PROCESSORS = {
  arm: 'arm',
  arm64: 'arm64',
  armv7: 'arm',
  ia32: 'ia32',
  loong64: 'loong64',
  mips64el: 'mips64el',
  ppc64: 'ppc64',
  riscv64: 'riscv64',
  s390x: 's390x',
  wasm32: 'wasm32',
  x64: 'x64',
}

const folder = process.argv[2] ?? ROOT
const file = join(folder, 'package-lock.json')
const lock = JSON.parse(readFileSync(file, 'utf8'))
let added = 0
for (const [path, parent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const entry = `node_modules/${name}`
    if (lock.packages[entry] !== undefined || lock.packages[`${path}/${entry}`] !== undefined) continue
    const words = name.split('/').at(-1).split('-')
    const os = words.map((word) => SYSTEMS[word]).find(Boolean)
    const cpu = words.map((word) => PROCESSORS[word]).find(Boolean)
    if (os === undefined && cpu === undefined) {
      process.stderr.write(`${name}: an optional package of no platform is missing from the lockfile\n`)
      process.exitCode = 1
      continue
    }
    const libc = words.includes('musl') || words.includes('linuxmusl') ? ['musl'] : words.includes('gnu') ? ['glibc'] : undefined
    lock.packages[entry] = {
      version: version.replace(/^[\^~]/, ''),
      ...(cpu && { cpu: [cpu] }),
      ...(parent.dev && { dev: true }),
      ...(libc && { libc }),
      optional: true,
      ...(os && { os: [os] }),
    }
    added++
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added} platform packages added\n`)

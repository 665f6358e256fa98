/** Builds the package, packs it, and lets publint and arethetypeswrong judge the tarball that a user would install. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './lib/toolchain.mjs'

function run(command, args) {
  const result = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8' })
  if (result.status === 0) return
  process.stdout.write(`${[command, ...args].join(' ')}\n${result.stdout}${result.stderr}`)
  throw new Error(`exit ${result.status}`)
}

const folder = mkdtempSync(join(tmpdir(), 'kith-pack-'))
try {
  run(process.execPath, ['scripts/build.mjs'])
  run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder])
  const tarball = join(folder, readdirSync(folder)[0])
  run(process.execPath, [join('node_modules', 'publint', 'src', 'cli.js'), 'run', tarball, '--strict'])
  run(process.execPath, [join('node_modules', '@arethetypeswrong', 'cli', 'dist', 'index.js'), tarball, '--profile', 'esm-only', '--no-color'])
} catch (error) {
  process.stdout.write(`${error.message}\n`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** `npm run check`: everything a reviewer would otherwise have to look at by hand. Each step prints one line; the first output of a failing step follows it. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { ROOT } from './lib/toolchain.mjs'

const bin = (...path) => join('node_modules', ...path)
const STEPS = [
  ['layers', ['scripts/layers.mjs']],
  ['format and lint', [bin('@biomejs', 'biome', 'bin', 'biome'), 'ci', '--error-on-warnings', '--colors=off', '.']],
  ['types', [bin('typescript', 'bin', 'tsc'), '-p', '.']],
  ['documents', ['scripts/docs.mjs']],
  ['dead code', [bin('knip', 'bin', 'knip.js')]],
  ['package', ['scripts/package-check.mjs']],
]

const only = process.argv.slice(2)
let failed = 0
for (const [name, args] of STEPS) {
  if (only.length > 0 && !only.includes(name)) continue
  const result = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
  process.stdout.write(`${result.status === 0 ? 'ok    ' : 'FAILED'} ${name}\n`)
  if (result.status !== 0) {
    failed++
    process.stdout.write(`${result.stdout}${result.stderr}\n`)
  }
}
process.exitCode = failed === 0 ? 0 : 1

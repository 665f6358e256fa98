/** Documents: every relative link leads somewhere, every room has its page, and nothing names a path of one machine. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { ROOMS } from './lib/rooms.mjs'
import { ROOT } from './lib/toolchain.mjs'

const problems = []
const tracked = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' }).stdout.split('\n').filter(Boolean)

for (const file of tracked.filter((name) => name.endsWith('.md'))) {
  const text = readFileSync(join(ROOT, file), 'utf8')
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^(https?:|mailto:|#)/.test(target)) continue
    if (!existsSync(resolve(ROOT, dirname(file), target.split('#')[0]))) problems.push(`${file}: link to ${target} leads nowhere`)
  }
}

for (const room of Object.keys(ROOMS)) {
  if (tracked.some((name) => name.startsWith(`src/${room}/`)) && !existsSync(join(ROOT, 'src', room, 'README.md')))
    problems.push(`src/${room}/README.md is missing`)
}
for (const file of [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'docs/errors.md',
  'docs/limits.md',
  'docs/benchmarks.md',
]) {
  if (!existsSync(join(ROOT, file))) problems.push(`${file} is missing`)
}

const MACHINE_PATH = /(^|["'`( =:])\/(home|root|Users|work)\/[A-Za-z0-9_.-]/
for (const file of tracked.filter((name) => /\.(ts|mjs|md|json|sh|yml|toml)$/.test(name) && name !== 'package-lock.json' && name !== 'scripts/docs.mjs')) {
  if (!existsSync(join(ROOT, file))) continue
  readFileSync(join(ROOT, file), 'utf8')
    .split('\n')
    .forEach((line, index) => {
      if (MACHINE_PATH.test(line)) problems.push(`${file}:${index + 1}: path of one machine`)
    })
}
if (/"resolved": *"http/.test(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))) problems.push('package-lock.json records download addresses')

for (const problem of problems) process.stdout.write(`${problem}\n`)
process.exitCode = problems.length === 0 ? 0 : 1

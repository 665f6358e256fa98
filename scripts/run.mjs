/** The one entry behind every npm script: sets up what is missing, then runs the command on the pinned Node 24. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, constants } from 'node:os'
import { join, sep } from 'node:path'
import { ensureInstalled, node24, ROOT } from './lib/toolchain.mjs'

const SOURCE = '--conditions=kith-source'
const TEST = [SOURCE, '--test', '--test-reporter=./test/reporter.mjs', '--test-reporter-destination=stdout']

/** Files of the quick suite that run at a time; by itself the runner would leave one of two processors idle. */
const TOGETHER = Math.max(2, availableParallelism() - 1)

function testFiles(...folders) {
  const found = []
  for (const folder of folders) {
    if (!existsSync(join(ROOT, folder))) continue
    for (const entry of readdirSync(join(ROOT, folder), { recursive: true })) {
      // The clients that are generated for a test have packages of their own below test/, and those bring tests along.
      if (entry.split(sep).includes('node_modules')) continue
      if (entry.endsWith('.test.ts') || entry.endsWith('.test.mjs')) found.push(join(folder, entry))
    }
  }
  return found.sort()
}

/** Everything below test/ but the long suites, which have their own commands. */
function quickTests() {
  const long = [join('test', 'slow'), join('test', 'fuzz'), join('test', 'sim'), join('test', 'soak')]
  return testFiles('test').filter((file) => !long.some((folder) => file.startsWith(folder)))
}

/** `--seed N` among the arguments replays that one run of each scenario instead of the usual ones. */
function simulations(rest) {
  const at = rest.indexOf('--seed')
  const files = at === -1 ? rest : rest.toSpliced(at, 2)
  const seed = at === -1 ? {} : { SIM_SEED: rest[at + 1] ?? '' }
  return { args: [...TEST, ...chosen('test:sim', files, testFiles(join('test', 'sim')))], env: { SIM_REPORT: '1', ...seed } }
}

/** Where the reporter leaves the files of which a test failed, for `--failed`. */
const failedList = (name) => join(ROOT, 'node_modules', '.cache', 'kith', `failed-${name.replace(':', '-')}.json`)

/** The files that failed the last time; all of them where that is not known. */
function failedLast(name, all) {
  try {
    const files = JSON.parse(readFileSync(failedList(name), 'utf8'))
    return Array.isArray(files) && files.length > 0 ? files : all
  } catch {
    return all
  }
}

/** What to run of a suite: the files named, those that failed the last time (`--failed`), or all. */
function chosen(name, rest, all) {
  const named = rest.filter((arg) => arg !== '--failed')
  if (rest.includes('--failed')) return [...named, ...failedLast(name, all)]
  return named.length > 0 ? named : all
}

const COMMANDS = {
  start: { scope: 'run', args: (rest) => ['bin/kith.mjs', 'start', '--home', './.kith', ...rest] },
  demo: { scope: 'run', args: (rest) => ['bin/kith.mjs', 'demo', ...rest] },
  test: { scope: 'all', args: (rest) => [...TEST, `--test-concurrency=${TOGETHER}`, ...chosen('test', rest, quickTests())] },
  'test:slow': { scope: 'clients', args: (rest) => [...TEST, ...chosen('test:slow', rest, testFiles(join('test', 'slow')))] },
  'test:fuzz': { scope: 'all', args: (rest) => [...TEST, ...chosen('test:fuzz', rest, testFiles(join('test', 'fuzz')))] },
  'test:sim': { scope: 'all', args: (rest) => simulations(rest).args, env: (rest) => simulations(rest).env },
  // One file after the other: what is measured under load shares the machine with nothing else.
  'test:soak': {
    scope: 'all',
    args: (rest) => [...TEST, '--test-concurrency=1', ...chosen('test:soak', rest, testFiles(join('test', 'soak')))],
    env: () => ({ SIM_REPORT: '1' }),
  },
  check: { scope: 'all', args: (rest) => ['scripts/check.mjs', ...rest] },
  build: { scope: 'all', args: (rest) => ['scripts/build.mjs', ...rest] },
  bench: { scope: 'bench', args: (rest) => [SOURCE, 'bench/run.ts', ...rest] },
  format: { scope: 'all', args: (rest) => ['node_modules/@biomejs/biome/bin/biome', 'check', '--write', ...(rest.length > 0 ? rest : ['.'])] },
}

const [name = '', ...rest] = process.argv.slice(2)
const command = COMMANDS[name]
if (command === undefined) {
  process.stderr.write(`error[USAGE] unknown script '${name}'\nnext: npm run (one of ${Object.keys(COMMANDS).join(', ')})\n`)
  process.exit(2)
}
ensureInstalled(command.scope)
const childArgs = command.args(rest)
// What a run that is cut off leaves behind must not be taken for its own.
rmSync(failedList(name), { force: true })
const child = spawn(node24(), childArgs, {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, ...(name.startsWith('test') ? { TEST_FAILED_LIST: failedList(name) } : {}), ...command.env?.(rest) },
})
// `kill` of npm ends the shell between npm and this process, and nobody passes the signal on: a node must not stay behind alone.
const parent = process.ppid
const watch = setInterval(() => process.ppid !== parent && child.kill('SIGTERM'), 500)
// A terminal sends its signals to the whole group; from anywhere else they arrive only here and are passed on.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.stdin.isTTY || child.kill(signal))
child.on('exit', (code, signal) => {
  clearInterval(watch)
  process.exitCode = signal === null ? (code ?? 1) : 128 + (constants.signals[signal] ?? 0)
})

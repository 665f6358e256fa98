#!/usr/bin/env node
// Runs kith with the Node it is made for. Plain JavaScript without dependencies, so that any Node from 20 on can start it: with Node 24.21 or
// newer it goes on in this process, otherwise in the Node that came with this package for this platform.
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { homedir, constants as osConstants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NEEDED = [24, 21]
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(root, 'src', 'cli', 'entry.ts')
// Node strips types only outside node_modules: an installed package runs what was built.
const entry = existsSync(source) ? source : join(root, 'dist', 'cli', 'entry.js')
const args = process.argv.slice(2)

if (args.length === 1 && (args[0] === '--version' || args[0] === '-V')) {
  process.stdout.write(`${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}\n`)
} else if (!isInstalled()) {
  fail('The packages of this checkout are not installed yet.', `npm ci --ignore-scripts --prefix ${root}`)
} else if (isNewEnough(process.versions.node)) {
  const cache = compileCache()
  if (cache !== undefined) nodeModule.enableCompileCache(cache)
  const { run } = await import(pathToFileURL(entry).href)
  await run({ launcher: process.argv[1] })
} else {
  runWith(findNode())
}

/** What a checkout needs before its first command; npm has seen to it wherever the package was installed. */
function isInstalled() {
  if (entry !== source) return true
  try {
    nodeModule.createRequire(import.meta.url).resolve('commander')
    return true
  } catch {
    return false
  }
}

function isNewEnough(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])
}

/** `KITH_NODE`, else the package that carries Node for this platform. */
function findNode() {
  if (process.env.KITH_NODE) return process.env.KITH_NODE
  const platform = process.platform === 'win32' ? 'win' : process.platform
  try {
    const directory = dirname(nodeModule.createRequire(import.meta.url).resolve(`node-${platform}-${process.arch}/package.json`))
    const node = join(directory, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    accessSync(node, constants.X_OK)
    return node
  } catch {
    fail(
      `Kith needs Node ${NEEDED.join('.')} or newer; this is ${process.versions.node}, and no newer one came with the package for ${platform}-${process.arch}.`,
    )
  }
}

/** Compiled code of earlier starts, which makes this one several times faster. Only in a directory that nobody else can write to. */
function compileCache() {
  if (process.env.NODE_COMPILE_CACHE !== undefined || process.env.NODE_DISABLE_COMPILE_CACHE !== undefined) return undefined
  const directory = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kith', 'compiled')
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const { uid, mode } = lstatSync(directory)
    return process.platform === 'win32' || (uid === process.getuid() && (mode & 0o022) === 0) ? directory : undefined
  } catch {
    return undefined
  }
}

function fail(sentence, next = `install Node ${NEEDED[0]} (or set KITH_NODE to one), then run the command again`) {
  if (args.includes('--json')) process.stderr.write(`${JSON.stringify({ error: { code: 'UNSUPPORTED', message: sentence, next, details: {} } })}\n`)
  else process.stderr.write(`error[UNSUPPORTED] ${sentence}\nnext: ${next}\n`)
  process.exit(1)
}

function runWith(node) {
  const cache = compileCache()
  const child = spawn(node, [...(entry === source ? ['--conditions=kith-source'] : []), entry, ...args], {
    // The channel tells the other process when this one is gone, however it went.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, KITH_LAUNCHER: process.argv[1], ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }) },
  })
  // As in the other process: a ticket in the arguments does not stay in the list of processes.
  if (args.some((word) => word.startsWith('kith1'))) process.title = 'kith join'
  const forward = (signal) => child.kill(signal)
  // Ctrl-C on a terminal reaches both processes by itself; sent twice it would mean "at once".
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) forward('SIGINT')
  })
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => forward(signal))
  child.on('error', (error) => fail(`Node could not be started: ${error.message}.`))
  child.on('exit', (status, signal) => {
    process.exitCode = status ?? 128 + (osConstants.signals[signal] ?? 0)
    if (child.connected) child.disconnect()
  })
}

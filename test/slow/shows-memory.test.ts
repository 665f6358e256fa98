import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createStage, type Stage } from '../cli/support.ts'
import { type Found, scanMemory } from '../identity/memory-scan.ts'
import { searchFile } from '../shows/core-file.ts'
import { hold } from '../shows/hold.ts'
import { deviceNeedles, identityNeedles, type Needles } from '../shows/secrets.ts'
import { hasTerminal, openTerminal, wordsOnScreen } from '../shows/terminal.ts'

/** The long part of test/shows/memory.test.ts: every other way in which a secret reaches a process, and core dumps. */
const PASSPHRASE = 'correct horse battery staple 4711'
/** OpenSSL keeps the seed of the device's open ML-DSA key in its heap (docs/limits.md). */
const IN_OPENSSL = 'device post-quantum seed'

const skip = hasTerminal ? false : "needs Linux and util-linux's script"
const names = (found: readonly Found[]): string[] => [...new Set(found.map(({ name }) => name))].sort()

/** Core files must land in the working directory of the process that ends. */
function unfit(): string | false {
  if (!hasTerminal) return "needs Linux and util-linux's script"
  if (!/^[^/|]/.test(readFileSync('/proc/sys/kernel/core_pattern', 'latin1'))) return 'the system sends core dumps elsewhere'
  try {
    execFileSync('prlimit', ['--core=unlimited', 'true'])
    return false
  } catch {
    return 'core dumps are not allowed here'
  }
}

let stage: Stage
let desk = ''
let file = ''
let needles: Needles = {}

before(async () => {
  stage = await createStage()
  desk = stage.home('desk')
  file = stage.home('passphrase')
  await writeFile(file, `${PASSPHRASE}\n`, { mode: 0o600 })
})
after(() => stage.close())

/** Ends a process with a core dump, and gives what of the needles stands in it. */
async function dumped(pid: number, ended: Promise<unknown>, wanted: Needles): Promise<string[]> {
  execFileSync('prlimit', ['--pid', String(pid), '--core=unlimited:unlimited'])
  process.kill(pid, 'SIGABRT')
  await ended
  const core = readdirSync(stage.folder).find((name) => name.startsWith('core'))
  assert.ok(core !== undefined, 'no core file was written')
  const path = join(stage.folder, core)
  try {
    return await searchFile(path, wanted)
  } finally {
    await rm(path)
  }
}

test('daemon that made the identity itself, asked by init, holds nothing but its open ML-DSA key', { skip }, async () => {
  const node = await stage.up(desk)
  await stage.json(['init', '--home', desk, '--name', 'desk', '--passphrase-file', file])
  const shown = openTerminal(stage, ['id', 'phrase', '--home', desk])
  await shown.sees('Passphrase: ')
  shown.type(`${PASSPHRASE}\r`)
  assert.equal(await shown.ended, 0)
  needles = { ...identityNeedles(wordsOnScreen(shown.screen), PASSPHRASE), ...(await deviceNeedles(desk, PASSPHRASE)) }
  assert.deepEqual(names(scanMemory(node.ready.pid, needles)), [IN_OPENSSL])
  await stage.json(['down', '--home', desk])
})

test('daemon that renewed its binding and rotated its key, given the passphrase over the control socket, holds no more than before', { skip }, async () => {
  const node = await stage.up(desk)
  await stage.json(['id', 'unlock', '--home', desk, '--passphrase-file', file])
  await stage.json(['id', 'device', 'renew', '--home', desk, '--passphrase-file', file])
  assert.deepEqual(names(scanMemory(node.ready.pid, needles)), [IN_OPENSSL])
  await stage.json(['id', 'device', 'rotate', '--home', desk, '--passphrase-file', file])
  const now = await deviceNeedles(desk, PASSPHRASE)
  assert.deepEqual(names(scanMemory(node.ready.pid, now)), [IN_OPENSSL])
  assert.deepEqual(scanMemory(node.ready.pid, needles), [], 'the keys of before are gone altogether')
  needles = { ...needles, ...now }
  await stage.json(['down', '--home', desk])
})

test('daemon, its passphrase pasted on its terminal, holds nothing but its open ML-DSA key', { skip }, async () => {
  const session = openTerminal(stage, ['up', '--home', desk, '--listen', 'tcp://127.0.0.1:0'])
  await session.sees('Passphrase: ')
  session.type(`${PASSPHRASE}\r`)
  await session.sees('listens on')
  const { pid } = await stage.json<{ pid: number }>(['status', '--home', desk])
  assert.deepEqual(names(scanMemory(pid, needles)), [IN_OPENSSL])
  await stage.json(['down', '--home', desk])
  assert.equal(await session.ended, 0)
})

test('daemon, its passphrase from the environment, keeps that and nothing else: the kernel and the runtime hold the variable', { skip }, async () => {
  const node = await stage.up(desk, [], { ICN_KEYSTORE_PASSPHRASE: PASSPHRASE })
  assert.deepEqual(names(scanMemory(node.ready.pid, needles)), [IN_OPENSSL, 'passphrase'])
  assert.ok((await readFile(`/proc/${node.ready.pid}/environ`)).includes(PASSPHRASE))
  await stage.json(['down', '--home', desk])
})

test('restore, the phrase typed on a terminal, holds nothing at its end', { skip }, async () => {
  const held = hold(stage)
  const phrase = Buffer.from(needles.phrase as Uint8Array).toString()
  const again = stage.home('again')
  const session = openTerminal(stage, ['init', '--restore', '--home', again, '--passphrase-file', file], held.env)
  await session.sees('Recovery phrase: ')
  session.type(`${phrase}\r`)
  await session.sees('next: ')
  assert.deepEqual(scanMemory(await held.pid(), { ...identityNeedles(phrase.split(' '), PASSPHRASE), ...(await deviceNeedles(again, PASSPHRASE)) }), [])
  process.kill(await held.pid(), 'SIGKILL')
  await session.ended
})

test('core dump of init, shows no phrase, passphrase or key', { skip: unfit() }, async () => {
  const held = hold(stage)
  const home = stage.home('dumped')
  const session = openTerminal(stage, ['init', '--home', home], held.env)
  for (const question of ['(Enter for none): ', 'The same again: ']) {
    await session.sees(question)
    session.type(`${PASSPHRASE}\r`)
  }
  await session.sees('next: ')
  const wanted = { ...identityNeedles(wordsOnScreen(session.screen), PASSPHRASE), ...(await deviceNeedles(home, PASSPHRASE)) }
  assert.deepEqual(await dumped(await held.pid(), session.ended, wanted), [])
})

test('core dump of the daemon, shows its open ML-DSA key and what was planted, and nothing else', { skip: unfit() }, async () => {
  const node = await stage.up(desk, ['--listen', 'quic://127.0.0.1:0', '--passphrase-file', file])
  const planted = Buffer.from(node.ready.did ?? '')
  assert.deepEqual(await dumped(node.ready.pid, node.exited, { ...needles, planted }), [IN_OPENSSL, 'planted'])
})

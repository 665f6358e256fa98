import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { createStage, type RunningNode, type Stage } from '../cli/support.ts'
import { type Found, scanMemory } from '../identity/memory-scan.ts'
import { hold } from './hold.ts'
import { deviceNeedles, identityNeedles, type Needles } from './secrets.ts'
import { hasTerminal, openTerminal, wordsOnScreen } from './terminal.ts'

/**
 * Searches the memory of the real command and the real daemon for everything secret. Typed and pasted, read from a file, sent over the control socket:
 * whichever way a secret came in, only guarded pages may hold it.
 */
const PASSPHRASE = 'correct horse battery staple 4711'
/** OpenSSL keeps the seed of the device's open ML-DSA key in its heap (docs/limits.md). */
const IN_OPENSSL = 'device post-quantum seed'

const skip = hasTerminal ? false : "needs Linux and util-linux's script"
const names = (found: readonly Found[]): string[] => [...new Set(found.map(({ name }) => name))].sort()

let stage: Stage
let desk = ''
let file = ''
let needles: Needles = {}
let node: RunningNode

before(async () => {
  stage = await createStage()
  desk = stage.home('desk')
  file = stage.home('passphrase')
  await writeFile(file, `${PASSPHRASE}\n`, { mode: 0o600 })
})
after(() => stage.close())

test('init on a terminal, standing at its end, holds nothing it was told or made', { skip }, async () => {
  const held = hold(stage)
  const session = openTerminal(stage, ['init', '--home', desk, '--name', 'desk'], held.env)
  for (const question of ['(Enter for none): ', 'The same again: ']) {
    await session.sees(question)
    session.type(`${PASSPHRASE}\r`)
  }
  await session.sees('next: ')
  const pid = await held.pid()
  const words = wordsOnScreen(session.screen)
  assert.equal(words.length, 24)
  needles = { ...identityNeedles(words, PASSPHRASE), ...(await deviceNeedles(desk, PASSPHRASE)) }
  assert.deepEqual(scanMemory(pid, needles), [])
  process.kill(pid, 'SIGKILL')
  await session.ended
})

test('daemon with its passphrase from a file, linked by tcp and quic, holds its open ML-DSA key in OpenSSL and nothing else', { skip }, async () => {
  const laptop = stage.home('laptop')
  await stage.json(['init', '--home', laptop, '--name', 'laptop'])
  node = await stage.up(desk, ['--listen', 'quic://127.0.0.1:0', '--passphrase-file', file])
  await stage.up(laptop, ['--listen', 'quic://127.0.0.1:0'])
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', desk])
  await stage.json(['join', '-', '--home', laptop], { input: ticket })
  for (const url of node.ready.listen) await stage.json(['network', 'dial', 'desk', '--addr', url, '--home', laptop])
  await stage.json(['ping', 'laptop', '--home', desk])
  const found = scanMemory(node.ready.pid, needles)
  assert.deepEqual(names(found), [IN_OPENSSL])
  assert.ok(
    found.every(({ mapping }) => mapping.endsWith('[heap]')),
    JSON.stringify(found),
  )
})

test('daemon, a value planted in its memory, the search finds exactly that', { skip }, async () => {
  // What a peer is called is kept as it is.
  const planted = 'planted-among-the-names'
  await stage.json(['peers', 'rename', 'laptop', planted, '--home', desk])
  assert.deepEqual(names(scanMemory(node.ready.pid, { ...needles, planted: Buffer.from(planted) })), [IN_OPENSSL, 'planted'])
})

test('daemon, its command line and environment, name no secret', { skip }, async () => {
  for (const file of ['cmdline', 'environ']) {
    const bytes = await readFile(`/proc/${node.ready.pid}/${file}`)
    for (const [name, needle] of Object.entries(needles)) assert.ok(!bytes.includes(Buffer.from(needle)), `${file}: ${name}`)
  }
  await stage.json(['down', '--home', desk])
})

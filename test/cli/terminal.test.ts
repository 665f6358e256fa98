import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createStage, type Stage } from './support.ts'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
/** util-linux's `script` gives a child a real terminal. */
const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0

let stage: Stage
before(async () => {
  stage = await createStage()
})
after(() => stage.close())

interface Session {
  readonly status: number | null
  readonly screen: string
}

/** Runs a command on a terminal and types each answer when its question has appeared. */
async function onTerminal(args: readonly string[], answers: readonly (readonly [question: string, typed: string])[]): Promise<Session> {
  const command = [process.execPath, BIN, ...args].map((word) => `'${word}'`).join(' ')
  const env = { ...process.env, XDG_STATE_HOME: `${stage.folder}/state`, NO_COLOR: '1', TERM: 'xterm' }
  const child = spawn('script', ['-qec', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'inherit'], cwd: stage.folder })
  const left = [...answers]
  let screen = ''
  let seen = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text
    const [next] = left
    const at = next === undefined ? -1 : screen.indexOf(next[0], seen)
    if (next === undefined || at < 0) return
    left.shift()
    seen = at + next[0].length
    child.stdin.write(next[1])
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  const [status] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  assert.deepEqual(left, [], `not asked: ${screen}`)
  return { status, screen }
}

test('init, on a terminal, asks twice without echo and shows the phrase once', { skip: !hasScript }, async () => {
  const home = stage.home('seen')
  const made = await onTerminal(
    ['init', '--home', home, '--words', '12'],
    [
      ['(Enter for none): ', 'sesame street\r'],
      ['The same again: ', 'sesame street\r'],
    ],
  )
  assert.equal(made.status, 0, made.screen)
  assert.doesNotMatch(made.screen, /sesame/)
  const words = [...made.screen.matchAll(/ (\d+) ([a-z]{3,8})(?= |\r)/g)].map(([, , word]) => word)
  assert.equal(words.length, 12)
  const again = await onTerminal(['init', '--home', home], [])
  assert.match(again.screen, /already there/)
  assert.doesNotMatch(again.screen, new RegExp(` 1 ${words[0]} `))
  const shown = await onTerminal(['id', 'phrase', '--home', home], [['Passphrase: ', 'sesame strxx\u007f\u007feet\r']])
  assert.equal(shown.status, 0, shown.screen)
  assert.deepEqual(
    [...shown.screen.matchAll(/ (\d+) ([a-z]{3,8})(?= |\r)/g)].map(([, , word]) => word),
    words,
  )
})

test('a question, answered with Ctrl-C, ends with 130 and nothing made', { skip: !hasScript }, async () => {
  const home = stage.home('left')
  const left = await onTerminal(['init', '--home', home], [['(Enter for none): ', '\u0003']])
  assert.equal(left.status, 130)
  assert.equal((await stage.kith(['id', 'show', '--home', home])).status, 3)
})

test('invite, on a terminal, shows a QR code; piped, the ticket alone', { skip: !hasScript }, async () => {
  const home = stage.home('qr')
  await stage.json(['init', '--home', home])
  await stage.up(home)
  const shown = await onTerminal(['invite', '--home', home], [])
  assert.match(shown.screen, /█▀/)
  assert.match(shown.screen, /kith1/)
  const piped = await stage.kith(['invite', '--home', home])
  assert.match(piped.stdout, /^kith1[1-9A-HJ-NP-Za-km-z]+\n$/)
  await stage.json(['down', '--home', home])
})

test('up of a locked node, the question answered with Ctrl-C, ends with 130 and leaves the home free', { skip: !hasScript }, async () => {
  const home = stage.home('asked')
  assert.equal((await stage.kith(['init', '--home', home], { env: { ICN_KEYSTORE_PASSPHRASE: 'sesame street' } })).status, 0)
  const left = await onTerminal(['up', '--home', home, '--listen', 'tcp://127.0.0.1:0'], [['Passphrase: ', '\u0003']])
  assert.equal(left.status, 130)
  assert.deepEqual(await stage.json(['down', '--home', home]), { stopped: false, pid: null })
})

test('join -, on a terminal, takes the ticket at Enter', { skip: !hasScript }, async () => {
  const [here, there] = [stage.home('joining'), stage.home('inviting')]
  for (const home of [here, there]) {
    await stage.json(['init', '--home', home])
    await stage.up(home)
  }
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', there])
  const joined = await onTerminal(['join', '-', '--home', here], [['Paste the ticket, then Enter.', `${ticket}\n`]])
  assert.equal(joined.status, 0, joined.screen)
  assert.match(joined.screen, /paired with/)
  for (const home of [here, there]) await stage.json(['down', '--home', home])
})

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createStage, type Stage } from './support.ts'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))

let stage: Stage
before(async () => {
  stage = await createStage()
})
after(() => stage.close())

test('demo, two nodes, shows each step with its command and leaves nothing behind', async () => {
  const { status, stdout, stderr } = await stage.kith(['demo', '--json'], { env: { TMPDIR: stage.folder } })
  assert.equal(status, 0, stderr)
  const steps: { command: string; detail: string; duration_ms: number }[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const commands = steps.map(({ command }) => command.split(' ').slice(0, 2).join(' '))
  assert.deepEqual(commands, [
    'kith init',
    'kith invite',
    'kith join',
    'kith confirm',
    'kith status',
    'kith ping',
    'kith forward',
    'kith allow',
    'kith forward',
    'kith allow',
    'kith inbox',
  ])
  assert.match(steps[6]?.detail ?? '', /^refused, FORWARD_DENIED; on the other machine: kith allow did:icn:z\w+ forward localhost:\d+$/)
  assert.equal(steps[8]?.detail, '200 hello from desk')
  assert.match(steps[9]?.detail ?? '', /^8\.39 MB in .*, verified on arrival/)
  assert.match(steps[10]?.detail ?? '', /^holiday\.jpg, 8\.39 MB$/)
  assert.deepEqual(
    (await readdir(stage.folder)).filter((name) => name.startsWith('kith-demo-')),
    [],
  )
})

test('start, no terminal, asks nothing, runs, and ends with three commands that work', async () => {
  const home = stage.home('started')
  const env = { ...process.env, XDG_STATE_HOME: join(stage.folder, 'state'), NO_COLOR: '1' }
  const child = spawn(process.execPath, [BIN, 'start', '--home', home, '--listen', 'tcp://127.0.0.1:0'], {
    env,
    cwd: stage.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'close')
  try {
    const printed: string[] = []
    let suggesting = false
    for await (const line of createInterface({ input: child.stderr })) {
      suggesting ||= line === 'In another terminal:'
      // The command, and behind two spaces what it is for.
      const words = suggesting ? /^ {2}(?:node )?\S*kith(?:\.mjs)? (.+?) {2}/.exec(line)?.[1] : undefined
      if (words !== undefined && printed.push(words) === 3) break
    }
    assert.equal(printed.length, 3)
    for (const words of printed) {
      const outcome = await stage.kith(words.split(' '))
      // What doctor finds on this machine is an answer too.
      assert.ok(outcome.status === 0 || words.startsWith('doctor'), `${words}: ${outcome.stderr}`)
    }
    assert.equal((await stage.json(['down', '--home', home])).stopped, true)
    assert.deepEqual(await exited, [0, null])
  } finally {
    child.kill('SIGKILL')
  }
})

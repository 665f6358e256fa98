import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { base58Encode } from '../../src/core/base58.ts'
import { toHex } from '../../src/core/bytes.ts'
import { decodeTicket } from '../../src/mesh/ticket.ts'
import { createStage, type Stage } from '../cli/support.ts'
import { deviceNeedles, identityNeedles, type Needles } from '../shows/secrets.ts'

/** A session of every command, with and without `--json`, right and wrong, logs at their most talkative: none of it tells a secret. */
const PHRASE =
  'legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title'
const PASSPHRASE = 'correct horse battery staple 4711'
const WRONG = 'incorrect horse battery staple'

let stage: Stage
const outputs: { readonly command: string; readonly text: string }[] = []
const needles: Needles = {}

before(async () => {
  stage = await createStage()
})
after(() => stage.close())

async function run(home: string, args: readonly string[], options: { input?: string } = {}): Promise<string> {
  const outcome = await stage.kith([...args, '--home', home], options)
  outputs.push({ command: args.join(' '), text: `${outcome.stdout}\n${outcome.stderr}` })
  return outcome.stdout
}

const firstLine = async (path: string): Promise<Buffer> => Buffer.from((await readFile(path, 'latin1')).trim(), 'latin1')

const mistyped = (ticket: string): string => `${ticket.slice(0, -1)}${ticket.endsWith('2') ? '3' : '2'}`

/** Bytes as they are and in the forms in which programs print bytes. */
function forms(secret: Uint8Array): Buffer[] {
  const bytes = Buffer.from(secret)
  const base64 = bytes.toString('base64').replace(/=+$/, '')
  return [bytes, ...[toHex(bytes), base64, base64.replaceAll('+', '-').replaceAll('/', '_'), base58Encode(bytes)].map((text) => Buffer.from(text))]
}

function told(text: Uint8Array, wanted: Needles): string[] {
  const bytes = Buffer.from(text)
  return Object.entries(wanted)
    .filter(([, needle]) => forms(needle).some((form) => bytes.includes(form)))
    .map(([name]) => name)
}

test('session, all it printed and logged and all files of its homes, tell no phrase, passphrase, key or ticket', async () => {
  const desk = stage.home('desk')
  const laptop = stage.home('laptop')
  const file = stage.home('passphrase')
  const wrong = stage.home('wrong')
  await writeFile(file, `${PASSPHRASE}\n`, { mode: 0o600 })
  await writeFile(wrong, `${WRONG}\n`, { mode: 0o600 })

  await run(desk, ['init', '--restore', '--name', 'desk', '--passphrase-file', file, '--json'], { input: `${PHRASE}\n` })
  await run(laptop, ['init', '--name', 'laptop', '--no-passphrase'])
  await run(stage.home('third'), ['init', '--restore', '--debug'], { input: `${PHRASE} ${PHRASE}\n` })
  await run(stage.home('third'), ['init', '--restore', '--debug', '--json'], { input: PHRASE.replace('title', 'tile') })
  await run(stage.home('third'), ['init', `--passphrase=${PASSPHRASE}`])
  await run(desk, ['id', 'phrase', '--passphrase-file', file])
  await writeFile(join(desk, 'config.toml'), '[log]\nlevel = "debug"\n')
  Object.assign(needles, identityNeedles(PHRASE.split(' '), PASSPHRASE), await deviceNeedles(desk, PASSPHRASE), { 'wrong passphrase': Buffer.from(WRONG) })
  const [state = ''] = readdirSync(join(stage.folder, 'state', 'kith'))
  needles['stored passphrase'] = await firstLine(join(stage.folder, 'state', 'kith', state))

  const node = await stage.up(desk)
  await run(desk, ['id', 'unlock', '--passphrase-file', wrong, '--debug'])
  await run(desk, ['id', 'unlock', '--passphrase-file', wrong, '--json', '--debug'])
  await run(desk, ['id', 'unlock', '--passphrase-file', file])
  const other = await stage.up(laptop)
  const invites = ['partner', 'known'].map(
    async (name) => JSON.parse((await stage.kith(['invite', '--class', name, '--home', desk, '--json'])).stdout).ticket as string,
  )
  const [ticket, unused] = (await Promise.all(invites)) as [string, string]
  for (const [name, text] of Object.entries({ ticket, 'unused ticket': unused })) {
    needles[name] = Buffer.from(text)
    needles[`secret of the ${name}`] = decodeTicket(text).secret
  }
  await run(laptop, ['join', '-', '--json'], { input: ticket })
  await run(laptop, ['join', '-', '--json', '--debug'], { input: ticket })
  await run(laptop, ['join', mistyped(unused), '--debug'])
  await run(laptop, ['join', mistyped(unused), '--json', '--debug'])
  needles.token = await firstLine(join(desk, 'control', 'token'))
  for (const extra of [[], ['--json']]) {
    await Promise.all(
      [
        ['status'],
        ['peers'],
        ['invite', '--list'],
        ['policy', 'list'],
        ['network', 'status'],
        ['network', 'stats'],
        ['why', 'laptop'],
        ['config', 'show'],
        ['doctor'],
      ]
        .concat([
          ['id', 'show'],
          ['id', 'document'],
          ['id', 'chain'],
          ['id', 'device', 'list'],
          ['ping', 'laptop'],
          ['ping', 'nobody', '--debug'],
          ['logs', '-n', '2000'],
        ])
        .map((command) => run(desk, [...command, ...extra])),
    )
  }
  await run(desk, ['id', 'device', 'renew', '--passphrase-file', file, '--json'])
  for (const home of [desk, laptop]) await run(home, ['down', '--json'])
  for (const each of [node, other]) {
    await each.exited
    outputs.push({ command: 'up', text: `${JSON.stringify(each.ready)}\n${each.events.map((event) => JSON.stringify(event)).join('\n')}` })
  }

  assert.ok(outputs.some(({ text }) => text.includes('PASSPHRASE_WRONG')) && outputs.some(({ text }) => text.includes('INVITE_INVALID')))
  for (const { command, text } of outputs) assert.deepEqual(told(Buffer.from(text), needles), [], command)
  const { token: _token, ...stored } = needles
  for (const home of [desk, laptop]) {
    for (const entry of readdirSync(home, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const path = join(entry.parentPath, entry.name)
      assert.deepEqual(told(readFileSync(path), stored), [], path)
    }
  }
  assert.deepEqual(told(Buffer.from(`x ${ticket} y`), needles), ['ticket'], 'the search finds what is there')
})

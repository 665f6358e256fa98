import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { hasTerminal, openTerminal } from '../shows/terminal.ts'
import { createStage, type Stage } from './support.ts'

const SECRET = 'hunter2-very-secret'

let stage: Stage
let home = ''
before(async () => {
  stage = await createStage()
  home = stage.home('node')
  await stage.json(['init', '--home', home, '--name', 'node', '--no-passphrase'])
})
after(() => stage.close())

interface Listed {
  readonly credentials: readonly {
    readonly service: string
    readonly type: string
    readonly source: string
    readonly revision: number
    readonly did: string | null
  }[]
}

async function refused(args: readonly string[], status: number, code: string, input?: string): Promise<string> {
  const outcome = await stage.kith([...args, '--home', home, '--json'], input === undefined ? {} : { input })
  assert.equal(outcome.status, status, outcome.stderr)
  const { error } = JSON.parse(outcome.stderr) as { error: { code: string; message: string; next: string } }
  assert.equal(error.code, code)
  assert.ok(!`${outcome.stdout}${outcome.stderr}`.includes(SECRET))
  return error.next
}

test('credential, on the files and in the running node, is kept, listed, replaced and removed without ever being shown', { timeout: 120_000 }, async () => {
  const outputs: string[] = []
  const kith = async (args: readonly string[], input?: string): Promise<string> => {
    const outcome = await stage.kith([...args, '--home', home], input === undefined ? {} : { input })
    assert.equal(outcome.status, 0, outcome.stderr)
    outputs.push(outcome.stdout, outcome.stderr)
    return outcome.stdout
  }
  const file = join(stage.folder, 'token')
  writeFileSync(file, `${SECRET}\n`, { mode: 0o600 })
  await kith(['credential', 'add', 'vast-ai', '--type', 'bearer', '--secret-file', file, '--origin', 'https://console.vast.ai'])
  await kith(['credential', 'add', 'store', '--type', 's3', '--access-key', 'AKIDEXAMPLE', '--secret-file', '-'], `${SECRET}\n`)
  assert.match(await kith(['credential', 'list']), /vast-ai +bearer +vault +anybody +https:\/\/console\.vast\.ai/)
  assert.match(await kith(['credential', 'show', 'store']), /store +s3/)

  const node = await stage.up(home)
  assert.match(await refused(['credential', 'add', 'more', '--type', 'bearer', '--secret-file', file], 1, 'VAULT_LOCKED'), /vault unlock/)
  await kith(['vault', 'unlock'])
  await kith(['credential', 'add', 'more', '--type', 'basic', '--username', 'ann', '--secret-file', '-'], SECRET)
  await kith(['credential', 'add', 'vast-ai', '--type', 'bearer', '--secret-file', file, '--replace'])
  await kith(['credential', 'remove', 'store'])
  const { credentials } = await stage.json<Listed>(['credential', 'list', '--home', home])
  assert.deepEqual(
    credentials.map(({ service, type, revision }) => [service, type, revision]),
    [
      ['more', 'basic', 1],
      ['vast-ai', 'bearer', 2],
    ],
  )
  const audit = await kith(['audit'])
  for (const action of ['credential.add', 'credential.rotate', 'credential.remove']) assert.ok(audit.includes(action), action)
  await kith(['down'])
  await node.exited
  outputs.push(readFileSync(join(home, 'log', 'kith.log'), 'utf8'), readFileSync(join(home, 'kith.db'), 'latin1'))
  for (const output of outputs) assert.ok(!output.includes(SECRET), output)
})

test('credential command, misused, names what is wrong and repeats no secret', { timeout: 120_000 }, async () => {
  const file = join(stage.folder, 'other')
  writeFileSync(file, SECRET, { mode: 0o644 })
  await refused(['credential', 'add', 'a', '--type', 'bearer'], 2, 'USAGE')
  await refused(['credential', 'add', 'a', '--type', 'bearer', '--secret-file', file], 1, 'HOME_UNSAFE')
  await refused(['credential', 'add', 'A', '--type', 'bearer', '--secret-file', '-'], 1, 'CREDENTIAL_INVALID', SECRET)
  await refused(['credential', 'add', 'a', '--type', 'bearer', '--secret-file', '-'], 1, 'CREDENTIAL_INVALID', `${SECRET}\n${SECRET}`)
  await refused(['credential', 'add', 'a', '--type', 'bearer', '--secret-file', '-', '--expires', 'soon'], 2, 'USAGE', SECRET)
  await refused(['credential', 'add', 'a', '--type', 'bearer', '--secret-file', '-', '--did', 'did:web:a'], 1, 'DID_INVALID', SECRET)
  await refused(['credential', 'add', 'a', '--type', 'bearer', '--secret-file', '-', '--origin', 'http://api.example'], 1, 'CREDENTIAL_INVALID', SECRET)
  await refused(['credential', 'remove', 'nothing'], 1, 'CREDENTIAL_UNKNOWN')
})

test('treasury key leaves only by export, only with the risk flag, and never while a node runs', { timeout: 120_000 }, async () => {
  const out = join(stage.folder, 'coop.pem')
  const made = await stage.json<{ did: string }>(['vault', 'treasury', 'create', 'coop', '--home', home])
  assert.match(made.did, /^did:icn:z/)
  await refused(['vault', 'treasury', 'export', 'coop', '--out', out], 2, 'USAGE')
  await refused(['vault', 'treasury', 'export', 'coop', '--i-understand-the-risks'], 2, 'USAGE')
  const node = await stage.up(home)
  const next = await refused(['vault', 'treasury', 'export', 'coop', '--out', out, '--i-understand-the-risks'], 1, 'HOME_IN_USE')
  assert.match(next, /down --home/)
  assert.deepEqual(
    (await stage.json<{ treasuries: { name: string; did: string }[] }>(['vault', 'treasury', 'list', '--home', home])).treasuries.map(({ name, did }) => [
      name,
      did,
    ]),
    [['coop', made.did]],
  )
  await stage.json(['down', '--home', home])
  await node.exited
  assert.throws(() => statSync(out))
  await stage.json(['vault', 'treasury', 'export', 'coop', '--out', out, '--i-understand-the-risks', '--home', home])
  assert.equal(statSync(out).mode & 0o777, 0o600)
  assert.equal(createPrivateKey(readFileSync(out, 'utf8')).asymmetricKeyType, 'ed25519')
  await refused(['vault', 'treasury', 'export', 'coop', '--out', out, '--i-understand-the-risks'], 1, 'FILE_EXISTS')
  await refused(['vault', 'treasury', 'export', 'none', '--out', `${out}.2`, '--i-understand-the-risks'], 1, 'NOT_FOUND')
})

test('shares of the phrase, shown on a terminal only, restore the identity in another home', { timeout: 120_000, skip: !hasTerminal }, async () => {
  await refused(['id', 'shares'], 2, 'USAGE')
  const shown = openTerminal(stage, ['id', 'shares', '--threshold', '2', '--shares', '3', '--home', home])
  assert.equal(await shown.ended, 0, shown.screen)
  const shares = [...shown.screen.matchAll(/^kith-share-[0-9A-Z-]+/gm)].map(([text]) => text)
  assert.equal(shares.length, 3)
  const [one = '', two = '', three = ''] = shares
  const { did } = await stage.json<{ did: string }>(['id', 'show', '--home', home])
  assert.deepEqual(await stage.json(['id', 'shares', 'check', '--home', home], { input: `${one}\n${three}\n` }), { ok: true, did })
  const other = stage.home('restored')
  const args = ['init', '--restore-shares', '--home', other, '--no-passphrase']
  const restore = async (input: string): Promise<string> => {
    const outcome = await stage.kith([...args, '--json'], { input })
    assert.equal(outcome.status, 1, outcome.stderr)
    return (JSON.parse(outcome.stderr) as { error: { code: string } }).error.code
  }
  assert.equal(await restore(`${one}\n`), 'SHARES_TOO_FEW')
  assert.equal(await restore(`${one}\n${two.slice(0, -1)}\n`), 'SHARE_DAMAGED')
  const restored = await stage.json<{ did: string; created: boolean }>(args, { input: `\n${two}\n\n${three}\n` })
  assert.deepEqual([restored.did, restored.created], [did, true])
})

test('shares, typed on a terminal, are asked again when mistyped, never echoed, and the last one needed ends the questions', {
  timeout: 120_000,
  skip: !hasTerminal,
}, async () => {
  const shown = openTerminal(stage, ['id', 'shares', '--threshold', '2', '--shares', '2', '--home', home])
  assert.equal(await shown.ended, 0, shown.screen)
  const [one = '', two = ''] = [...shown.screen.matchAll(/^kith-share-[0-9A-Z-]+/gm)].map(([text]) => text)
  const session = openTerminal(stage, ['init', '--restore-shares', '--home', stage.home('typed'), '--no-passphrase'])
  await session.sees('Share 1 (Enter when there are no more): ')
  session.type(`${one.slice(0, -1)}\r`)
  await session.sees('Share 1 cannot be read')
  await session.sees('Share 1 (Enter when there are no more): ')
  session.type(`${one.toLowerCase()}\r`)
  await session.sees('Share 2 of 2')
  session.type(`${two.replaceAll('-', '').replace('kithshare', 'kith-share-')}\r`)
  await session.sees('made')
  assert.equal(await session.ended, 0, session.screen)
  assert.ok(!session.screen.includes(one.slice(12, 24)) && !session.screen.toLowerCase().includes(two.slice(12, 24).toLowerCase()))
})

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands/index.ts'
import { parse } from '../../src/cli/parse.ts'
import type { CommandSpec } from '../../src/cli/spec.ts'
import { createStage, errorOf, type Stage } from './support.ts'

let stage: Stage
before(async () => {
  stage = await createStage()
})
after(() => stage.close())

interface Leaf {
  readonly path: readonly string[]
  readonly spec: CommandSpec
}

function leaves(spec: CommandSpec, path: readonly string[]): Leaf[] {
  return [{ path, spec }, ...(spec.subcommands ?? []).flatMap((sub) => leaves(sub, [...path, sub.name]))]
}

const specs = await Promise.all(COMMANDS.map(async (entry) => (await entry.load()).spec))
const all = specs.flatMap((spec) => leaves(spec, [spec.name]))
/** Something for each argument that must be there. */
const words = ({ spec }: Leaf): string[] => (spec.arguments ?? []).filter(({ name }) => name.startsWith('<')).map(() => 'x')

/** On a terminal only, never as JSON. */
const SHOWN_TO_PEOPLE: readonly string[] = ['id phrase', 'id shares', 'recovery phrase', 'vault phrase']

test('commands, table and descriptions, agree', () => {
  assert.deepEqual(
    specs.map(({ name }) => name),
    COMMANDS.map(({ name }) => name),
  )
  for (const { path, spec } of all) {
    assert.ok(spec.examples.length >= 2, path.join(' '))
    for (const example of spec.examples) assert.ok(example.startsWith(`kith ${path.join(' ')}`), `${example} is an example of kith ${path.join(' ')}`)
    assert.doesNotMatch(spec.summary, /\.$/)
    if (spec.load !== undefined && !SHOWN_TO_PEOPLE.includes(path.join(' '))) assert.ok(spec.json !== undefined, `${path.join(' ')} documents its JSON`)
  }
})

test('commands, --help, is shown for each', () => {
  for (const { path, spec } of all) {
    const parsed = parse(specs.find(({ name }) => name === path[0]) as CommandSpec, [...path.slice(1), '--help'])
    assert.ok(parsed.kind === 'help', path.join(' '))
    assert.ok(parsed.text.startsWith(`${spec.summary}.`))
    for (const section of ['Usage: ', 'Examples:', 'Everywhere: ']) assert.ok(parsed.text.includes(section), `${path.join(' ')} has ${section}`)
    assert.ok(parsed.text.split('\n').every((line) => line.length <= 100))
  }
})

test('commands, examples, are understood', () => {
  for (const { path, spec } of all) {
    for (const example of spec.examples) {
      const [, , ...args] = (example.replace(/ [<>|] .*$/, '').match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''))
      assert.doesNotThrow(() => parse(specs.find(({ name }) => name === path[0]) as CommandSpec, args), example)
    }
  }
})

test('commands, wrong flag, exit 2 and name it', () => {
  for (const leaf of all) {
    assert.throws(
      () => parse(specs.find(({ name }) => name === leaf.path[0]) as CommandSpec, [...leaf.path.slice(1), ...words(leaf), '--jsn']),
      /--jsn is not an option of kith .*; did you mean --json\?/,
      leaf.path.join(' '),
    )
  }
})

test('kith, real process, help and version and mistakes have their statuses', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
  assert.deepEqual(await stage.kith(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' })
  const help = await stage.kith(['--help'])
  assert.equal(help.status, 0)
  for (const { name } of COMMANDS) assert.match(help.stdout, new RegExp(`^ {2}${name} `, 'm'))
  const flag = await stage.kith(['status', '--jsno'])
  assert.equal(flag.status, 2)
  assert.equal(flag.stdout, '')
  assert.match(flag.stderr, /^error\[USAGE\] --jsno is not an option of kith status; did you mean --json\?\nnext: node .*kith\.mjs status --help\n$/)
  const word = await stage.kith(['stauts', '--json'])
  assert.equal(word.status, 2)
  assert.equal(errorOf(word.stderr).code, 'USAGE')
  assert.deepEqual(Object.keys(errorOf(word.stderr)), ['code', 'message', 'next', 'details'])
})

test('commands that need the node, no node, exit 3 and say how to start it', async () => {
  const needing: string[][] = [
    ['status'],
    ['invite'],
    ['confirm', 'x'],
    ['join', 'kith1x'],
    ['peers'],
    ['ping', 'x'],
    ['why', 'x'],
    ['allow', 'x', 'file'],
    ['forward', 'x:localhost:1'],
    ['tunnels'],
    ['tunnels', 'close', 'f1'],
    ['send', 'x', process.execPath],
    ['inbox'],
    ['policy', 'list'],
    ['network', 'stats'],
    ['logs'],
    ['metrics'],
    ['audit'],
    ['pub', 'x', 'y'],
    ['sub', 'x'],
    ['tell', 'x', 'y'],
    ['mailbox'],
    ['topics'],
    ['trust'],
    ['audit', 'verify'],
    ['config', 'reload'],
    ['id', 'unlock'],
  ]
  const outcomes = await Promise.all(needing.map((args) => stage.kith([...args, '--home', stage.home('nobody'), '--json'])))
  for (const [index, { status, stderr }] of outcomes.entries()) {
    const args = needing[index]?.join(' ')
    assert.equal(status, 3, args)
    assert.equal(errorOf(stderr).code, 'DAEMON_NOT_RUNNING', args)
    assert.match(errorOf(stderr).next ?? '', /up --home /)
  }
})

test('down, no node, is fine', async () => {
  assert.deepEqual(await stage.json(['down', '--home', stage.home('nobody')]), { stopped: false, pid: null })
})

test('an error, --debug, shows where it came from; without it there is no stack', async () => {
  const plain = await stage.kith(['status', '--home', stage.home('nobody')])
  assert.doesNotMatch(plain.stderr, /\n\s+at /)
  const debug = await stage.kith(['status', '--home', stage.home('nobody'), '--debug'])
  assert.match(debug.stderr, /\n\s+at /)
})

test('init, without a terminal, asks nothing, shows no phrase, twice is fine', async () => {
  const home = stage.home('init')
  const first = await stage.kith(['init', '--home', home, '--name', 'desk', '--json'])
  assert.equal(first.status, 0, first.stderr)
  const made = JSON.parse(first.stdout)
  assert.deepEqual(Object.keys(made), ['did', 'name', 'home', 'created'])
  assert.equal(made.created, true)
  assert.match(made.did, /^did:icn:z/)
  assert.equal(first.stdout.trim().split('\n').length, 1)
  assert.deepEqual(await stage.json(['init', '--home', home]), { ...made, created: false })
  const restore = await stage.kith(['init', '--restore', '--home', home, '--json'])
  assert.equal(errorOf(restore.stderr).code, 'IDENTITY_EXISTS')
  const shown = await stage.json(['id', 'show', '--home', home])
  assert.equal(shown.did, made.did)
  assert.equal(shown.passphrase, 'stored')
  const phrase = await stage.kith(['id', 'phrase', '--home', home])
  assert.equal(phrase.status, 2)
  assert.equal(phrase.stdout, '')
})

test('init, passphrase in a file, keys open with it alone', async () => {
  const { writeFile } = await import('node:fs/promises')
  const file = stage.home('secret')
  const wrong = stage.home('wrong')
  await writeFile(file, 'correct horse\n', { mode: 0o600 })
  await writeFile(wrong, 'battery staple\n', { mode: 0o600 })
  const home = stage.home('locked')
  await stage.json(['init', '--home', home, '--passphrase-file', file])
  const denied = await stage.kith(['id', 'device', 'renew', '--home', home, '--passphrase-file', wrong, '--json'])
  assert.equal(errorOf(denied.stderr).code, 'PASSPHRASE_WRONG')
  const none = await stage.kith(['id', 'device', 'renew', '--home', home, '--json'])
  assert.equal(errorOf(none.stderr).code, 'PASSPHRASE_REQUIRED')
  const changed = await stage.json(['id', 'passphrase', '--home', home, '--passphrase-file', file, '--no-passphrase'])
  assert.equal(changed.passphrase, 'stored')
  const before = await stage.json(['id', 'show', '--home', home])
  const rotated = await stage.json(['id', 'device', 'rotate', '--home', home])
  assert.equal(rotated.previous_link_key, before.link_key)
  assert.notEqual(rotated.link_key, before.link_key)
})

test('config, bad key in the file, exit 2 with its path', async () => {
  const { mkdir, writeFile } = await import('node:fs/promises')
  const home = stage.home('config')
  await mkdir(home, { mode: 0o700 })
  await writeFile(`${home}/config.toml`, '[link]\nprefre = ["tcp"]\n')
  const { status, stderr } = await stage.kith(['config', 'check', '--home', home, '--json'])
  assert.equal(status, 2)
  assert.equal(errorOf(stderr).code, 'CONFIG_INVALID')
  assert.match(JSON.stringify(errorOf(stderr).details), /link\.prefre/)
  await writeFile(`${home}/config.toml`, '[link]\nprefer = ["quic"]\n')
  const { settings } = await stage.json<{ settings: { path: string; value: unknown; source: string }[] }>(['config', 'show', '--home', home])
  assert.deepEqual(settings.find(({ path }) => path === 'link.prefer')?.value, ['quic'])
  assert.equal(settings.find(({ path }) => path === 'link.prefer')?.source, 'file')
})

test('doctor, fresh home, names what is missing', async () => {
  const { stdout, status } = await stage.kith(['doctor', '--home', stage.home('empty'), '--json'])
  const { checks } = JSON.parse(stdout) as { checks: { name: string; ok: boolean; detail: string; next: string | null }[] }
  assert.equal(status, 1)
  for (const check of checks) assert.deepEqual(Object.keys(check), ['name', 'ok', 'detail', 'next'])
  const keystore = checks.find(({ name }) => name === 'keystore')
  assert.equal(keystore?.ok, false)
  assert.match(keystore?.next ?? '', /init --home/)
  for (const name of ['versions', 'daemon', 'permissions', 'memory', 'clock', 'ports', 'udp', 'mdns', 'quic'])
    assert.ok(
      checks.some((check) => check.name === name),
      name,
    )
})

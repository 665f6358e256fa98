import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands/index.ts'
import { referencePage } from '../../src/cli/reference.ts'

const PAGE = new URL('../../docs/reference/cli.md', import.meta.url)

test('reference page, compared with the program, says the same', async () => {
  const specs = await Promise.all(COMMANDS.map(async (entry) => (await entry.load()).spec))
  const page = referencePage(specs)
  if (process.env.UPDATE_REFERENCE === '1') writeFileSync(PAGE, page)
  assert.equal(readFileSync(PAGE, 'utf8'), page, 'run the test with UPDATE_REFERENCE=1 to write the page anew')
})

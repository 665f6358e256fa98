import assert from 'node:assert/strict'
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands/index.ts'
import { loadOperations } from '../../src/daemon/worker/module.ts'

const guide = await readFile(new URL('../../docs/guides/calls.md', import.meta.url), 'utf8')

test('the module in the guide of calls, written down as it stands, is a worker', async () => {
  const code = /```typescript\n([\s\S]*?)```/.exec(guide)?.[1]
  assert.ok(code !== undefined)
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-guide-')))
  try {
    const file = join(folder, 'ops.ts')
    await writeFile(file, code)
    assert.deepEqual(
      (await loadOperations(file)).map(({ name, access }) => ({ name, access })),
      [{ name: 'fs/read', access: { all: ['fs:read'] } }],
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('the commands in the guide of calls, looked up, have the options that it names', async () => {
  const lines = [...guide.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, code]) => (code as string).trim().split('\n'))
  assert.ok(lines.length >= 10)
  for (const line of lines) {
    const [, name, ...words] = (line.split('#')[0] as string).trim().split(/\s+/)
    const entry = COMMANDS.find((command) => command.name === name)
    assert.ok(entry !== undefined, line)
    const { spec } = await entry.load()
    for (const word of words.filter((part) => part.startsWith('--')))
      assert.ok(
        spec.options?.some(({ flags }) => flags.split(/[ ,]+/).includes(word)),
        `${line}: ${word}`,
      )
  }
})

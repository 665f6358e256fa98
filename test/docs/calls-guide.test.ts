import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '..', '..')
const guide = readFileSync(join(ROOT, 'docs', 'guides', 'calls.md'), 'utf8')

/** What a reader would type after the blocks of the guide, which are one program. */
const USE = `
const events = []
for await (const item of me.stream('/clock/watch', {}, { deadlineMs: 5_000, lastEventId: ticks.push(2).id.replace(/\\d+$/, '0') })) {
  events.push(item.value)
  break
}
const id = await example(me)
const { operations: listed } = await me.call('/services/list')
console.log(JSON.stringify({ events, id, listed: listed.map(({ name }) => name) }))
`

test('the program in the guide of calls, put together, does what the guide says', async () => {
  const blocks = [...guide.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code as string)
  assert.ok(blocks.length >= 4)
  const program = blocks.join('\n') + USE
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=kith-source', '--input-type=module-typescript', '--eval', program], {
    cwd: ROOT,
    timeout: 30_000,
  })
  assert.deepEqual(JSON.parse(stdout), { events: [2], id: 1, listed: ['clock/watch', 'notes/add', 'notes/watch', 'services/list', 'services/schema'] })
})

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MetricFamily } from '../../src/core/observe/metrics.ts'
import { openRuntime } from '../../src/daemon/runtime.ts'

const PAGE = new URL('../../docs/metrics.md', import.meta.url)
const BEGIN = '| metric | kind | labels | what it says |\n|---|---|---|---|\n'

/** A whole node registers everything that any part of it counts. */
async function families(): Promise<readonly MetricFamily[]> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-metrics-')))
  try {
    const runtime = await openRuntime({
      home: join(folder, 'home'),
      env: { XDG_STATE_HOME: join(folder, 'state'), KITH_DISCOVERY_MDNS: 'false' },
      flags: { listen: ['tcp://127.0.0.1:0'] },
      create: { name: 'metrics' },
      control: false,
    })
    try {
      assert.deepEqual(runtime.supervisor.troubles(), [])
      return runtime.metrics.families()
    } finally {
      await runtime.close()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function row({ name, kind, help, labels }: MetricFamily): string {
  return `| \`${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help.replaceAll('|', '\\|')} |\n`
}

test('page of metrics, compared with what a node registers, lists every one as it is', { timeout: 60_000 }, async () => {
  const rows = [...(await families())].sort((a, b) => (a.name < b.name ? -1 : 1)).map(row)
  const page = readFileSync(PAGE, 'utf8')
  const start = page.indexOf(BEGIN) + BEGIN.length
  assert.ok(start >= BEGIN.length, 'the page has the table')
  const rest = page.slice(start)
  const end = start + (/^(?!\|)/m.exec(rest)?.index ?? rest.length)
  const wanted = page.slice(0, start) + rows.join('') + page.slice(end)
  if (process.env.UPDATE_REFERENCE === '1') writeFileSync(PAGE, wanted)
  assert.equal(readFileSync(PAGE, 'utf8'), wanted, 'run the test with UPDATE_REFERENCE=1 to write the table anew')
})

test('page of metrics, every metric it names, exists', () => {
  const page = readFileSync(PAGE, 'utf8')
  const listed = new Set([...page.matchAll(/^\| `(kith_\w+)` \|/gm)].map(([, name]) => name))
  for (const [, name] of page.matchAll(/`(kith_\w+)/g)) assert.ok(listed.has(name), `${name} is in the table`)
})

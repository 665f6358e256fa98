import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { typeGuide } from './typed.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const GUIDE = readFileSync(join(ROOT, 'docs', 'guides', 'messages-and-trust.md'), 'utf8')
const PROGRAM = /^```ts\n([\s\S]*?)^```/m.exec(GUIDE)?.[1] as string

test('the guide to messages and trust, typed line by line, works', { timeout: 300_000 }, async () => {
  await typeGuide(
    'messages-and-trust',
    ({ stdout, stderr }) => {
      assert.match(stdout, /alice {2}the mill is open\n/)
      assert.match(stdout, /did:icn:z\w+ {2}the mill is open\n/, 'carol does not know alice by name')
      assert.match(stdout, /^denied {2}the topic board asks for a standing of 0\.4/m)
      assert.match(stdout, /^allowed {2}by allow/m)
      assert.match(stdout, /^delivered {2}to bob$/m)
      assert.match(stdout, /^alice .* new\n {2}see you at the mill$/m)
      assert.match(stdout, /^kept by +bob$/m)
      assert.match(stdout, /^score +0\.06, from 0\.00 here and 0\.20 through others$/m)
      assert.match(stdout, /^alice +banned /m)
      assert.match(stdout, /^denied {2}banned until .*floods the topic/m)
      assert.match(stdout, /owner +pardon +alice +a loose cable/)
      assert.match(stdout, /^intact {2}\d+ rows$/m)
      assert.doesNotMatch(stderr, /^error/m)
    },
    { homes: ['alice', 'bob', 'carol'] },
  )
})

test('the program of the guide to messages and trust, runs', { timeout: 60_000 }, async () => {
  const folder = join(ROOT, '.cache', 'guide')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'program.ts')
  writeFileSync(file, PROGRAM)
  try {
    const { stdout } = await run(process.execPath, ['--conditions=kith-source', file], { cwd: ROOT, timeout: 50_000 })
    assert.equal(stdout, 'true the mill is open\ndelivered see you at the mill\n2500 allowed\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { CORPUS, replay } from '../fuzz/mutate.ts'
import { allTargets } from '../fuzz/targets/index.ts'

for (const target of allTargets) replay(target)

test('corpus, each of its folders, belongs to a target', () => {
  const known = new Set(allTargets.map(({ name }) => name))
  assert.equal(known.size, allTargets.length, 'names are unique')
  const folders = existsSync(CORPUS) ? readdirSync(CORPUS) : []
  assert.deepEqual(
    folders.filter((folder) => !known.has(folder)),
    [],
  )
})

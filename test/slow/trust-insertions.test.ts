import assert from 'node:assert/strict'
import { test } from 'node:test'
import { insertions } from '../trust/insertions.ts'

test('scores, a million random insertions, never fall', () => {
  assert.equal(insertions(1_000_000, 1_500, 'slow').lowered, 0)
})

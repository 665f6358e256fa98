/** Every step of a restore, some 150 of them, each on a copy of a home that is then opened: a minute on a quiet machine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cutEverywhere, world } from '../backup/support.ts'

test('a restore killed at every step, leaves the old home or the new one, whole', { timeout: 300_000 }, async (t) => {
  const { old, fresh } = await cutEverywhere(world(t), 'kill', 1)
  assert.ok(old > 20 && fresh > 10, `${old} times the old home, ${fresh} times the new one`)
})

test('a disk that is full at every step of a restore, is said to be, and the home is the old one or the new one', { timeout: 300_000 }, async (t) => {
  const { refused } = await cutEverywhere(world(t), 'full', 1)
  assert.ok(refused > 20, `${refused} refusals`)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { typeGuide } from './typed.ts'

test('the guide to keys, typed line by line, works', { timeout: 300_000 }, async () => {
  await typeGuide(
    'keys',
    ({ stdout, stderr }) => {
      assert.match(stdout, /^first-seen {2}only it showed its keys: at most known$/m)
      assert.match(stdout, /^alice +partner +first-seen /m)
      assert.match(stdout, /^alice vouched for: its class counts now$/m)
      assert.match(stdout, /^alice +partner +anchored /m)
      assert.match(stdout, /^1 +rotate +scheduled /m)
      assert.match(stdout, /^rotated {2}the identity is at entry 2 of its chain/m)
      assert.match(stdout, /^rotated {2}this machine's link key is /m)
      assert.match(stdout, /^kith_link_key_age_seconds \d+$/m)
      assert.match(stdout, /owner +peer\.anchor +alice/)
      assert.match(stderr, /CONFIRM_NOTHING/)
      assert.doesNotMatch(stderr, /^error(?!\[CONFIRM_NOTHING\])/m)
    },
    { homes: ['alice', 'bob'] },
  )
})

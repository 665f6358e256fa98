import assert from 'node:assert/strict'
import { test } from 'node:test'
import { typeGuide } from './typed.ts'

test('the guide to devices, typed line by line, works', { timeout: 300_000 }, async () => {
  await typeGuide(
    'devices',
    ({ stdout, stderr }) => {
      assert.match(stdout, /^joined {2}phone is a machine of did:icn:z\w+$/m)
      assert.match(stdout, /^laptop +[0-9a-f]{64} +link records +\d{4}-\d\d-\d\d +this one$/m)
      assert.match(stdout, /^phone +[0-9a-f]{64} +link records +\d{4}-\d\d-\d\d +this one$/m)
      assert.match(stdout, /^the keys of this identity are on another machine$/m)
      assert.match(stdout, /^key +on another machine$/m)
      assert.match(stdout, /^renewed {2}valid until /m)
      assert.match(stdout, /^revoked {2}phone [0-9a-f]{64}$/m)
      assert.match(stdout, /^phone +[0-9a-f]{64} +revoked \d{4}-\d\d-\d\d: lost$/m)
      assert.match(stdout, /owner +device\.approve /)
      assert.match(stdout, /owner +device\.revoke .*lost/)
      assert.match(stdout, /#device-/)
      assert.match(stderr, /^error\[IDENTITY_MISSING\]/m)
      assert.match(stderr, /^next: run this on the machine that holds the identity$/m)
      assert.doesNotMatch(stderr, /^error(?!\[IDENTITY_MISSING\])/m)
    },
    { homes: ['laptop', 'phone'] },
  )
})

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { typeGuide } from './typed.ts'

const MISSING = ['curl', 'ssh-keygen'].filter((program) => spawnSync(program, ['-?']).error !== undefined)

test('the guide to access, typed line by line, works', { timeout: 120_000, skip: MISSING.length > 0 && `without ${MISSING.join(' and ')}` }, async () => {
  await typeGuide(
    'access',
    ({ stdout, stderr }) => {
      assert.equal([...stdout.matchAll(/"version":/g)].length, 2, 'the key and the token are answered once each')
      assert.match(stdout, /^denied {2}by deny key:ci call node\/status --via http$/m)
      assert.match(stdout, /^refused: 404$/m)
      assert.match(stdout, /^revoked: 401$/m)
      assert.match(stdout, /again: 401$/m)
      assert.match(stdout, /^added {2}SHA256:\S{43} {2}logs in$/m)
      assert.match(stdout, /^added {2}SHA256:\S{43} {2}signs certificates$/m)
      assert.match(stdout, /^granted {2}ssh:SHA256:\S{43} {2}reports:read$/m)
      assert.match(stdout, /^SHA256:\S{43} +signs certificates for deploy +authority/m)
      assert.match(stdout, /owner +access\.key\.add +key:ci/)
      assert.match(stdout, /owner +access\.ssh\.revoke/)
      assert.doesNotMatch(stdout, /alk_[A-Za-z0-9_-]{43}/, 'no key in lists or logs')
      assert.doesNotMatch(stderr, /^error/m)
    },
    { homes: ['desk'], pipefail: true, timeoutMs: 100_000 },
  )
})

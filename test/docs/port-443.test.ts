import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { typeGuide } from './typed.ts'

const missing = ['curl', 'openssl'].find((program) => spawnSync(program, ['--version']).error !== undefined)

test('the guide to port 443, typed line by line, works', {
  timeout: 120_000,
  skip: missing === undefined ? false : `${missing} is not installed`,
}, async () => {
  await typeGuide(
    'port-443',
    ({ stdout, stderr }) => {
      assert.match(stdout, /^<h1>My garden<\/h1>$/m)
      assert.match(stdout, /<center><h1>404 Not Found<\/h1><\/center>\r?\n<hr><center>nginx\/1\.22\.1<\/center>/)
      assert.match(stdout, /wss:\/\/127\.0\.0\.1:18443/)
      assert.doesNotMatch(stderr, /^error/m)
    },
    { homes: ['server', 'laptop'], timeoutMs: 100_000 },
  )
})

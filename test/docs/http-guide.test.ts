import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { typeGuide } from './typed.ts'

test('the guide to HTTP, typed line by line, works', { timeout: 120_000 }, async () => {
  await typeGuide(
    'http',
    ({ stdout, stderr }) => {
      assert.match(stdout, /\{"did":"did:icn:[^"]+","name":"desk","version":"[^"]+"\}/)
      assert.match(stdout, /"uptime_s":\d+/)
      assert.match(stdout, /\{"error":\{"code":"GATEWAY_UNAUTHORIZED",/)
      assert.match(stdout, /^\{"error":\{"code":"CALL_UNKNOWN",/m)
      assert.match(stdout, /^1$/m)
      assert.match(stdout, /^.*\bnode_about node_status\b.*\ndesk$/m)
      // By WebSocket, behind the tools.
      assert.match(stdout, /^desk\ndesk$/m)
      assert.doesNotMatch(stderr, /^error/m)
    },
    { prepare: (folder) => symlinkSync(join(import.meta.dirname, '..', '..', 'node_modules'), join(folder, 'node_modules')), timeoutMs: 100_000 },
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { typeGuide } from './typed.ts'

test('the guide to key files, typed line by line, works', { timeout: 300_000 }, async () => {
  await typeGuide('key-files', ({ stdout, stderr }) => {
    assert.match(stdout, /^exported {2}did:icn:\S+ to \.\/desk\.kith$/m)
    assert.match(stdout, /^imported {2}laptop {2}did:icn:/m)
    assert.match(stdout, /^elsewhere {2}another machine changes the keys/m)
    assert.match(stdout, /^changed {2}did:icn:/m)
    assert.match(
      stdout,
      /^set {2}a second passphrase opens another identity\nno second passphrase\nset {2}a second passphrase opens another identity\nno second passphrase$/m,
    )
    assert.doesNotMatch(stderr, /^error/m)
  })
})

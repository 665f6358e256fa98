import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  ETHEREUM,
  encryptionKeyPath,
  HARDENED,
  IDENTITY,
  identityKeyPath,
  identityMldsaPath,
  parsePath,
  SSH_HOST,
  sitePasswordPath,
  workerPath,
} from '../../src/vault/paths.ts'

test('path, every list of indices, has exactly one text and is read back from it', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: HARDENED - 1 }), fc.boolean()), { maxLength: 16 }), (parts) => {
      const path = ['m', ...parts.map(([index, hard]) => `${index}${hard ? "'" : ''}`)].join('/')
      assert.deepEqual(
        parsePath(path),
        parts.map(([index, hard]) => index + (hard ? HARDENED : 0)),
      )
    }),
  )
})

test('path, malformed in any way, refused', () => {
  const bad = [
    '',
    'M',
    'n/0',
    '/0',
    'm/',
    'm//0',
    "m/0''",
    "m/'",
    'm/00',
    'm/01',
    'm/-1',
    'm/+1',
    'm/1.0',
    'm/1e3',
    'm/ 1',
    'm/1 ',
    'm/0h',
    'm/0H',
    'm/0’',
    'mm/0',
  ]
  bad.push(
    'm/2147483648',
    "m/2147483648'",
    'm/4294967296',
    `m/${'9'.repeat(40)}`,
    `m${'/0'.repeat(17)}`,
    `m${'/0'.repeat(100_000)}`,
    "m/74'/0'/0'/0'\n",
    'm/abc123',
  )
  for (const path of bad) assert.throws(() => parsePath(path), { code: 'PATH_INVALID' }, JSON.stringify(path.slice(0, 40)))
})

test('named paths, every one, are spelled as published and can be read', () => {
  assert.equal(IDENTITY, "m/74'/0'/0'/0'")
  assert.equal(identityKeyPath(0), IDENTITY)
  assert.equal(identityKeyPath(1), "m/74'/0'/2'/1'")
  assert.equal(identityMldsaPath(0), "m/74'/0'/3'/0'")
  assert.equal(workerPath(3), "m/74'/0'/0'/3'")
  assert.equal(encryptionKeyPath(2), "m/74'/2'/0'/0'")
  assert.equal(sitePasswordPath('example.org'), sitePasswordPath('example.org'))
  assert.notEqual(sitePasswordPath('example.org'), sitePasswordPath('example.com'))
  for (const path of [IDENTITY, SSH_HOST, ETHEREUM, sitePasswordPath('abc123'), identityKeyPath(HARDENED - 1)]) parsePath(path)
})

test('named paths, an index out of range, refused', () => {
  for (const index of [-1, 0.5, HARDENED, Number.NaN]) assert.throws(() => identityKeyPath(index), { code: 'PATH_INVALID' })
  assert.throws(() => workerPath(0), { code: 'PATH_INVALID' })
  assert.throws(() => encryptionKeyPath(1), { code: 'PATH_INVALID' })
})

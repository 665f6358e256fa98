import assert from 'node:assert/strict'
import { basename, join, normalize } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { isKithError } from '../../src/core/errors.ts'
import { alternatives, checkName } from '../../src/files/names.ts'

test('any name that is accepted stays inside its directory and is unchanged', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
      try {
        assert.equal(checkName(name), name)
      } catch (error) {
        assert.ok(isKithError(error, 'FILE_NAME'))
        return
      }
      assert.equal(basename(name), name)
      assert.equal(normalize(join('inbox', name)), join('inbox', name))
      assert.ok(Buffer.byteLength(name) <= 240)
    }),
    { numRuns: 2_000 },
  )
})

test('ordinary names of many scripts are accepted', () => {
  for (const name of ['report.pdf', 'Ärger über Öl.txt', '写真 (1).jpg', 'a.tar.gz', '2026-01-01 notes', '_x', 'console.log'])
    assert.equal(checkName(name), name)
})

test('alternatives keep the extension and never repeat', () => {
  const names = [...alternatives('a.tar.gz')].slice(0, 3)
  assert.deepEqual(names, ['a.tar.gz', 'a.tar (1).gz', 'a.tar (2).gz'])
  assert.equal(new Set(alternatives('x')).size, 1_000)
})

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder } from '../../src/core/make-folder.ts'

test('a folder and those above it, made for this user alone, twice with the same end', () => {
  const root = mkdtempSync(join(tmpdir(), 'kith-folder-'))
  try {
    const deep = join(root, 'a', 'b', 'c')
    makeFolder(deep)
    makeFolder(deep)
    for (const path of [deep, join(root, 'a')]) assert.equal(statSync(path).mode & 0o777, 0o700)
    writeFileSync(join(root, 'file'), '')
    assert.throws(() => makeFolder(join(root, 'file')), { code: 'EEXIST' })
    assert.throws(() => makeFolder(join(root, 'file', 'below')), { code: 'ENOTDIR' })
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

test('a folder, where none can be made, is an error and not tried for ever', { skip: process.platform === 'linux' ? false : 'only Linux has /proc' }, () => {
  assert.throws(() => makeFolder('/proc/kith-none/below'), { code: 'ENOENT' })
})

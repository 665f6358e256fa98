import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkRequest } from '../../src/call/frames.ts'
import { parseCallPath } from '../../src/call/names.ts'

const fields = (path: string) => ({ path, items: false, inputs: false })

test('paths of requests, the empty one and bad ones after good ones, refused each time', () => {
  for (const path of ['', 'a/b', '', 'a b', 'a/b', 'a b', `/${'a'.repeat(255)}`]) {
    if (path === 'a/b') checkRequest(fields(path))
    else assert.throws(() => checkRequest(fields(path)), TypeError, path)
  }
})

test('paths of calls, asked in any order, read as if each were the first', () => {
  const ways: readonly (readonly [string, ReturnType<typeof parseCallPath>])[] = [
    ['', undefined],
    ['files/read', { node: '', name: 'files/read' }],
    ['/files/read', { node: '', name: 'files/read' }],
    ['/box/files/read', { node: 'box', name: 'files/read' }],
    ['/box/files/../read', undefined],
    ['x'.repeat(300), undefined],
  ]
  for (const first of ways) {
    for (const [path, expected] of [first, ...ways, first, first]) assert.deepEqual(parseCallPath(path), expected, path)
  }
})

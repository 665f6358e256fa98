import assert from 'node:assert/strict'
import { test } from 'node:test'
import { table } from '../../src/cli/style.ts'

const rows = [
  ['peer', 'class', 'path'],
  ['desk', 'partner', 'tcp://192.0.2.7:4433  quic://192.0.2.7:4433'],
]

test('table, no terminal, every line is as long as it is', () => {
  assert.deepEqual(table(rows), ['peer  class    path', 'desk  partner  tcp://192.0.2.7:4433  quic://192.0.2.7:4433'])
})

test('table, narrower terminal, the last column goes on below itself', () => {
  const indent = ' '.repeat('desk  partner  '.length)
  assert.deepEqual(table(rows, { columns: 40 }), ['peer  class    path', 'desk  partner  tcp://192.0.2.7:4433', `${indent}quic://192.0.2.7:4433`])
})

test('table, narrower terminal, spare columns are left out in their order and only as many as needed', () => {
  assert.deepEqual(table(rows, { columns: 52, spare: [1, 0] })[1], 'desk  tcp://192.0.2.7:4433  quic://192.0.2.7:4433')
  assert.deepEqual(table(rows, { columns: 44, spare: [1, 0] })[1], 'tcp://192.0.2.7:4433  quic://192.0.2.7:4433')
  assert.deepEqual(table(rows, { columns: 200, spare: [1, 0] }), table(rows))
})

test('table, word longer than the terminal, stays whole', () => {
  assert.deepEqual(table([['did', 'did:icn:z99Q3gxBbZdoyAeMcE3nESgkytk3D2fKKDmfcQhXMp1js is new']], { columns: 40 }), [
    'did  did:icn:z99Q3gxBbZdoyAeMcE3nESgkytk3D2fKKDmfcQhXMp1js',
    '     is new',
  ])
})

test('table, row shorter than the others, is not padded', () => {
  assert.deepEqual(table([['a', 'b', 'c'], ['alone']]), ['a      b  c', 'alone'])
})

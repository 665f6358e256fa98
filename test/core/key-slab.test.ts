import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keySlabUse, leaseKey } from '../../src/core/key-slab.ts'

test('key lease, released, is zeroed and its memory is handed out again', () => {
  const lease = leaseKey()
  const { bytes } = lease
  assert.deepEqual([...bytes], [...new Uint8Array(32)])
  bytes.fill(7)
  lease.release()
  assert.equal(
    bytes.every((byte) => byte === 0),
    true,
  )
  const next = leaseKey()
  assert.equal(next.bytes.byteOffset, bytes.byteOffset)
  assert.equal(next.bytes.buffer, bytes.buffer)
  next.release()
})

test('key lease, released twice, does not hand the memory to two holders', () => {
  const lease = leaseKey()
  lease.release()
  lease.release()
  const a = leaseKey()
  const b = leaseKey()
  assert.notEqual(a.bytes.byteOffset, b.bytes.byteOffset)
  a.release()
  b.release()
})

test('key leases, a thousand, never overlap and share pages', () => {
  const before = keySlabUse()
  const leases = Array.from({ length: 1000 }, (_, i) => {
    const lease = leaseKey(i % 3 === 0 ? 64 : 32)
    lease.bytes.fill(i & 0xff)
    return lease
  })
  leases.forEach((lease, i) => {
    assert.equal(
      lease.bytes.every((byte) => byte === (i & 0xff)),
      true,
    )
  })
  const used = keySlabUse()
  assert.equal(used.leased - before.leased, 1000)
  assert.ok(used.pages - before.pages <= 12)
  for (const lease of leases) lease.release()
  assert.equal(keySlabUse().leased, before.leased)
  const again = Array.from({ length: 600 }, () => leaseKey())
  assert.equal(keySlabUse().pages, used.pages)
  for (const lease of again) lease.release()
})

test('key lease, impossible length, is a mistake of the caller', () => {
  for (const length of [0, -1, 257, 1.5]) assert.throws(() => leaseKey(length), TypeError)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClientHelloReader } from '../../src/transport/front/client-hello.ts'

/** A stranger at the port that links, SSH and a site share. */

test('a hello that comes a byte at a time, each byte in a record of its own, costs no more for every byte than the first', () => {
  const message = Buffer.alloc(16_384)
  message[0] = 1
  message.writeUIntBE(16_380, 1, 3)
  const records = Buffer.concat([...message.subarray(0, 5_000)].map((byte) => Buffer.from([0x16, 3, 1, 0, 1, byte])))
  let looks = 0
  const counted = (bytes: Buffer): Buffer =>
    new Proxy(bytes, {
      get(target, name) {
        looks++
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  const reader = new ClientHelloReader()
  for (let length = 1; length <= records.length; length++) assert.equal(reader.read(counted(records.subarray(0, length))), 'incomplete')
  assert.ok(looks < 20 * records.length, `${looks} looks at ${records.length} bytes`)
})

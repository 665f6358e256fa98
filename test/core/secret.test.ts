import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { systemRandom } from '../../src/core/random.ts'
import { memoryLocking, Secret } from '../../src/core/secret.ts'

const wiped = { code: 'SECRET_WIPED' }

test('secret, taken from bytes, holds them and zeroes the source', () => {
  const source = Uint8Array.of(1, 2, 3)
  const secret = Secret.take(source)
  assert.deepEqual(source, new Uint8Array(3))
  assert.deepEqual(
    secret.use((bytes) => [...bytes]),
    [1, 2, 3],
  )
  assert.equal(secret.length, 3)
})

test('secret, fresh, is all zeros until filled', () => {
  const secret = Secret.alloc(4)
  assert.deepEqual(
    secret.use((bytes) => [...bytes]),
    [0, 0, 0, 0],
  )
  secret.fill((bytes) => bytes.set([9], 3))
  assert.deepEqual(
    secret.use((bytes) => [...bytes]),
    [0, 0, 0, 9],
  )
})

test('secret, random, differs each time', () => {
  assert.equal(Secret.random(32, systemRandom).equals(Secret.random(32, systemRandom)), false)
})

test('secret, compared, is equal by content and unequal by length', () => {
  const secret = Secret.random(32, systemRandom)
  const copy = secret.clone()
  assert.equal(secret.equals(copy), true)
  assert.equal(secret.equals(secret), true)
  copy.fill((bytes) => bytes.writeUInt8(bytes.readUInt8(31) ^ 1, 31))
  assert.equal(secret.equals(copy), false)
  assert.equal(secret.equals(Secret.alloc(31)), false)
})

test('secret, wiped, refuses every use and stays wiped', () => {
  const secret = Secret.alloc(8)
  const copy = secret.clone()
  secret.wipe()
  secret.wipe()
  assert.equal(secret.wiped, true)
  assert.throws(() => secret.use(() => 0), wiped)
  assert.throws(() => secret.fill(() => undefined), wiped)
  assert.throws(() => secret.clone(), wiped)
  assert.throws(() => copy.equals(secret), wiped)
  assert.equal(copy.wiped, false)
})

test('secret, wiped inside use, is readable to the end of that use only', () => {
  const secret = Secret.take(Uint8Array.of(7))
  const read = secret.use((bytes) => {
    secret.use(() => secret.wipe())
    assert.throws(() => secret.use(() => 0), wiped)
    return bytes[0]
  })
  assert.equal(read, 7)
  assert.throws(() => secret.use(() => 0), wiped)
})

test('secret, reader throws, is shut again and usable', () => {
  const secret = Secret.take(Uint8Array.of(7))
  assert.throws(() => {
    secret.use(() => {
      throw new RangeError('reader')
    })
  }, RangeError)
  assert.equal(
    secret.use((bytes) => bytes[0]),
    7,
  )
})

test('secret, reader is asynchronous, is refused as a mistake', () => {
  const secret = Secret.alloc(1)
  assert.throws(() => secret.use(async () => undefined), TypeError)
  assert.throws(() => secret.use(() => secret.fill(() => undefined)), TypeError)
})

test('secret, any string form, shows nothing of the content', () => {
  const secret = Secret.take(Buffer.from('correct horse'))
  for (const form of [String(secret), JSON.stringify({ secret }), inspect(secret), inspect({ a: [secret] }), `${secret}`]) {
    assert.match(form, /\[Secret\]/)
    assert.doesNotMatch(form, /horse|63 6f|636f|99,/)
  }
  assert.deepEqual(Object.keys(secret), ['length'])
})

test('secret, impossible length, is a mistake of the caller', () => {
  for (const length of [0, -1, 1.5, Number.NaN, 2 ** 30]) assert.throws(() => Secret.alloc(length), TypeError)
})

test('secret, in the memory of a wiped one, starts as zeros and is its own', () => {
  for (let round = 0; round < 200; round++) {
    const secrets = Array.from({ length: 3 }, () => Secret.alloc(40))
    for (const [i, secret] of secrets.entries()) secret.fill((bytes) => bytes.fill(i + 1))
    for (const [i, secret] of secrets.entries())
      assert.equal(
        secret.use((bytes) => bytes.every((byte) => byte === i + 1)),
        true,
      )
    for (const secret of secrets) secret.wipe()
    const next = Secret.alloc(40)
    assert.equal(
      next.use((bytes) => bytes.every((byte) => byte === 0)),
      true,
    )
    assert.throws(() => secrets[0]?.use(() => 0), wiped)
    next.wipe()
  }
})

/** Runs source in a child and returns its signal: what happens to a process that touches guarded memory. */
function signalOf(body: string): NodeJS.Signals | null {
  const url = new URL('../../src/core/secret.ts', import.meta.url).href
  const source = `import { Secret } from ${JSON.stringify(url)}; ${body}`
  const child = spawnSync(process.execPath, [...process.execArgv.filter((flag) => !flag.startsWith('--test')), '--input-type=module', '-e', source], {
    stdio: 'ignore',
    timeout: 20_000,
  })
  return child.signal
}

test('secret, touched outside use, ends the process', { skip: process.platform === 'win32' }, () => {
  assert.equal(signalOf('const s = Secret.alloc(1); s.use((b) => b[0])'), null)
  assert.equal(signalOf('const s = Secret.alloc(1); let kept; s.use((b) => { kept = b }); kept[0]'), 'SIGSEGV')
  assert.equal(signalOf('const s = Secret.alloc(1); s.use((b) => { b[0] = 1 })'), 'SIGSEGV')
  assert.equal(signalOf('const s = Secret.alloc(1); let kept; s.use((b) => { kept = b }); s.wipe(); kept[0]'), 'SIGSEGV')
})

test('secret, tens of thousands of all lengths made and wiped, go through the same few pages', { skip: process.platform !== 'linux' }, () => {
  const mappings = (): number => readFileSync('/proc/self/maps', 'latin1').split('\n').length
  const many = Array.from({ length: 100 }, (_, i) => Secret.alloc(500 + i))
  for (const secret of many) secret.wipe()
  const before = mappings()
  // The system gives a process some 65,000 mappings; each guarded page takes two or more until the garbage collector comes by, if it does.
  for (let i = 0; i < 20_000; i++) Secret.alloc(1 + (i % 3_000)).wipe()
  for (let i = 0; i < 500; i++) Secret.alloc(5_000 + i * 100).wipe()
  assert.ok(mappings() - before < 100, `${mappings() - before} more mappings`)
})

test('memory locking, probed, says whether and how much', () => {
  const { ok, detail } = memoryLocking()
  assert.equal(typeof ok, 'boolean')
  assert.match(detail, /lock/)
})

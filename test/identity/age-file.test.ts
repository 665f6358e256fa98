import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Decrypter, Encrypter } from 'age-encryption'
import fc from 'fast-check'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { openAge, sealAge } from '../../src/identity/age-file.ts'
import { ScryptRecipient } from '../../src/identity/age-scrypt.ts'
import { secret, textOf, WORK_FACTOR } from './temp.ts'

const cheap = { random: systemRandom, workFactor: WORK_FACTOR }
const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'opened',
    (error: { code?: string }) => error.code ?? String(error),
  )

test('age file, any content up to several chunks, opens again and with the age library', async () => {
  for (const length of [1, 100, 65_535, 65_536, 65_537, 131_072, 200_000]) {
    const content = systemRandom.bytes(length)
    const file = await sealAge(Secret.take(Uint8Array.from(content)), secret('pass phrase'), cheap)
    const opened = await openAge(file, secret('pass phrase'))
    assert.ok(opened.use((bytes) => bytes.equals(content)))
    const library = new Decrypter()
    library.addPassphrase('pass phrase')
    assert.deepEqual(Buffer.from(await library.decrypt(file)), Buffer.from(content))
  }
})

test('age file, written by the age library, opens here', async () => {
  for (const length of [1, 65_536, 70_000]) {
    const library = new Encrypter()
    library.setPassphrase('pass phrase')
    library.setScryptWorkFactor(10)
    const content = systemRandom.bytes(length)
    const opened = await openAge(await library.encrypt(content), secret('pass phrase'))
    assert.ok(opened.use((bytes) => bytes.equals(content)))
  }
})

test('age file, a wrong passphrase, is told from damage', async () => {
  const file = await sealAge(secret('content'), secret('right'), cheap)
  assert.equal(await codeOf(openAge(file, secret('wrong'), true)), 'PASSPHRASE_WRONG')
  assert.equal(await codeOf(openAge(file, secret('wrong'), undefined)), 'PASSPHRASE_WRONG')
  assert.equal(await codeOf(openAge(file, secret('wrong'), false)), 'KEYSTORE_DAMAGED')
})

test('age file, any one byte changed, is KEYSTORE_DAMAGED when its checksum is known', async () => {
  const file = await sealAge(secret('content'), secret('right'), cheap)
  for (let at = 0; at < file.length; at++) {
    const bad = Uint8Array.from(file)
    bad[at] = (bad[at] as number) ^ 1
    assert.equal(await codeOf(openAge(bad, secret('right'), false)), 'KEYSTORE_DAMAGED', `byte ${at}`)
  }
})

test('age file, cut at any length, is KEYSTORE_DAMAGED', async () => {
  const file = await sealAge(secret('content'), secret('right'), cheap)
  for (let length = 0; length < file.length; length++) {
    assert.equal(await codeOf(openAge(file.subarray(0, length), secret('right'))), 'KEYSTORE_DAMAGED', `${length} bytes`)
  }
  const endless = new Uint8Array(2_000_000)
  endless.set(file)
  assert.equal(await codeOf(openAge(endless, secret('right'))), 'KEYSTORE_DAMAGED')
})

test('age file, a chunk dropped, repeated or exchanged, is KEYSTORE_DAMAGED', async () => {
  const file = await sealAge(Secret.random(3 * 65_536, systemRandom), secret('right'), cheap)
  const start = file.length - 3 * 65_552
  const chunk = (n: number) => file.subarray(start + n * 65_552, start + (n + 1) * 65_552)
  const head = file.subarray(0, start)
  for (const order of [
    [0, 1],
    [0, 2],
    [1, 0, 2],
    [0, 1, 1, 2],
    [0, 1, 2, 2],
  ]) {
    const bad = Buffer.concat([head, ...order.map(chunk)])
    assert.equal(await codeOf(openAge(bad, secret('right'))), 'KEYSTORE_DAMAGED', order.join())
  }
})

test('age file, of another kind or too costly to open, is KEYSTORE_UNSUPPORTED before any work', async () => {
  const file = Buffer.from(await sealAge(secret('content'), secret('right'), cheap)).toString('latin1')
  const altered = (from: RegExp, to: string) => openAge(Buffer.from(file.replace(from, to), 'latin1'), secret('right'))
  for (const factor of ['21', '64', '0', '04', '999', '-1', '4x']) {
    assert.equal(await codeOf(altered(/(-> scrypt \S+) 4\n/, `$1 ${factor}\n`)), 'KEYSTORE_UNSUPPORTED', factor)
  }
  assert.equal(await codeOf(altered(/-> scrypt/, '-> script')), 'KEYSTORE_UNSUPPORTED')
  assert.equal(await codeOf(altered(/-> scrypt (\S+)/, '-> scrypt AAAA')), 'KEYSTORE_UNSUPPORTED')
  const library = new Encrypter()
  library.addRecipient('age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj')
  assert.equal(await codeOf(openAge(await library.encrypt('x'), secret('right'))), 'KEYSTORE_UNSUPPORTED')
  library.addRecipient(new ScryptRecipient(secret('right'), WORK_FACTOR, systemRandom))
  assert.equal(await codeOf(openAge(await library.encrypt('x'), secret('right'))), 'KEYSTORE_UNSUPPORTED')
  const both = new Encrypter()
  both.addRecipient(new ScryptRecipient(secret('right'), WORK_FACTOR, systemRandom))
  both.addRecipient(new ScryptRecipient(secret('right'), WORK_FACTOR, systemRandom))
  assert.equal(await codeOf(openAge(await both.encrypt('x'), secret('right'))), 'KEYSTORE_UNSUPPORTED')
})

test('age file, arbitrary bytes, only ever fails with a keystore code', async () => {
  const prefix = fc.constantFrom('', 'age-encryption.org/v1\n', 'age-encryption.org/v1\n-> scrypt ', 'age-encryption.org/v1\n--- ')
  await fc.assert(
    fc.asyncProperty(prefix, fc.uint8Array({ maxLength: 300 }), async (start, rest) => {
      const code = await codeOf(openAge(Buffer.concat([Buffer.from(start), rest]), secret('right')))
      assert.ok(code === 'KEYSTORE_DAMAGED' || code === 'KEYSTORE_UNSUPPORTED', code)
    }),
    { numRuns: 60 },
  )
})

test('age file, two sealed from one content, differ everywhere but in form', async () => {
  const a = await sealAge(secret('content'), secret('right'), cheap)
  const b = await sealAge(secret('content'), secret('right'), cheap)
  assert.equal(a.length, b.length)
  assert.ok(!Buffer.from(a).equals(b))
  assert.equal(textOf(await openAge(b, secret('right'))), 'content')
})

test('age file, several opened at once, each gets its own content', async () => {
  const names = ['one', 'two', 'three', 'four']
  const files = await Promise.all(names.map((name) => sealAge(secret(name), secret(`pass ${name}`), cheap)))
  const opened = await Promise.all(files.map((file, at) => openAge(file, secret(`pass ${names[at]}`))))
  assert.deepEqual(opened.map(textOf), names)
})

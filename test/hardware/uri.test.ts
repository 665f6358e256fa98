import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatTokenUri, parseTokenUri } from '../../src/identity/hardware/uri.ts'

test('token address, all attributes, is read with its escapes', () => {
  assert.deepEqual(
    parseTokenUri('pkcs11:token=my%20home;manufacturer=SoftHSM%20project;serial=9f31;model=v2;object=kith;id=%01%fF;type=private?module-path=/usr/lib/a.so'),
    {
      token: 'my home',
      manufacturer: 'SoftHSM project',
      serial: '9f31',
      model: 'v2',
      object: 'kith',
      id: Uint8Array.of(1, 255),
      modulePath: '/usr/lib/a.so',
    },
  )
  assert.deepEqual(parseTokenUri('pkcs11:'), {})
})

test('token address, PIN, slot, unknown or repeated attribute, bad escape, relative module, too long, is USAGE', () => {
  const bad = [
    'pkcs11',
    'PKCS11:token=a',
    'http:token=a',
    'pkcs11:token=a b',
    'pkcs11:token=ä',
    'pkcs11:token',
    'pkcs11:=a',
    'pkcs11:token=',
    'pkcs11:token=%zz',
    'pkcs11:token=%c3',
    'pkcs11:token=%00',
    'pkcs11:id=',
    `pkcs11:id=${'%00'.repeat(65)}`,
    'pkcs11:token=a;token=b',
    'pkcs11:slot-id=3',
    'pkcs11:library-version=3',
    'pkcs11:type=public',
    'pkcs11:x-vendor=1',
    'pkcs11:token=a?pin-value=1234',
    'pkcs11:token=a?pin-source=file:/pin',
    'pkcs11:token=a?module-name=softhsm',
    'pkcs11:token=a?module-path=libsofthsm2.so',
    'pkcs11:token=a?module-path=/a?module-path=/b',
    `pkcs11:token=${'a'.repeat(500)}`,
  ]
  for (const text of bad) {
    assert.throws(
      () => parseTokenUri(text),
      (error: { code: string; message: string }) => error.code === 'USAGE' && !error.message.includes('1234'),
      text,
    )
  }
})

test('token address, text that looks like a PIN, is written so that it cannot be taken for one', () => {
  const uri = { object: 'a&pin-value=1' }
  assert.equal(formatTokenUri(uri), 'pkcs11:object=a%26pin-value=1')
  assert.deepEqual(parseTokenUri('pkcs11:object=a&pin-value=1'), uri)
})

test('token address, written and read again, is the same', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter((value) => !/\p{Cc}/u.test(value))
  const uri = fc.record(
    { token: text, serial: text, object: text, id: fc.uint8Array({ minLength: 1, maxLength: 20 }), modulePath: text.map((value) => `/lib/${value}`) },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(uri, (value) => {
      const { id, ...rest } = value
      const wanted = id === undefined ? rest : { ...rest, id: Uint8Array.from(id) }
      let written: string
      try {
        written = formatTokenUri(wanted)
      } catch {
        return // Too long: said, not cut.
      }
      assert.deepEqual(parseTokenUri(written), wanted)
      assert.equal(formatTokenUri(parseTokenUri(written)), written)
    }),
  )
})

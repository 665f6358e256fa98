import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concat } from '../../src/core/bytes.ts'
import { capabilityBits, capabilityNames, mayDo } from '../../src/identity/device-capabilities.ts'
import { createGrant, decodeGrant, type TakeOptions, takeGrant } from '../../src/identity/device-grant.ts'
import { MAX_REQUEST_AGE_MS, readDeviceRequest, requestCode } from '../../src/identity/device-request.ts'
import { deviceText, readDeviceText } from '../../src/identity/device-text.ts'
import { documentBytes, issuerOf, linkOf, listed, requestOf } from './device-make.ts'
import { DAY, deviceOf, failing, person, T0 } from './make.ts'

const ann = person('ann')
const NOW = T0 + DAY
const request = readDeviceRequest(requestOf('phone'), NOW)

function grantFor(options: { document?: Uint8Array; who?: typeof ann; serial?: number; of?: typeof request } = {}): Uint8Array {
  const { document, who = ann, serial = NOW, of = request } = options
  const from = linkOf('laptop')
  return createGrant(issuerOf(who), of, {
    capabilities: 0n,
    name: 'phone',
    now: NOW,
    serial,
    from,
    urls: ['tcp://127.0.0.1:1'],
    ...(document === undefined ? {} : { document }),
  })
}

const take = (grant: Uint8Array, options: Partial<TakeOptions> = {}) => takeGrant(grant, { request, machine: deviceOf('phone', false), now: NOW, ...options })

test('device request, signed by the machine, is read; its code is six words and another request’s are others', () => {
  assert.equal(request.name, 'phone')
  assert.match(requestCode(request), /^([a-z]+ ){5}[a-z]+$/)
  assert.notEqual(requestCode(request), requestCode(readDeviceRequest(requestOf('tablet'), NOW)))
})

test('device request, any byte flipped or anything cut off, is refused', () => {
  const bytes = requestOf('phone')
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Uint8Array.from(bytes)
    flipped[at] = (flipped[at] as number) ^ 4
    assert.throws(() => readDeviceRequest(flipped, NOW), failing('DEVICE_REQUEST_INVALID', /./), `byte ${at}`)
    assert.throws(() => readDeviceRequest(bytes.subarray(0, at), NOW), failing('DEVICE_REQUEST_INVALID', /malformed/))
  }
})

test('device request, hybrid and with its post-quantum half of another machine, is refused', () => {
  const [one, other] = [requestOf('phone', { mldsa: true }), requestOf('tablet', { mldsa: true })]
  assert.equal(readDeviceRequest(one, NOW).deviceMldsa?.length, 1952)
  const mixed = concat(one.subarray(0, one.length - 3309), other.subarray(other.length - 3309))
  assert.throws(() => readDeviceRequest(mixed, NOW), failing('DEVICE_REQUEST_INVALID', /did not sign/))
})

test('device request, too old or from the future, is refused', () => {
  assert.throws(() => readDeviceRequest(requestOf('phone'), T0 + MAX_REQUEST_AGE_MS + 1), failing('DEVICE_REQUEST_INVALID', /older/))
  assert.throws(() => readDeviceRequest(requestOf('phone', { now: NOW + 2 * DAY }), NOW), failing('DEVICE_REQUEST_INVALID', /ahead/))
})

test('device grant, taken by the machine that asked, gives a valid binding', () => {
  const { decoded, chain, urls } = take(grantFor({ document: documentBytes(ann, 1, [listed('laptop'), listed('phone')]) }))
  assert.equal(decoded.did, ann.chain.did)
  assert.equal(decoded.name, 'phone')
  assert.equal(chain.did, ann.chain.did)
  assert.deepEqual(urls, ['tcp://127.0.0.1:1'])
})

test('device grant, any byte flipped, is refused or changes nothing but a hint', () => {
  const grant = grantFor()
  const good = take(grant)
  for (let at = 0; at < grant.length; at++) {
    const flipped = Uint8Array.from(grant)
    flipped[at] = (flipped[at] as number) ^ 1
    let taken: ReturnType<typeof take>
    try {
      taken = take(flipped)
    } catch (error) {
      assert.match((error as { code?: string }).code ?? '', /^(DEVICE_GRANT|BINDING|CHAIN|DEVICE_DOCUMENT)_/, `byte ${at}`)
      continue
    }
    assert.deepEqual(taken.decoded.body, good.decoded.body)
    assert.deepEqual(taken.chain.head, good.chain.head)
  }
})

test('device grant, truncated anywhere, is refused', () => {
  const grant = grantFor()
  for (let length = 0; length < grant.length; length++)
    assert.throws(() => decodeGrant(grant.subarray(0, length)), failing('DEVICE_GRANT_INVALID', /malformed/))
})

test('device grant, of another request or taken by another machine, is refused', () => {
  const other = readDeviceRequest(requestOf('tablet'), NOW)
  assert.throws(() => take(grantFor({ of: other })), failing('DEVICE_GRANT_INVALID', /another request/))
  assert.throws(() => take(grantFor(), { machine: deviceOf('thief', false) }), failing('BINDING_INVALID', /link key did not sign/))
})

test('device grant, of another identity or older than the one before, is refused as a renewal', () => {
  const renewal = { ...request, did: ann.chain.did }
  const ben = person('ben')
  assert.throws(
    () => take(grantFor({ who: ben }), { request: renewal, chain: ann.chain }),
    (error: unknown) => /^(CHAIN_INVALID|DEVICE_GRANT_INVALID)$/.test((error as { code: string }).code),
  )
  assert.throws(() => take(grantFor({ serial: 5 }), { minSerial: 6 }), { code: 'BINDING_STALE' })
})

test('device grant, with a document that revokes the machine, is not taken', () => {
  assert.throws(() => take(grantFor({ document: documentBytes(ann, 1, [listed('laptop'), listed('phone', 'lost')]) })), { code: 'DEVICE_REVOKED' })
})

test('device text, any bytes and any length of lines, comes back, in any order and between other text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 3_000 }), fc.integer({ min: 60, max: 1_200 }), (bytes, width) => {
      const lines = deviceText('grant', bytes, width)
      const pasted = `hello\n${[...lines].reverse().join('\n  ')}\n${lines[0]}\nbye`
      assert.deepEqual(readDeviceText('grant', pasted), bytes)
      for (const line of lines) assert.match(line, /^[A-Z0-9-]+$/)
    }),
    { numRuns: 80 },
  )
})

test('device text, with a part missing, two texts in one, or a letter changed, says so', () => {
  const lines = deviceText('request', requestOf('phone', { mldsa: true }))
  assert.ok(lines.length > 2)
  const read = (text: string) => readDeviceText('request', text)
  assert.throws(() => read(lines.slice(1).join('\n')), failing('DEVICE_REQUEST_INVALID', /part 1 of \d+ is missing/))
  assert.throws(() => read([...lines, ...deviceText('request', requestOf('tablet'))].join('\n')), failing('DEVICE_REQUEST_INVALID', /more than one/))
  assert.throws(() => read('nothing here'), failing('DEVICE_REQUEST_INVALID', /no request/))
  assert.throws(() => readDeviceText('grant', lines.join('\n')), failing('DEVICE_GRANT_INVALID', /no grant/))
  const [first = '', ...rest] = lines
  const wrong = first.slice(0, -2) + (first.at(-2) === 'A' ? 'B' : 'A') + first.slice(-1)
  assert.throws(() => read([wrong, ...rest].join('\n')), failing('DEVICE_REQUEST_INVALID', /damaged/))
})

test('device capabilities, named and back, are a closed set in which zero means everything', () => {
  assert.deepEqual(capabilityNames(capabilityBits(['records'])), ['records'])
  assert.deepEqual(capabilityNames(0n), ['link', 'records'])
  assert.equal(mayDo(0n, 'records'), true)
  assert.equal(mayDo(1n, 'records'), false)
  assert.equal(mayDo(1n << 60n, 'link'), false)
  assert.throws(() => capabilityBits([]), TypeError)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parsePeerTarget } from '../../src/cli/commands/forward/target.ts'
import { isKithError } from '../../src/core/errors.ts'

const DID = 'did:icn:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'

test('PEER:HOST:PORT, names, DIDs, prefixes and IPv6, is taken apart', () => {
  const cases: [string, string, string][] = [
    ['laptop:localhost:8080', 'laptop', 'localhost:8080'],
    ['my-desk.2:db.internal:5432', 'my-desk.2', 'db.internal:5432'],
    [`${DID}:localhost:80`, DID, 'localhost:80'],
    [`${DID}:[::1]:80`, DID, '[::1]:80'],
    ['did:icn:z6Mkha:10.0.0.1:22', 'did:icn:z6Mkha', '10.0.0.1:22'],
    ['did:key:z6Mkha:h:1', 'did:key:z6Mkha', 'h:1'],
    ['z6MkhaXg:localhost:1', 'z6MkhaXg', 'localhost:1'],
    ['laptop:[fe80::1]:65535', 'laptop', '[fe80::1]:65535'],
  ]
  for (const [text, peer, target] of cases) assert.deepEqual(parsePeerTarget(text), { peer, target }, text)
})

test('PEER:HOST:PORT, something missing or an IPv6 address without brackets, is USAGE and says how it is written', () => {
  const cases: [string, RegExp][] = [
    ['', /laptop:localhost:8080/],
    ['laptop', /laptop:localhost:8080/],
    ['laptop:8080', /write laptop:localhost:8080/],
    ['laptop:::1:8080', /brackets/],
    ['laptop:localhost', /laptop:localhost:8080/],
    ['laptop:localhost:http', /laptop:localhost:8080/],
    [`${DID}:8080`, /laptop:localhost:8080/],
    ['laptop:localhost:123456', /laptop:localhost:8080/],
    [':localhost:80', /laptop:localhost:8080/],
  ]
  for (const [text, hint] of cases) {
    assert.throws(
      () => parsePeerTarget(text),
      (error) => isKithError(error, 'USAGE') && hint.test(error.message),
      text,
    )
  }
})

test('PEER:HOST:PORT, any text, gives parts that make it up or is USAGE', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(fc.constantFrom('a', ':', '[', ']', '1', 'did', 'icn', '.'), { maxLength: 12 }).map((parts) => parts.join('')),
      ),
      (text) => {
        try {
          const { peer, target } = parsePeerTarget(text)
          return `${peer}:${target}` === text && peer.length > 0
        } catch (error) {
          return isKithError(error, 'USAGE')
        }
      },
    ),
  )
})

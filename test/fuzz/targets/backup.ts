import assert from 'node:assert/strict'
import { concat, equal, utf8 } from '../../../src/core/bytes.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'
import { parseHeader, parseSeal } from '../../../src/daemon/backup/format.ts'
import { formatRecipient, parseKeyFile, parseRecipient } from '../../../src/vault/bech32.ts'
import type { Facts } from '../../../src/vault/container.ts'
import { headerEnd, lookAtHeader, sealHeader } from '../../../src/vault/container-header.ts'
import { recipientOf, X25519Recipient } from '../../../src/vault/container-recipients.ts'
import { entryHead, padding, readTar } from '../../../src/vault/container-tar.ts'
import type { FuzzTarget } from '../mutate.ts'

const random = seededRandom('backups of the fuzzer')
const key = Secret.random(32, random)
const recipient = recipientOf(key)

function archive(files: readonly (readonly [name: string, content: string])[]): Uint8Array {
  const entries = files.flatMap(([name, content]) => {
    const bytes = utf8(content)
    return [entryHead({ name, size: bytes.length, mtime: 1 }), bytes, Buffer.alloc(padding(bytes.length))]
  })
  return concat(...entries, Buffer.alloc(1024))
}

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 700) yield Buffer.from(bytes.subarray(at, at + 700))
}

/** Whatever is read as an archive is, byte for byte, what the writer would have made of the same files. */
const tar: FuzzTarget = {
  name: 'backup-archive',
  seeds: [
    archive([]),
    archive([['a', 'b']]),
    archive([
      ['inbox/größe', 'x'.repeat(600)],
      ['n'.repeat(140), ''],
    ]),
  ],
  codes: ['BACKUP_INVALID', 'BACKUP_UNSAFE'],
  tokens: [utf8('../'), utf8('/'), utf8('path='), utf8('size='), Buffer.alloc(512), Buffer.from('ustar\x0000', 'latin1')],
  async run(input) {
    const parts: Uint8Array[] = []
    let files = 0
    for await (const entry of readTar(inPieces(input))) {
      files++
      parts.push(entryHead(entry))
      for await (const piece of entry.content()) parts.push(Uint8Array.from(piece))
      parts.push(Buffer.alloc(padding(entry.size)))
    }
    const again = concat(...parts)
    assert.ok(equal(again, input.subarray(0, again.length)))
    assert.ok(input.subarray(again.length).every((byte) => byte === 0))
    return String(Math.min(files, 3))
  },
  iterations: 20_000,
}

const headers = [
  await sealHeader({ recipients: [new X25519Recipient(recipient, random)], random }),
  await sealHeader({ recipients: [new X25519Recipient(recipient, random), new X25519Recipient(recipient, random)], random }),
]

/** The first lines of a foreign file, before any key is tried. */
const head: FuzzTarget = {
  name: 'backup-head',
  seeds: headers.map(({ header }) => header),
  codes: ['BACKUP_INVALID', 'BACKUP_DAMAGED'],
  tokens: [utf8('-> '), utf8('--- '), utf8('\n'), utf8('kith-check'), utf8('scrypt'), utf8('X25519')],
  async run(input) {
    const end = headerEnd(Buffer.from(input))
    if (end === undefined) return 'more'
    assert.ok(end <= input.length)
    return (await lookAtHeader(input.subarray(0, end))).passphrase ? 'passphrase' : 'keys'
  },
  iterations: 10_000,
}

const text = formatRecipient(recipient)

const keys: FuzzTarget = {
  name: 'backup-keys',
  seeds: [utf8(text), utf8('# a comment\nAGE-SECRET-KEY-19YEEG365NYNGM3Q8UR6HTA9EH57JQ30ERWG33K5KCMSMZZU7AN5S6P5Z5N\n')],
  codes: ['USAGE', 'KEY_INVALID'],
  run(input) {
    const given = Buffer.from(input).toString('latin1')
    if (given.startsWith('age1')) {
      assert.equal(formatRecipient(parseRecipient(given)), given)
      return 'recipient'
    }
    const found = parseKeyFile(input)
    for (const secret of found) secret.wipe()
    return 'keys'
  },
  iterations: 20_000,
}

const facts = {
  format: 1,
  did: null,
  name: null,
  link_key: null,
  kith: '0',
  created_at: '2026-11-22T00:00:00.000Z',
  created_ms: 1,
  series: '0'.repeat(32),
  counter: 1,
  boot: 1,
  keys: 'none',
  recipient: null,
  contents: [{ name: 'a', size: 1 }],
}

/** What the header and the seal of a container say, once they are JSON. */
const said: FuzzTarget = {
  name: 'backup-facts',
  seeds: [utf8(JSON.stringify(facts)), utf8(JSON.stringify({ binding: '00', chain: '00', signature: '0'.repeat(128) })), utf8('{}')],
  codes: ['BACKUP_INVALID'],
  run(input) {
    let value: unknown
    try {
      value = JSON.parse(Buffer.from(input).toString('utf8'))
    } catch {
      return 'no JSON'
    }
    if (typeof value !== 'object' || value === null) return 'no object'
    if ('binding' in value || Object.keys(value).length === 0) return parseSeal(value as Facts) === undefined ? 'unsigned' : 'sealed'
    return `${parseHeader(value as Facts).contents.length}`
  },
  iterations: 10_000,
}

export const backupTargets: readonly FuzzTarget[] = [tar, head, keys, said]
for (const { key: lease } of headers) lease.release()

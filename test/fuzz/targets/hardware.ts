import assert from 'node:assert/strict'
import { utf8 } from '../../../src/core/bytes.ts'
import { parseNotes } from '../../../src/identity/hardware/notes.ts'
import { formatSealed, parseSealed } from '../../../src/identity/hardware/sealed.ts'
import { formatTokenUri, parseTokenUri } from '../../../src/identity/hardware/uri.ts'
import type { FuzzTarget } from '../mutate.ts'

const textOf = (input: Uint8Array): string => Buffer.from(input).toString('utf8')
const URI = 'pkcs11:token=my%20home;serial=9f31;object=kith;id=%01%FF;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so'

/** What is accepted has one spelling, which means the same, fits the limit and holds no PIN. */
const tokenUri: FuzzTarget = {
  name: 'token-uri',
  seeds: [utf8(URI), utf8('pkcs11:'), utf8('pkcs11:manufacturer=a;model=b')],
  tokens: ['pin-value=1', 'pin-source=file:/x', 'slot-id=1', '%00', '%', ';', '?', '&', '=', 'id=', 'token='].map(utf8),
  codes: ['USAGE'],
  run(input) {
    const uri = parseTokenUri(textOf(input))
    const written = formatTokenUri(uri)
    assert.ok(written.length <= 512 && !/[;?&]pin-/.test(written))
    assert.deepEqual(parseTokenUri(written), uri)
    return Object.keys(uri).join(' ')
  },
}

const HOME = '00112233445566778899aabbccddeeff'

/** What is accepted is exactly what would be written. */
const sealedFile: FuzzTarget = {
  name: 'sealed-file',
  seeds: [
    utf8(formatSealed({ home: HOME, kind: 'keyring', random: true, box: new Uint8Array(30), tpm: undefined })),
    utf8(
      formatSealed({
        home: HOME,
        kind: 'tpm',
        random: false,
        box: new Uint8Array(30),
        tpm: { pcrs: [0, 7], values: ['ab'.repeat(32), 'cd'.repeat(32)], publicPart: new Uint8Array(8), privatePart: new Uint8Array(8) },
      }),
    ),
  ],
  codes: ['SEAL_INVALID'],
  run(input) {
    const sealed = parseSealed(textOf(input))
    assert.deepEqual(parseSealed(formatSealed(sealed)), sealed)
    return `${sealed.kind} ${sealed.tpm?.pcrs.length ?? 0}`
  },
}

/** A note decides nothing: what is damaged is no note. */
const tokenNotes: FuzzTarget = {
  name: 'token-notes',
  seeds: [utf8(JSON.stringify([{ generation: 0, public_key: 'ab'.repeat(32), uri: URI }])), utf8('[]')],
  codes: [],
  run(input) {
    const notes = parseNotes(textOf(input))
    assert.ok(notes.length <= 2)
    for (const { uri } of notes) parseTokenUri(uri)
    return `${notes.length} notes`
  },
}

export const hardwareTargets: readonly FuzzTarget[] = [tokenUri, sealedFile, tokenNotes]

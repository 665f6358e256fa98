import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { entropyToMnemonic, mnemonicToSeedSync } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import fc from 'fast-check'
import { fromHex, toHex } from '../../src/core/bytes.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { generatePhrase, parsePhrase, phraseOfEntropy, phraseToSeed, wordAt } from '../../src/vault/bip39.ts'

const { passphrase, vectors } = JSON.parse(readFileSync(new URL('../vectors/bip39.json', import.meta.url), 'utf8')) as {
  passphrase: string
  vectors: { entropy: string; phrase: string; seed: string }[]
}

const text = (secret: Secret): string => secret.use((bytes) => bytes.toString('utf8'))
const hex = (secret: Secret): string => secret.use((bytes) => toHex(bytes))
const secret = (value: string): Secret => Secret.take(Buffer.from(value))
const invalid = (reason: RegExp) => (error: unknown) => {
  const { code, message } = error as { code: string; message: string }
  return code === 'PHRASE_INVALID' && reason.test(message)
}

test('phrase, published vectors, entropy and seed both agree', () => {
  for (const vector of vectors) {
    assert.equal(text(phraseOfEntropy(Secret.take(fromHex(vector.entropy)))), vector.phrase)
    assert.equal(hex(phraseToSeed(parsePhrase(vector.phrase), secret(passphrase))), vector.seed)
  }
})

test('phrase, any entropy of the five lengths, equals the independent implementation and is read back from text and bytes', () => {
  const entropy = fc.constantFrom(16, 20, 24, 28, 32).chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
  fc.assert(
    fc.property(entropy, (bytes) => {
      const expected = entropyToMnemonic(bytes, wordlist)
      const phrase = phraseOfEntropy(Secret.take(Uint8Array.from(bytes)))
      assert.equal(text(phrase), expected)
      assert.ok(parsePhrase(phrase).equals(phrase))
      assert.ok(parsePhrase(`  ${expected.toUpperCase().replaceAll(' ', ' \t\n ')}\n`).equals(phrase))
    }),
    { numRuns: 60 },
  )
})

test('seed, passphrases with and without letters beyond ASCII, equals the independent implementation', () => {
  const phrase = vectors[0]?.phrase as string
  for (const extra of ['', 'plain', 'ＴＲＥＺＯＲ', 'Ångström e\u0301 ﬁ', 'ポケモン']) {
    const given = extra === '' ? undefined : secret(extra)
    assert.equal(hex(phraseToSeed(parsePhrase(phrase), given)), toHex(mnemonicToSeedSync(phrase, extra)))
  }
})

test('fresh phrase, each length, has that many words and verifies; other lengths are refused', () => {
  for (const words of [12, 15, 18, 21, 24]) {
    const phrase = generatePhrase(words, systemRandom)
    assert.equal(text(phrase).split(' ').length, words)
    assert.ok(parsePhrase(phrase).equals(phrase))
    assert.ok(!generatePhrase(words, systemRandom).equals(phrase))
  }
  for (const words of [0, 11, 13, 27, 12.5, Number.NaN]) assert.throws(() => generatePhrase(words, systemRandom), invalid(/12, 15, 18, 21 or 24/))
})

test('phrase with a wrong last word or two words swapped, read, fails its checksum', () => {
  assert.throws(() => parsePhrase(`${'abandon '.repeat(11)}abandon`), invalid(/checksum/))
  for (const vector of vectors.slice(-3)) {
    const words = vector.phrase.split(' ')
    const swapped = [words[1], words[0], ...words.slice(2)].join(' ')
    assert.throws(() => parsePhrase(swapped), invalid(/checksum/))
  }
})

test('phrase with a foreign word, read, names the position and never the word', () => {
  const words = 'legal winner thank year wave sausage worth useful legal winner thank yellow'.split(' ')
  words[4] = 'hunter2'
  assert.throws(
    () => parsePhrase(words.join(' ')),
    (error: Error & { code: string; details: object }) => {
      assert.equal(error.code, 'PHRASE_INVALID')
      assert.deepEqual(error.details, { reason: 'word 5 is not in the English word list', position: 5 })
      return !JSON.stringify(error).includes('hunter2') && !String(error.stack).includes('hunter2')
    },
  )
})

test('phrase of a wrong length or empty or endless, read, is refused', () => {
  for (const bad of ['', '   ', 'abandon', 'abandon '.repeat(13), 'zoo '.repeat(25), 'a'.repeat(5000), 'aband '.repeat(12), '\u00e9 '.repeat(12)]) {
    assert.throws(() => parsePhrase(bad), { code: 'PHRASE_INVALID' })
  }
})

test('word list, index, gives the word of the standard; outside the list a TypeError', () => {
  assert.equal(wordAt(0), 'abandon')
  assert.equal(wordAt(2047), 'zoo')
  assert.throws(() => wordAt(2048), TypeError)
})

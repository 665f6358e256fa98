import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { guardedSecrets } from '../../src/core/guarded-memory.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { entropyOfPhrase, generatePhrase, phraseOfEntropy } from '../../src/vault/bip39.ts'
import { type CutShares, combineShares, cutShares } from '../../src/vault/shares.ts'
import { decodeShare, encodeShare, MAX_SHARE_TEXT_BYTES } from '../../src/vault/shares-text.ts'
import { PHRASE, reveal, secret } from './make.ts'

const random = seededRandom('shares')

async function cut(threshold: number, shares: number, phrase = PHRASE): Promise<CutShares> {
  return await cutShares(secret(phrase), { threshold, shares, random })
}

function subsets<T>(items: readonly T[], size: number): T[][] {
  if (size === 0) return [[]]
  return items.flatMap((item, i) => subsets(items.slice(i + 1), size - 1).map((rest) => [item, ...rest]))
}

test('phrase of each length, cut and joined, is the same from any threshold of its shares', async () => {
  for (const words of [12, 15, 18, 21, 24]) {
    const phrase = generatePhrase(words, random)
    const { shares, setId } = await cutShares(phrase, { threshold: 3, shares: 5, random })
    assert.match(setId, /^[0-9a-f]{8}$/)
    for (const some of subsets(shares, 3)) assert.equal(reveal(await combineShares(some)), reveal(phrase))
    assert.equal(reveal(await combineShares([...shares].reverse())), reveal(phrase))
  }
})

test('entropy of a phrase, and the phrase of it, are each other’s way back', () => {
  const entropy = entropyOfPhrase(secret(PHRASE))
  assert.equal(reveal(entropy), '\0'.repeat(16))
  assert.equal(reveal(phraseOfEntropy(entropy)), PHRASE)
})

test('fewer shares than the set needs are refused with how many are missing', async () => {
  const { shares } = await cut(3, 5)
  await assert.rejects(combineShares(shares.slice(0, 2)), { code: 'SHARES_TOO_FEW', details: { threshold: 3, given: 2, missing: 1 } })
  const [one] = shares
  assert.ok(one)
  await assert.rejects(combineShares([one, one, one]), { code: 'SHARES_TOO_FEW', details: { threshold: 3, given: 1, missing: 2 } })
  await assert.rejects(combineShares([]), { code: 'SHARES_TOO_FEW' })
})

test('shares of two cuttings of one phrase are refused as mixed', async () => {
  const [a, b] = [await cut(2, 3), await cut(2, 3)]
  assert.notEqual(a.setId, b.setId)
  await assert.rejects(combineShares([a.shares[0] as Secret, b.shares[1] as Secret]), { code: 'SHARES_MIXED', details: { sets: [a.setId, b.setId] } })
})

test('share that its holder changed, with a good checksum, is noticed', async () => {
  const { shares } = await cut(2, 3)
  const [first, second, third] = shares as [Secret, Secret, Secret]
  for (const at of [0, 7, 15, 16, 19]) {
    const share = decodeShare(first, 1)
    share.point[at] = (share.point[at] as number) ^ 1
    await assert.rejects(combineShares([encodeShare(share), second]), { code: 'SHARES_WRONG' })
  }
  const thief = decodeShare(first, 1)
  await assert.rejects(combineShares([encodeShare({ ...thief, number: 2 }), second]), { code: 'SHARES_WRONG' })
  const placed = decodeShare(first, 1)
  placed.point[20] = decodeShare(second, 1).point[20] as number
  await assert.rejects(combineShares([encodeShare(placed), second]), { code: 'SHARES_WRONG' })
  const forged = { ...decodeShare(first, 1), threshold: 3 }
  await assert.rejects(combineShares([encodeShare(forged), second]), { code: 'SHARES_MIXED' })
  assert.equal(reveal(await combineShares([second, third])), PHRASE)
})

test('share with any one letter wrong, missing, twice or exchanged is refused, and named', async () => {
  const { shares } = await cut(2, 2)
  const [first, second] = shares as [Secret, Secret]
  const text = reveal(second)
  const refused = async (changed: string): Promise<void> => {
    if (changed === text) return
    await assert.rejects(
      combineShares([first, secret(changed)]),
      (error: { code?: string; details?: { share?: number } }) => error.code === 'SHARE_DAMAGED' && error.details?.share === 2,
      changed,
    )
  }
  const start = 'kith-share-'.length
  for (let at = start; at < text.length; at++) {
    if (text[at] === '-') continue
    for (const letter of 'A7Z0') if (letter !== text[at]) await refused(text.slice(0, at) + letter + text.slice(at + 1))
    await refused(text.slice(0, at) + text.slice(at + 1))
    await refused(text.slice(0, at) + text.slice(at, at + 1) + text.slice(at))
    await refused(`${text.slice(0, at)}U${text.slice(at + 1)}`)
  }
  await refused('kith-share-')
  await refused('x')
  await refused('A'.repeat(MAX_SHARE_TEXT_BYTES + 1))
})

test('share typed with other case, spaces, without dashes and with look-alikes is read', async () => {
  const { shares } = await cut(2, 2)
  const forms = [
    (text: string) => text.toLowerCase(),
    (text: string) => text.replaceAll('-', ' '),
    (text: string) => `\n ${text.slice('kith-share-'.length).replaceAll('-', '')} \r\n`,
    (text: string) => `kith-share-${text.slice(11).replaceAll('0', 'o').replaceAll('1', 'l')}`,
  ]
  for (const form of forms) {
    // `kith share` with a space is no prefix; the letters of it would be taken for the share's.
    const typed = shares.map((share) => secret(form(reveal(share)).replace(/^kith share /, '')))
    assert.equal(reveal(await combineShares(typed)), PHRASE)
  }
})

test('numbers that no set has are refused before anything is cut', async () => {
  for (const [threshold, shares] of [
    [1, 3],
    [4, 3],
    [2, 17],
    [2.5, 3],
    [2, Number.NaN],
  ] as const)
    await assert.rejects(cut(threshold, shares), { code: 'USAGE' })
  await assert.rejects(cut(2, 3, 'abandon about'), { code: 'PHRASE_INVALID' })
})

test('fewer shares than the threshold tell nothing: the values of a single one are spread evenly', async () => {
  const seen = new Map<number, number>()
  for (let i = 0; i < 400; i++) {
    const { shares } = await cut(2, 2)
    const { point } = decodeShare(shares[0] as Secret, 1)
    for (const value of point.subarray(0, 16)) seen.set(value, (seen.get(value) ?? 0) + 1)
    for (const share of shares) share.wipe()
  }
  // 6,400 values of 256: 25 of each on average. The secret is all zeros; a value that stood out would be a leak.
  assert.ok(seen.size > 250)
  for (const [value, times] of seen) assert.ok(times < 70, `${value} came ${times} times`)
})

test('any bytes, read as a share, are a share or the one refusal', () => {
  const before = guardedSecrets()
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 120 }),
        fc.stringMatching(/^[0-9A-Z-]{1,100}$/).map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        const text = Secret.take(bytes)
        try {
          decodeShare(text, 1)
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'SHARE_DAMAGED')
        } finally {
          text.wipe()
        }
      },
    ),
    { numRuns: 1_000 },
  )
  assert.equal(guardedSecrets(), before)
})

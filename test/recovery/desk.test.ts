import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { signCancelWord } from '../../src/identity/chain-cancellation.ts'
import { attestRecovery } from '../../src/identity/chain-recovery.ts'
import type { ChainEntry, RecoveryAttestation } from '../../src/identity/types.ts'
import { MAX_CASES_OF_ONE } from '../../src/recovery/case-book.ts'
import { recoveryIdOf, recoveryWords } from '../../src/recovery/request.ts'
import { decodeMessage, encodeMessage, type RecoveryMessage } from '../../src/recovery/wire.ts'
import { keysOf, person, rotation, signerOf } from '../identity/make.ts'
import { ASKED, ann, DAY, deskOf, didOf, POLICY, requestFor, T0, type TestDesk, trusteeOf } from './support.ts'

const FILE = { kind: 'file' } as const
const TOPIC = { kind: 'topic' } as const
const code = (wanted: string) => (error: unknown) => isKithError(error, wanted as 'RECOVERY_INVALID')
const message = (entry: ChainEntry): Uint8Array => encodeMessage({ kind: 'recovery', entry })
const idOf = (entry: ChainEntry): string => toHex(recoveryIdOf(entry))

/** A word for this entry, whoever it is by and whatever is changed in it. */
function wordFor(entry: ChainEntry, name: string, change: { by?: string; timeMs?: number; keys?: string; policy?: typeof POLICY } = {}): RecoveryAttestation {
  const { by = name, timeMs = ASKED + 1_000, policy = POLICY } = change
  const keys = change.keys === undefined ? entry.keys : keysOf(change.keys, false)
  const request = { did: entry.did, previous: entry.previous, policy, recoveryId: recoveryIdOf(entry), keys }
  return attestRecovery(request, { did: didOf(name), signer: signerOf(`${by} 0`, false).ed25519 }, timeMs)
}

const withWords = (entry: ChainEntry, ...attestations: RecoveryAttestation[]): ChainEntry => ({ ...entry, attestations })

async function tookAll(desk: TestDesk, entry: ChainEntry, names: readonly string[]): Promise<void> {
  await desk.desk.take(message(withWords(entry, ...names.map((name) => wordFor(entry, name)))), TOPIC)
}

test('recovery, attested by enough trustees one after the other, waits from the moment the last word came and takes effect by time alone', async () => {
  const { desk, clock, chains, said, news } = await deskOf('tia')
  const entry = requestFor(ann().chain)
  const id = idOf(entry)
  assert.equal(await desk.take(message(entry), FILE), 'new')
  assert.deepEqual((await desk.get(id)).stage, 'collecting')
  const mine = await desk.attest(id, trusteeOf('tia'))
  assert.deepEqual([mine.stage, mine.attestedHere, mine.role], ['collecting', true, 'trustee'])
  assert.equal(said.length, 1)
  assert.equal(await desk.take(message(withWords(entry, wordFor(entry, 'tom'))), TOPIC), 'new')
  clock.advance(DAY)
  await tookAll({ desk } as TestDesk, entry, ['tea'])
  const waiting = await desk.get(id.slice(0, 8))
  assert.deepEqual([waiting.stage, waiting.sinceMs, waiting.dueMs], ['waiting', clock.now(), clock.now() + 3 * DAY])
  await clock.run(3 * DAY - 1)
  assert.equal((await desk.get(id)).stage, 'waiting')
  await clock.run(1)
  assert.equal(chains.get(entry.did)?.index, 1)
  assert.equal((await desk.get(id)).stage, 'effective')
  assert.deepEqual(
    news.map(({ status, before }) => [before, status.stage]),
    [
      [undefined, 'collecting'],
      ['collecting', 'waiting'],
      ['waiting', 'effective'],
    ],
  )
})

test('attestation, given twice or told many times, is one, and takes nobody’s delay back to its beginning', async () => {
  const { desk, clock, said } = await deskOf('tia')
  const entry = requestFor(ann().chain)
  const id = idOf(entry)
  await desk.take(message(entry), FILE)
  const first = await desk.attest(id, trusteeOf('tia'))
  const words = said.map((one) => toHex(one))
  clock.advance(60_000)
  assert.deepEqual((await desk.attest(id, trusteeOf('tia'))).attestedBy, first.attestedBy)
  assert.deepEqual(
    said.map((one) => toHex(one)),
    [...words, ...words],
    'the same word is said again, not another one',
  )
  await tookAll({ desk } as TestDesk, entry, ['tom', 'tom', 'tea'])
  const { dueMs } = await desk.get(id)
  clock.advance(DAY)
  await tookAll({ desk } as TestDesk, entry, ['tim', 'tom', 'ted'])
  const later = await desk.get(id)
  assert.deepEqual([later.stage, later.dueMs, later.attestedBy.length], ['waiting', dueMs, 5])
})

test('words that are forged, of outsiders, for other keys, of another time or under another policy, count for nothing beside good ones', async () => {
  const { desk } = await deskOf('bob')
  const entry = requestFor(ann().chain)
  const bad = [
    wordFor(entry, 'tom', { by: 'eve' }),
    wordFor(entry, 'eve'),
    wordFor(entry, 'tea', { keys: 'thief' }),
    wordFor(entry, 'tim', { timeMs: ASKED - DAY - 1 }),
    wordFor(entry, 'ted', { policy: { ...POLICY, threshold: 1 } }),
    { ...wordFor(entry, 'tom'), recoveryId: new Uint8Array(16) },
    { ...wordFor(entry, 'tom'), textSignature: wordFor(entry, 'tea').textSignature },
    wordFor(entry, 'tea', { timeMs: ASKED + 3 * DAY }),
  ]
  for (const one of bad) await desk.take(message(withWords(entry, one)), TOPIC)
  assert.deepEqual(await desk.list(), [], 'nothing of it is kept')
  await desk.take(message(withWords(entry, wordFor(entry, 'tia'), ...bad.slice(0, 5))), TOPIC)
  const [status] = await desk.list()
  assert.deepEqual([status?.attestedBy, status?.stage], [[didOf('tia')], 'collecting'])
})

test('one trustee many times, is one trustee', async () => {
  const { desk } = await deskOf('bob')
  const entry = requestFor(ann().chain)
  await desk.take(message(withWords(entry, wordFor(entry, 'tia'), wordFor(entry, 'tia', { timeMs: ASKED + 2_000 }), wordFor(entry, 'tia'))), TOPIC)
  const [status] = await desk.list()
  assert.deepEqual([status?.attestedBy.length, status?.stage], [1, 'collecting'])
})

test('request with a lower threshold, a shorter delay, other trustees, or of an owner without a policy, refused', async () => {
  const { desk } = await deskOf('tia', { chains: [ann().chain, person('bea').chain] })
  const { chain } = ann()
  for (const policy of [
    { ...POLICY, threshold: 1 },
    { ...POLICY, delayS: 86_400 },
    { ...POLICY, override: 4 },
    { ...POLICY, trustees: [...POLICY.trustees, didOf('eve')] },
  ]) {
    await assert.rejects(desk.take(message(requestFor(chain, { policy })), FILE), code('RECOVERY_INVALID'))
  }
  for (const policy of [
    { ...POLICY, threshold: 0 },
    { ...POLICY, delayS: 0 },
  ]) {
    await assert.rejects(desk.take(message(requestFor(chain, { policy })), FILE), code('CHAIN_INVALID'))
  }
  await assert.rejects(desk.take(message(requestFor(person('bea').chain)), FILE), code('RECOVERY_NO_POLICY'))
  await assert.rejects(desk.take(message(requestFor(person('cid', { policy: POLICY }).chain)), FILE), code('RECOVERY_CHAIN'))
  const other = person('ann', { policy: POLICY, now: T0 + 1 })
  await assert.rejects(desk.take(message(requestFor(other.chain)), FILE), code('RECOVERY_INVALID'))
  const signed = requestFor(chain)
  await assert.rejects(desk.take(message({ ...signed, signature: requestFor(chain, { keys: 'thief' }).signature }), FILE), code('CHAIN_INVALID'))
  assert.deepEqual(await desk.list(), [])
})

test('node that the owner did not make a trustee, asked to attest or to cancel, refuses', async () => {
  const { desk } = await deskOf('eve')
  const entry = requestFor(ann().chain)
  await desk.take(message(entry), FILE)
  await assert.rejects(desk.attest(idOf(entry), trusteeOf('eve')), code('RECOVERY_NOT_TRUSTEE'))
  await assert.rejects(desk.cancel(idOf(entry), trusteeOf('eve')), code('RECOVERY_NOT_TRUSTEE'))
})

test('trustee, asked for a second recovery of the same identity, refuses until the first one ended', async () => {
  const { desk } = await deskOf('tia')
  const first = requestFor(ann().chain)
  const second = requestFor(ann().chain, { keys: 'thief' })
  for (const entry of [first, second]) await desk.take(message(entry), FILE)
  await desk.attest(idOf(first), trusteeOf('tia'))
  await assert.rejects(desk.attest(idOf(second), trusteeOf('tia')), code('RECOVERY_CONFLICT'))
  await desk.cancel(idOf(first), trusteeOf('tia'))
  await assert.rejects(desk.attest(idOf(second), trusteeOf('tia')), code('RECOVERY_CONFLICT'), 'a word alone ends nothing')
  const end = (name: string): RecoveryMessage => ({
    kind: 'end',
    cancellation: { did: first.did, previous: first.previous, recoveryId: recoveryIdOf(first), words: [cancelWord(first, name)] },
  })
  for (const name of ['tom', 'tea']) await desk.take(encodeMessage(end(name)), TOPIC)
  assert.equal((await desk.get(idOf(first))).stage, 'cancelled')
  assert.equal((await desk.attest(idOf(second), trusteeOf('tia'))).attestedHere, true)
  await assert.rejects(desk.attest(idOf(first), trusteeOf('tia')), code('RECOVERY_OVER'))
})

function cancelWord(entry: ChainEntry, name: string) {
  return signCancelWord({ did: entry.did, previous: entry.previous, recoveryId: recoveryIdOf(entry), policy: POLICY }, trusteeOf(name), ASKED + 2_000)
}

test('request older than thirty days, or from a clock that is far ahead, not attested', async () => {
  const entry = requestFor(ann().chain)
  const late = await deskOf('tia', { now: ASKED + 30 * DAY + 1 })
  await late.desk.take(message(entry), FILE)
  await assert.rejects(late.desk.attest(idOf(entry), trusteeOf('tia')), code('RECOVERY_OVER'))
  const early = await deskOf('tia', { now: ASKED - DAY - 1 })
  await assert.rejects(early.desk.take(message(entry), FILE), code('CHAIN_INVALID'))
})

test('waiting recovery, while the clock of this machine is set back, waits longer', async () => {
  const held = await deskOf('tia')
  const entry = requestFor(ann().chain)
  await tookAll(held, entry, ['tia', 'tom', 'tea'])
  const { dueMs } = await held.desk.get(idOf(entry))
  held.clock.setWall(ASKED - 20 * DAY)
  await held.clock.run(3 * DAY)
  assert.deepEqual([(await held.desk.get(idOf(entry))).stage, (await held.desk.get(idOf(entry))).dueMs], ['waiting', dueMs])
  held.clock.setWall(dueMs as number)
  assert.equal((await held.desk.get(idOf(entry))).stage, 'effective')
})

test('recovery cancelled by a quorum before it ever came, when it comes, does not count', async () => {
  const { desk, chains } = await deskOf('bob')
  const entry = requestFor(ann().chain)
  const words = ['tia', 'tom', 'tea'].map((name) => cancelWord(entry, name))
  const end = encodeMessage({ kind: 'end', cancellation: { did: entry.did, previous: entry.previous, recoveryId: recoveryIdOf(entry), words } })
  assert.equal(await desk.take(end, TOPIC), 'new')
  assert.equal(await desk.take(end, TOPIC), 'known')
  await tookAll({ desk } as TestDesk, entry, ['tia', 'tom', 'tea'])
  assert.equal((await desk.get(idOf(entry))).stage, 'cancelled')
  assert.equal(chains.get(entry.did)?.pending, undefined)
  const outsiders = {
    kind: 'end',
    cancellation: { did: entry.did, previous: entry.previous, recoveryId: new Uint8Array(16), words: [cancelWord(entry, 'eve')] },
  } as const
  assert.equal(await desk.take(encodeMessage(outsiders), TOPIC), 'refused')
})

test('owner who rotates while a recovery waits, ends it, and its trustees can no longer attest it', async () => {
  const held = await deskOf('tia')
  const who = ann()
  const entry = requestFor(who.chain)
  await tookAll(held, entry, ['tom', 'tea', 'tim'])
  const rotated = rotation(who, 'scheduled', { now: ASKED + DAY, policy: POLICY })
  held.chains.set(entry.did, adoptChain(held.chains.get(entry.did), [rotated], { now: ASKED + DAY }).state)
  assert.equal((await held.desk.get(idOf(entry))).stage, 'overtaken')
  await assert.rejects(held.desk.attest(idOf(entry), trusteeOf('tia')), code('RECOVERY_OVER'))
})

test('desk, opened again, knows what it knew: words, own requests, what was cancelled', async () => {
  const held = await deskOf('tia')
  const entry = requestFor(ann().chain)
  await held.desk.request(entry)
  await held.desk.attest(idOf(entry), trusteeOf('tia'))
  await held.desk.cancel(idOf(entry), trusteeOf('tia'))
  const before = await held.desk.get(idOf(entry))
  held.desk.close()
  const after = await held.reopen()
  assert.deepEqual(await after.desk.get(idOf(entry)), before)
  assert.deepEqual(after.desk.concerning(didOf('tom')), [idOf(entry)])
  assert.deepEqual(after.desk.concerning(didOf('bob')), [])
  await after.desk.forget(idOf(entry))
  await assert.rejects(after.desk.get(idOf(entry)), code('RECOVERY_UNKNOWN'))
})

test('requests of one peer that nobody attested, however many, hold one place, and none of an attested one', async () => {
  const { desk } = await deskOf('tia')
  const attested = requestFor(ann().chain)
  await desk.take(message(attested), FILE)
  await desk.attest(idOf(attested), trusteeOf('tia'))
  for (let at = 0; at < 5; at++) await desk.take(message(requestFor(ann().chain, { keys: `thief ${at}` })), { kind: 'link', peer: didOf('eve') })
  assert.equal((await desk.list()).length, 2)
  for (let at = 0; at < 2 * MAX_CASES_OF_ONE; at++)
    await desk.take(message(requestFor(ann().chain, { keys: `crowd ${at}` })), { kind: 'link', peer: didOf(`crowd ${at}`) })
  const kept = await desk.list()
  assert.equal(kept.length, MAX_CASES_OF_ONE)
  assert.ok(kept.some(({ id }) => id === idOf(attested)))
})

test('four words, for another request, are others; for the same one, the same', () => {
  const entry = requestFor(ann().chain)
  assert.match(recoveryWords(entry), /^[a-z]+ [a-z]+ [a-z]+ [a-z]+$/)
  assert.equal(recoveryWords({ ...entry }), recoveryWords(requestFor(ann().chain)))
  assert.notEqual(recoveryWords(entry), recoveryWords(requestFor(ann().chain, { keys: 'thief' })))
})

test('message, encoded and decoded, is the same; anything but a recovery or its end, refused', () => {
  const entry = withWords(requestFor(ann().chain), wordFor(requestFor(ann().chain), 'tia'))
  assert.deepEqual(decodeMessage(message(entry)), { kind: 'recovery', entry })
  assert.throws(() => decodeMessage(message(rotation(ann(), 'scheduled', { policy: POLICY }))), code('WIRE_MALFORMED'))
  assert.throws(() => decodeMessage(Uint8Array.of(1, 3, 0)), code('WIRE_MALFORMED'))
  assert.throws(() => decodeMessage(new Uint8Array(30_000)), code('WIRE_MALFORMED'))
})

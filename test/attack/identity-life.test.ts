import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { adoptChain, cancelRecovery, settleChain } from '../../src/identity/chain.ts'
import { signCancelWord } from '../../src/identity/chain-cancellation.ts'
import { createInception, createRecovery } from '../../src/identity/chain-make.ts'
import { attestRecovery } from '../../src/identity/chain-recovery.ts'
import { revokeMachine } from '../../src/identity/device-desk.ts'
import { type DeviceDocument, MAX_DEVICES } from '../../src/identity/device-document.ts'
import { addDocument, type DeviceRoster, decodeRoster, encodeRoster } from '../../src/identity/device-roster.ts'
import { formatDid } from '../../src/identity/did.ts'
import type { Home } from '../../src/identity/home.ts'
import type { ChainEntry, ChainState, RecoveryPolicy } from '../../src/identity/types.ts'
import { openKnownKeys } from '../../src/mesh/known-keys.ts'
import { MAX_CASES, MAX_CASES_OF_ONE } from '../../src/recovery/case-book.ts'
import { recoveryIdOf } from '../../src/recovery/request.ts'
import { encodeMessage } from '../../src/recovery/wire.ts'
import { documentOf, issuerOf, linkOf, listed } from '../identity/device-make.ts'
import { DAY, failing, keysOf, type Person, person, rotate, rotation, signerOf, T0 } from '../identity/make.ts'
import { ASKED, POLICY as DESK_POLICY, deskOf, requestFor, trusteeOf } from '../recovery/support.ts'

const TRUSTEES = ['tia', 'tom', 'tea', 'tim', 'ted'] as const
const didOf = (name: string) => person(name).chain.did
const POLICY: RecoveryPolicy = { threshold: 3, override: 4, delayS: 3 * 86_400, trustees: TRUSTEES.map(didOf) }
/** The thief's own trustee alone, after a day. */
const THIEF: RecoveryPolicy = { threshold: 1, override: 0, delayS: 86_400, trustees: [didOf('eve')] }
const AT = T0 + 10 * DAY
const ID = new Uint8Array(16).fill(9)
const ann = () => person('ann', { policy: POLICY })

interface Words {
  readonly by: readonly string[]
  readonly policy?: RecoveryPolicy
  readonly keys?: string
  readonly at?: number
}

function recover(chain: ChainState, { by, policy = POLICY, keys = 'ann again', at = AT }: Words): ChainEntry {
  const request = { did: chain.did, previous: chain.head, policy, recoveryId: ID, keys: keysOf(keys, false) }
  return createRecovery({
    chain,
    signer: signerOf(keys, false),
    reason: 'compromised',
    next: keysOf(`${keys} next`, false),
    policy,
    attestations: by.map((name) => attestRecovery(request, { did: didOf(name), signer: signerOf(`${name} 0`, false).ed25519 }, at)),
    now: at,
  })
}

/** Tells entry 0 again with these terms, at times that are tried until its hash is the smaller one. */
function retold(who: Person, policy: RecoveryPolicy | undefined): ChainEntry {
  for (let time = T0; ; time++) {
    const entry = createInception({ signer: signerOf('ann 0', false), next: keysOf('ann 1', false), now: time, ...(policy === undefined ? {} : { policy }) })
    if (toHex(entry.hash) < toHex(who.chain.head)) return entry
  }
}

describe('thief of the current key', () => {
  test('telling the current entry again with trustees of his own, does not replace it and freezes nothing', () => {
    const who = ann()
    for (const policy of [THIEF, undefined]) {
      const result = adoptChain(who.chain, [retold(who, policy)], { now: AT })
      assert.deepEqual([result.outcome, result.state.status, toHex(result.state.head)], ['stale', 'first-seen', toHex(who.chain.head)])
    }
  })

  test('telling it again and letting his own trustee recover behind it, gets nothing, also with words of long ago', () => {
    const who = ann()
    const other = retold(who, THIEF)
    const branch = adoptChain(undefined, [other], { now: AT }).state
    for (const at of [T0 + DAY, AT]) {
      const result = adoptChain(who.chain, [other, recover(branch, { by: ['eve'], policy: THIEF, keys: 'thief', at })], { now: AT })
      assert.deepEqual([result.outcome, result.state.status, toHex(result.state.head)], ['stale', 'first-seen', toHex(who.chain.head)])
      assert.equal(result.state.pending, undefined)
    }
  })

  test('having told a newcomer the wrong terms first, is undone by the owner’s next rotation', () => {
    const who = ann()
    const fooled = adoptChain(undefined, [retold(who, THIEF)], { now: AT }).state
    const honest = [...who.chain.entries]
    rotate(who, 'compromised', { now: AT, policy: POLICY })
    const healed = adoptChain(fooled, who.chain.entries, { now: AT + 1 })
    assert.deepEqual([healed.outcome, healed.state.status, toHex(healed.state.head)], ['extended', 'first-seen', toHex(who.chain.head)])
    assert.equal(adoptChain(fooled, honest, { now: AT }).outcome, 'stale')
  })

  test('of a rotation that was lost, telling it again as compromised, does not end what older keys certified', () => {
    const who = ann()
    const before: Person = { ...who }
    rotate(who, 'lost', { policy: POLICY })
    let again = rotation(before, 'compromised', { policy: POLICY })
    for (let time = T0 + DAY; toHex(again.hash) > toHex(who.chain.head); time++) again = rotation(before, 'compromised', { policy: POLICY, now: time })
    assert.equal(adoptChain(who.chain, [again], { now: AT }).state.entries[1]?.reason, 'lost')
  })
})

describe('thief of the phrase', () => {
  test('recovering his own history by his own trustees while an override waits, does not freeze the identity', () => {
    const who = ann()
    const stolen = adoptChain(who.chain, [rotation(who, 'lost', { now: T0 + 9 * DAY, policy: THIEF })], { now: T0 + 9 * DAY }).state
    const owner = recover(who.chain, { by: ['tia', 'tom', 'tea', 'tim'] })
    const contested = adoptChain(stolen, [owner], { now: T0 + 11 * DAY }).state
    const thief = recover(stolen, { by: ['eve'], policy: THIEF, keys: 'thief', at: T0 + 12.5 * DAY })
    const result = adoptChain(contested, [thief], { now: T0 + 12.5 * DAY })
    assert.deepEqual([result.outcome, result.state.status], ['pending', 'first-seen'])
    assert.equal(toHex(settleChain(result.state, T0 + 14 * DAY).head), toHex(owner.hash))
  })
})

describe('hostile trustee among enough good ones', () => {
  /** Tia attests, then shows a rotation that is dated before her word. */
  const tia = person('tia')
  rotate(tia, 'lost', { now: T0 + DAY })
  const chainOf = (did: string): ChainState | undefined => (did === tia.chain.did ? tia.chain : undefined)

  test('replacing her keys with an earlier date after she attested, does not undo the recovery for those who learn of it', () => {
    const who = ann()
    const entry = recover(who.chain, { by: ['tia', 'tom', 'tea', 'tim'] })
    assert.equal(adoptChain(who.chain, [entry], { now: AT }).outcome, 'pending')
    const result = adoptChain(who.chain, [entry], { now: AT, chainOf })
    assert.deepEqual([result.outcome, result.state.pending?.overrides], ['pending', false])
    assert.equal(adoptChain(undefined, [...who.chain.entries, entry], { now: AT + 3 * DAY, chainOf }).state.index, 1)
    const few = recover(who.chain, { by: ['tia', 'tom', 'tea'] })
    assert.throws(() => adoptChain(who.chain, [few], { now: AT, chainOf }), failing('CHAIN_INVALID', /does not verify/), 'her word counts for nothing')
  })

  test('doing the same after her word against a recovery, does not keep the others from ending it', () => {
    const who = ann()
    const waiting = adoptChain(who.chain, [recover(who.chain, { by: ['tom', 'tim', 'ted'], keys: 'thief' })], { now: AT }).state
    const target = { did: who.chain.did, previous: who.chain.head, recoveryId: ID, policy: POLICY }
    const end = (names: readonly string[]) => ({
      ...target,
      words: names.map((name) => signCancelWord(target, { did: didOf(name), signer: signerOf(`${name} 0`, false).ed25519 }, AT)),
    })
    assert.equal(cancelRecovery(waiting, end(['tia', 'tom', 'tea', 'ted']), { now: AT, chainOf }).pending, undefined)
    assert.throws(() => cancelRecovery(waiting, end(['tia', 'tom', 'tea']), { now: AT, chainOf }), failing('CHAIN_INVALID', /does not verify/))
  })

  test('attesting as many recoveries of one identity as fit, does not keep the owner’s request from the others', async () => {
    const { desk } = await deskOf('tom')
    const { chain } = person('ann', { policy: DESK_POLICY })
    const crowd = async (from: number): Promise<void> => {
      for (let at = from; at < from + 2 * MAX_CASES_OF_ONE; at++)
        await desk.take(attested(requestFor(chain, { keys: `thief ${at}` }), 'tia'), { kind: 'topic' })
    }
    await crowd(0)
    const request = requestFor(chain)
    assert.equal(await desk.take(attested(request), { kind: 'link', peer: didOf('tea') }), 'new')
    await crowd(100)
    assert.ok((await desk.list()).some(({ newKey }) => newKey === formatDid(request.keys.ed25519)))
  })

  test('of identities that nobody here knows, filling the room with complete recoveries, does not keep out one that a peer of the book brings', async () => {
    const crowd = Array.from({ length: MAX_CASES + 1 }, (_, at) => person(`nobody ${at}`, { policy: DESK_POLICY }).chain)
    const { chain } = person('ann', { policy: DESK_POLICY })
    const { desk } = await deskOf('tom', { chains: [chain, ...crowd], keeps: (did) => did === chain.did })
    for (const one of crowd) await desk.take(attested(requestFor(one), 'tia', 'tea'), { kind: 'topic' })
    assert.equal((await desk.list()).length, MAX_CASES)
    assert.equal(await desk.take(attested(requestFor(chain)), { kind: 'link', peer: didOf('tea') }), 'new')
  })
})

/** A desk's recovery with words of these trustees. */
function attested(entry: ChainEntry, ...names: string[]): Uint8Array {
  const request = { did: entry.did, previous: entry.previous, policy: DESK_POLICY, recoveryId: recoveryIdOf(entry), keys: entry.keys }
  return encodeMessage({ kind: 'recovery', entry: { ...entry, attestations: names.map((name) => attestRecovery(request, trusteeOf(name), ASKED + 1)) } })
}

describe('thief of the keys who signed lists of machines', () => {
  async function homeOf(t: TestContext): Promise<{ readonly paths: { readonly root: string } }> {
    const root = await mkdtemp(join(tmpdir(), 'kith-life-'))
    t.after(() => rm(root, { recursive: true }))
    return { paths: { root } }
  }
  const desk = async (t: TestContext, who: Person, known: DeviceRoster) => ({
    home: (await homeOf(t)) as Home,
    identity: issuerOf(who),
    own: { linkKey: linkOf('laptop'), name: 'laptop' },
    known,
    now: AT,
  })
  const roster = (...documents: DeviceDocument[]): DeviceRoster =>
    documents.reduce<DeviceRoster | undefined>((known, document) => addDocument(known, document).roster, undefined) as DeviceRoster
  const junk = (count: number, from = 0) => Array.from({ length: count }, (_, at) => listed(`junk ${from + at}`, 'lost'))

  test('up to the highest version, leaves the owner a way to revoke: the next keys', async (t) => {
    const who = ann()
    const known = roster(documentOf(who, Number.MAX_SAFE_INTEGER, [listed('laptop')]))
    await assert.rejects(revokeMachine(await desk(t, who, known), linkOf('phone'), 'lost'), { code: 'DEVICE_DOCUMENT_INVALID' })
    rotate(who, 'compromised', { now: AT, policy: POLICY })
    const { latest } = await revokeMachine(await desk(t, who, known), linkOf('phone'), 'lost')
    assert.deepEqual([latest.chainIndex, latest.version], [1, AT])
  })

  test('with more revoked machines than a list holds, does not keep the owner from revoking one more', async (t) => {
    const who = ann()
    const known = roster(documentOf(who, 1, junk(MAX_DEVICES)), documentOf(who, 2, junk(MAX_DEVICES, MAX_DEVICES)))
    assert.equal(known.revoked.size, 2 * MAX_DEVICES)
    rotate(who, 'compromised', { now: AT, policy: POLICY })
    const { latest } = await revokeMachine(await desk(t, who, known), linkOf('phone'), 'lost')
    const verifier = addDocument(known, latest)
    assert.deepEqual(
      [...verifier.revoked].map(({ linkKey }) => toHex(linkKey)),
      [toHex(linkOf('phone'))],
      'a verifier whose room was filled takes it',
    )
    assert.equal(verifier.roster.revoked.size, 2 * MAX_DEVICES)
    assert.deepEqual(decodeRoster(encodeRoster(verifier.roster))?.revoked.size, 2 * MAX_DEVICES)
  })
})

describe('peer that is slow to end a greeting', () => {
  test('does not take back what was learned meanwhile: a recovery that waits, or its end', async () => {
    const who = ann()
    const known = await openKnownKeys({ store: createMemoryStore(), clock: manualClock(AT), log: silentLogger })
    const machine = {
      did: who.chain.did,
      linkKey: linkOf('phone'),
      chain: who.chain,
      binding: { serial: 1, deviceMldsa: undefined },
      boot: 1,
      run: new Uint8Array(8),
    }
    known.learn(machine)
    known.adopt(adoptChain(who.chain, [recover(who.chain, { by: ['tia', 'tom', 'tea'] })], { now: AT }).state)
    known.learn(machine)
    assert.equal((await known.chain(who.chain.did))?.pending?.sinceMs, AT)
    await known.close()
  })
})

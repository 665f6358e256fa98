import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import type { Direction } from '../mesh/channel-pair.ts'
import { type TestNode, testNode } from '../mesh/fixtures.ts'
import { flip, linked, type Meeting, meet } from '../mesh/meeting.ts'

/** Which message, and from which side a link must not come about when a bit of it was flipped. */
interface Target {
  readonly what: string
  readonly direction: Direction
  readonly number: number
}

const TARGETS: readonly Target[] = [
  { what: 'HELLO_D', direction: 'to-listener', number: 0 },
  { what: 'HELLO_L', direction: 'to-dialer', number: 0 },
  { what: 'PROOF_L', direction: 'to-dialer', number: 1 },
  { what: 'PROOF_D', direction: 'to-listener', number: 1 },
  { what: 'VERDICT', direction: 'to-dialer', number: 2 },
]

/** Codes that a changed byte may end in; INTERNAL or a crash would be a defect. */
const CODES: ReadonlySet<string> = new Set(
  'HELLO_INVALID HELLO_REFUSED WRONG_PEER SELF_DIAL PROOF_INVALID VERSION_UNSUPPORTED BINDING_INVALID BINDING_EXPIRED CHAIN_INVALID CHAIN_STALE REMOTE_ERROR'.split(
    ' ',
  ),
)

async function flipped(ann: TestNode, bob: TestNode, target: Target, at: number): Promise<Meeting> {
  return await meet(ann, bob, {
    expect: bob.device.did,
    tap: (message, direction, number) => [direction === target.direction && number === target.number ? flip(message, at, 1 << (at % 8)) : message],
  })
}

function assertNoLink({ dialer, listener }: Meeting, target: Target, at: number): void {
  const where = `${target.what}, byte ${at}`
  assert.ok(dialer instanceof KithError, `${where}: the dialer has a link`)
  // An error code in the verdict is the other side's word and may be any.
  if (target.what === 'VERDICT') return
  assert.ok(CODES.has(dialer.code), `${where}: ${dialer.code}`)
  assert.ok(listener instanceof KithError, `${where}: the listener has a link`)
  assert.ok(CODES.has(listener.code), `${where}: ${listener.code}`)
}

async function lengths(ann: TestNode, bob: TestNode): Promise<number[]> {
  const { dialer, pair } = await meet(ann, bob, { expect: bob.device.did })
  linked(dialer)
  return TARGETS.map(({ direction, number }) => (direction === 'to-listener' ? pair.dialer : pair.listener).sent[number]?.length as number)
}

describe('hello with one bit flipped on the way', () => {
  for (const [index, target] of TARGETS.entries()) {
    test(`any byte of a classical ${target.what}, no link`, async () => {
      const [ann, bob] = [await testNode('ann'), await testNode('bob')]
      const length = (await lengths(await testNode('ann'), await testNode('bob')))[index] as number
      for (let at = 0; at < length; at++) assertNoLink(await flipped(ann, bob, target, at), target, at)
      assert.deepEqual([ann.known.size, bob.known.size], target.what === 'VERDICT' ? [0, 1] : [0, 0])
    })

    test(`bytes all over a hybrid ${target.what}, no link`, async () => {
      const [ann, bob] = [await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true })]
      const length = (await lengths(await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true })))[index] as number
      // The fixed part whole; keys and signatures of thousands of bytes by every 13th.
      for (let at = 0; at < length; at += at < 256 ? 1 : 13) assertNoLink(await flipped(ann, bob, target, at), target, at)
    })
  }
})

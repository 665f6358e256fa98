import assert from 'node:assert/strict'
import { utf8 } from '../../src/core/bytes.ts'
import { KithError } from '../../src/core/errors.ts'
import type { EncryptedStream } from '../../src/stream/encrypted-stream.ts'
import { LINK_MESSAGE_BYTES, LINK_NAMESPACE, type PostQuantumChannel, postQuantumDialer, postQuantumListener } from '../../src/stream/postquantum.ts'
import { duplexPair, type PairOptions } from './duplex-pair.ts'
import { connect, ManualClock, settle } from './fixtures.ts'

export const link: { namespace: string; maxMessageBytes: number } = { namespace: LINK_NAMESPACE, maxMessageBytes: LINK_MESSAGE_BYTES }
export const text = (message: Uint8Array): string => Buffer.from(message).toString()

export interface Streams {
  dialer: EncryptedStream
  listener: EncryptedStream
  pair: ReturnType<typeof duplexPair>
  clock: ManualClock
}

export async function streams(options: PairOptions = {}, clock: ManualClock = new ManualClock()): Promise<Streams> {
  const pair = duplexPair(options)
  return { ...(await connect(pair, { dialing: { ...link, clock }, listening: { ...link, clock } })), pair, clock }
}

export async function channels(options: PairOptions = {}): Promise<{ d: PostQuantumChannel; l: PostQuantumChannel; pair: ReturnType<typeof duplexPair> }> {
  const { dialer, listener, pair } = await streams(options)
  return { d: postQuantumDialer(dialer), l: postQuantumListener(listener), pair }
}

/** The whole preface as the mesh runs it. */
export async function preface(d: PostQuantumChannel, l: PostQuantumChannel, greeted = false): Promise<void> {
  if (!greeted) d.send(utf8('hello d'))
  assert.equal(text(await l.receive()), 'hello d')
  l.send(utf8('hello l'))
  l.send(utf8('proof l'))
  assert.equal(text(await d.receive()), 'hello l')
  assert.deepEqual(d.channelBinding, l.channelBinding)
  assert.equal(text(await d.receive()), 'proof l')
  d.send(utf8('proof d'))
  assert.equal(text(await l.receive()), 'proof d')
  l.send(utf8('verdict'))
  assert.equal(text(await d.receive()), 'verdict')
}

/** Flips the bytes of the step, each `step`-th of OFFER and ANSWER, all of DONE; each must end the preface. */
export async function flipStep(step: number): Promise<void> {
  // The dialer's second write is Ack, OFFER and the first message, its third DONE and a message; the listener's second write is the ANSWER.
  const cases: { side: 'a' | 'b'; at: number }[] = []
  for (let at = 138 + 33; at < 138 + 33 + 1_205; at += step) cases.push({ side: 'a', at })
  for (let at = 138 + 33 + 1_205 + 24; at < 138 + 33 + 1_205 + 24 + 52; at++) cases.push({ side: 'a', at })
  for (let at = 138; at < 138 + 1_141; at += step) cases.push({ side: 'b', at })
  for (const { side, at } of cases) {
    let seen = 0
    const flip = (bytes: Buffer): Buffer[] => {
      if (at >= seen && at < seen + bytes.length) bytes[at - seen] = (bytes[at - seen] as number) ^ 0x01
      seen += bytes.length
      return [bytes]
    }
    const { dialer, listener, clock } = await streams(side === 'a' ? { a2b: flip } : { b2a: flip })
    const d = postQuantumDialer(dialer)
    const l = postQuantumListener(listener)
    const running = Promise.allSettled([preface(d, l)])
    // A flipped length may leave a side waiting for bytes that never come: the caller's bound on the preface ends that.
    const outcome = await Promise.race([running, settle()])
    assert.ok(outcome === undefined || outcome[0]?.status === 'rejected', `byte ${at} of ${side}`)
    d.destroy(new KithError('TIMEOUT'))
    l.close()
    clock.advance(1_000)
    const [preludes] = await Promise.all([running, d.closed, l.closed])
    assert.equal(preludes[0]?.status, 'rejected', `byte ${at} of ${side}`)
  }
}

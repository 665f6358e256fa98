import assert from 'node:assert/strict'
import { concat, equal, utf8 } from '../../../src/core/bytes.ts'
import { encapsulate, generateMlKem768, isEncapsulationKey } from '../../../src/core/crypto/mlkem.ts'
import { KithError } from '../../../src/core/errors.ts'
import { keySlabUse } from '../../../src/core/key-slab.ts'
import { type ManualClock, manualClock } from '../../../src/core/manual-clock.ts'
import { dial } from '../../../src/stream/dial.ts'
import { EncryptedStream } from '../../../src/stream/encrypted-stream.ts'
import { listen } from '../../../src/stream/listen.ts'
import { LINK_MESSAGE_BYTES, LINK_NAMESPACE, type PostQuantumChannel, postQuantumDialer, postQuantumListener } from '../../../src/stream/postquantum.ts'
import { type PostQuantumSchedule, postQuantumSchedule } from '../../../src/stream/postquantum-schedule.ts'
import type { Session } from '../../../src/stream/session.ts'
import { duplexPair } from '../../stream/duplex-pair.ts'
import { signerOf } from '../../stream/fixtures.ts'
import { type Changes, change, parseChanges, settledWithin, turns } from '../conversation.ts'
import type { FuzzTarget } from '../mutate.ts'

/**
 * One honest side of the post-quantum step against a peer that holds all keys and says the step's messages changed. Message 0 is OFFER or ANSWER, 1 and 2
 * are what follows under the peer's key, 3 is DONE. Only an unchanged step may end with keys, and then with the peer's very channel binding.
 */
const TURNS = 12
const dialer = signerOf(new Uint8Array(32).fill(0x31))
const listener = signerOf(new Uint8Array(32).fill(0x32))
const OFFER = Uint8Array.of(0x4b, 0x01, 0x01)
const ANSWER = Uint8Array.of(0x4b, 0x02, 0x01)
const DONE = Uint8Array.of(0x4b, 0x03, 0x01)
const WORDS = [utf8('hello'), utf8('proof')] as const
const words = (message: Uint8Array): string => Buffer.from(message).toString()
const CODES = ['LINK_PQ_FAILED', 'STREAM_CORRUPT', 'LINK_LOST', 'CLOSED'] as const

async function pair(clock: ManualClock): Promise<{ dialer: EncryptedStream; listener: EncryptedStream }> {
  const { a, b } = duplexPair()
  const common = { namespace: LINK_NAMESPACE, maxMessageBytes: LINK_MESSAGE_BYTES, clock }
  const [near, far] = await Promise.all([
    dial(a, { ...common, key: dialer, peer: listener.publicKey }),
    listen(b, { ...common, key: listener, admit: () => true }),
  ])
  return { dialer: near, listener: far }
}

/** A peer that hears everything as it comes and says what it likes. */
class Peer {
  readonly session: Session
  schedule: PostQuantumSchedule | undefined
  #heard: Uint8Array[] = []
  #wake: (() => void) | undefined
  #over = false
  #released = false

  constructor(stream: EncryptedStream) {
    this.session = EncryptedStream.session(stream)
    this.session.onRecord = (buffer, start, end) => {
      this.#heard.push(Uint8Array.from(buffer.subarray(start, end)))
      this.#wake?.()
      // The key may change behind each message: one at a time.
      return false
    }
    this.session.onClose = () => {
      this.#over = true
      this.#wake?.()
    }
    this.session.onEnd = () => this.session.close()
    this.session.resume()
  }

  say(messages: readonly Uint8Array[]): void {
    for (const message of messages) if (!this.session.finished) this.session.sender.message(message)
  }

  /** The next message, or undefined when there will be none. */
  async hear(): Promise<Uint8Array | undefined> {
    this.session.resume()
    for (let i = 0; i < TURNS && this.#heard.length === 0 && !this.#over; i++) await turns(1)
    return this.#heard.shift()
  }

  derive(offer: Uint8Array, answer: Uint8Array, shared: Uint8Array): PostQuantumSchedule | undefined {
    const summary = this.session.takeSummary()
    if (summary === undefined) return undefined
    this.schedule = postQuantumSchedule(summary.bytes, offer, answer, shared)
    summary.release()
    return this.schedule
  }

  /** Lets go of keys that were derived and not handed to the session. */
  end(handed: { send: boolean; receive: boolean }, keys: { send: 'keyD2l' | 'keyL2d' }): void {
    if (this.#released || this.schedule === undefined) return
    this.#released = true
    const receive = keys.send === 'keyD2l' ? 'keyL2d' : 'keyD2l'
    if (!handed.send) this.schedule[keys.send].release()
    if (!handed.receive) this.schedule[receive].release()
  }
}

/** What the honest side hears: all of it or the first `most` messages, then how it ended. */
async function heardBy(channel: PostQuantumChannel, most: number): Promise<{ messages: Uint8Array[]; code: string }> {
  const messages: Uint8Array[] = []
  for (let i = 0; i < most; i++) {
    const receiving = channel.receive()
    receiving.catch(() => {})
    if (!(await settledWithin(receiving, 2 * TURNS))) return { messages, code: 'waits' }
    try {
      messages.push(await receiving)
    } catch (error) {
      if (!(error instanceof KithError) || !(CODES as readonly string[]).includes(error.code)) throw error
      return { messages, code: error.code }
    }
  }
  return { messages, code: 'ok' }
}

async function conclude(clock: ManualClock, channel: PostQuantumChannel, peer: Peer): Promise<void> {
  const closing = channel.close()
  peer.session.destroy(null)
  await turns(3)
  if (clock.pending > 0) clock.advance(2_000)
  await closing
  await turns(2)
  assert.equal(keySlabUse().leased, 0, 'keys are left behind')
  assert.equal(clock.pending, 0, 'timers are left behind')
}

/** The messages of an unchanged step, as far as they count: everything behind them may say anything. */
function untouched(apply: Changes, index: number, message: Uint8Array): { out: Uint8Array[]; same: boolean } {
  const out = apply(index, message)
  return { out, same: out.length === 1 && equal(out[0] as Uint8Array, message) }
}

const againstListener: FuzzTarget = {
  name: 'postquantum-listener',
  seeds: [new Uint8Array(0), change(0, 0, 700, 1), change(3, 0, 20, 1), change(1, 5)],
  codes: [],
  async run(input) {
    const { apply, honest } = parseChanges(input)
    const clock = manualClock()
    const streams = await pair(clock)
    const channel = postQuantumListener(streams.listener)
    const peer = new Peer(streams.dialer)
    const kem = generateMlKem768()
    const handed = { send: false, receive: false }
    const offer = untouched(apply, 0, concat(OFFER, kem.encapsulationKey))
    const first = untouched(apply, 1, WORDS[0])
    peer.say(offer.out)
    peer.say(first.out)
    const hearing = heardBy(channel, 1)
    const answer = await peer.hear()
    let binding: Uint8Array | undefined
    if (answer !== undefined && answer.length === 1_123) {
      const shared = kem.decapsulate(answer.subarray(3, 1_091))
      // What the listener took for the offer: a held-back one comes with the message behind it.
      const taken = [...offer.out, ...first.out][0] as Uint8Array
      const schedule = shared.use((bytes) => peer.derive(taken, answer.subarray(0, 1_091), bytes))
      shared.wipe()
      if (schedule !== undefined) {
        binding = schedule.channelBinding
        peer.session.rekeyReceiving(schedule.keyL2d)
        handed.receive = true
        peer.say(untouched(apply, 3, concat(DONE, schedule.confirmationD2l)).out)
        if (!peer.session.finished) {
          peer.session.rekeySending(schedule.keyD2l)
          handed.send = true
        }
        peer.say(untouched(apply, 2, WORDS[1]).out)
      }
    }
    kem.close()
    const early = await hearing
    const late = early.code === 'ok' ? await heardBy(channel, 1) : { messages: [], code: early.code }
    const through = stepDone(channel)
    if (through) assert.deepEqual(channel.channelBinding, binding, 'the two sides hold different keys')
    if (honest) assert.deepEqual([...early.messages, ...late.messages].map(words), WORDS.map(words))
    peer.end(handed, { send: 'keyD2l' })
    await conclude(clock, channel, peer)
    return `${early.code} ${late.code} ${through}`
  },
  iterations: 900,
}

/** Whether the channel would become a pipe: the step is through on this side. It becomes one. */
function stepDone(channel: PostQuantumChannel): boolean {
  try {
    channel.toPipe()
    return true
  } catch (error) {
    if (error instanceof TypeError) return false
    throw error
  }
}

const againstDialer: FuzzTarget = {
  name: 'postquantum-dialer',
  seeds: [new Uint8Array(0), change(0, 0, 700, 1), change(0, 0, 1_100, 1), change(1, 5)],
  codes: [],
  async run(input) {
    const { apply, honest } = parseChanges(input)
    const clock = manualClock()
    const streams = await pair(clock)
    const channel = postQuantumDialer(streams.dialer)
    channel.send(WORDS[0])
    const peer = new Peer(streams.listener)
    const handed = { send: false, receive: false }
    const offer = await peer.hear()
    assert.ok(offer !== undefined && isEncapsulationKey(offer.subarray(3)))
    const { ciphertext, sharedSecret } = encapsulate(offer.subarray(3))
    const head = concat(ANSWER, ciphertext)
    const schedule = sharedSecret.use((bytes) => peer.derive(offer, head, bytes))
    sharedSecret.wipe()
    assert.ok(schedule !== undefined)
    const hearing = heardBy(channel, 2)
    const answer = untouched(apply, 0, concat(head, schedule.confirmationL2d))
    peer.say(answer.out)
    peer.session.rekeySending(schedule.keyL2d)
    handed.send = true
    peer.say(untouched(apply, 1, WORDS[0]).out)
    peer.say(untouched(apply, 2, WORDS[1]).out)
    const heard = await hearing
    const through = heard.messages.length > 0
    if (through) assert.deepEqual(channel.channelBinding, schedule.channelBinding, 'the two sides hold different keys')
    if (!answer.same && answer.out.length === 1) assert.equal(through, false, 'a changed answer was taken')
    if (honest) assert.deepEqual(heard.messages.map(words), WORDS.map(words))
    peer.end(handed, { send: 'keyL2d' })
    await conclude(clock, channel, peer)
    return `${heard.code} ${heard.messages.length}`
  },
  iterations: 900,
}

export const postQuantumTargets: readonly FuzzTarget[] = [againstListener, againstDialer]

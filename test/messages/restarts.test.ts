import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { type Random, seededRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { nextBoot } from '../../src/mesh/boot.ts'
import { RecordSequences } from '../../src/mesh/messages/sequences.ts'
import type { Session } from '../../src/mesh/messages/sessions.ts'
import { codeOf, envelopeOf, knownTo, NOW, outcome, type Station, station } from './messages-support.ts'

/** Refusals that an honest message may meet and that end by themselves. */
const PASSING: ReadonlySet<string> = new Set(['REPLAY_PENDING', 'power'])

/** A store whose power may fail at the next batch, before it or after it without an answer. */
interface FragileStore extends Store {
  fail: 'before' | 'after' | undefined
}

function fragile(inner: Store): FragileStore {
  const store: FragileStore = {
    fail: undefined,
    get: inner.get.bind(inner),
    put: inner.put.bind(inner),
    delete: inner.delete.bind(inner),
    scan: inner.scan.bind(inner),
    close: inner.close.bind(inner),
    batch: async (operations, options) => {
      const { fail } = store
      store.fail = undefined
      if (fail === 'before') throw Object.assign(new Error('power'), { code: 'power' })
      await inner.batch(operations, options)
      if (fail === 'after') throw Object.assign(new Error('power'), { code: 'power' })
    },
  }
  return store
}

/** Ann sends, Ben receives, somebody repeats what it heard; both restart whenever they like. */
class Play {
  readonly random: Random
  readonly clock: ManualClock = manualClock(NOW)
  readonly annStore: Store = createMemoryStore()
  readonly benStore: FragileStore = fragile(createMemoryStore())
  readonly heard: Uint8Array[] = []
  /** Stored messages that Ben has not answered for. */
  readonly outbox: Map<string, Uint8Array> = new Map()
  readonly stored: Set<string> = new Set()
  readonly delivered: Set<string> = new Set()
  readonly records: Set<string> = new Set()
  ann!: Station
  ben!: Station
  session!: Session
  sequences!: RecordSequences
  seq = 0
  links = 0

  constructor(seed: string) {
    this.random = seededRandom(seed)
  }

  below(limit: number): number {
    return Math.floor(this.random.unit() * limit)
  }

  async restartAnn(): Promise<void> {
    this.ann = await station('ann', { store: this.annStore, clock: this.clock })
    this.sequences = new RecordSequences(await nextBoot(this.annStore), this.random)
    if (this.ben !== undefined) this.link()
  }

  async restartBen(): Promise<void> {
    this.ben = await station('ben', { store: this.benStore, clock: this.clock })
    this.ben.limits = { ...this.ben.limits, messagesPerSecond: 1_000_000, burst: 1_000_000 }
    await knownTo(this.ben, this.ann)
    this.link()
  }

  /** A new connection: another session, numbers from 1. */
  link(): void {
    if (this.session !== undefined) this.ben.sessions.end(this.session)
    const id = new Uint8Array(16)
    new DataView(id.buffer).setUint32(0, ++this.links)
    this.session = this.ben.sessions.open({ id, did: this.ann.did, device: this.ann.device, offsetMs: 0 })
    this.seq = 0
  }

  async receive(bytes: Uint8Array): Promise<string> {
    const arrival = { carrier: { peer: this.ann.did, device: this.ann.device }, suite: 'ed25519', protocol: 'test' } as const
    const { ben } = this
    const code = await codeOf(async () => {
      const kind = bytes[1]
      if (kind === 1) {
        const message = await outcome(() => ben.verifier.live(ben.verifier.decode(bytes, 'live'), { ...arrival, session: this.session }))
        assert.ok(!this.delivered.has(toHex(message.id)), 'a live message was delivered twice')
        this.delivered.add(toHex(message.id))
      } else if (kind === 2) {
        const check = await outcome(() => ben.verifier.stored(bytes, arrival))
        try {
          const key = Uint8Array.of(0)
          const count = (await this.benStore.get('test/inbox', check.message.msgId)) ?? key
          await this.benStore.batch([
            ...check.mark,
            { type: 'put', ns: 'test/inbox', key: check.message.msgId, value: Uint8Array.of((count[0] as number) + 1) },
          ])
          check.commit()
        } catch (error) {
          check.release()
          throw error
        }
      } else {
        const record = await outcome(() => ben.verifier.record(bytes, 'test:topic', arrival))
        this.records.add(`${record.epoch} ${record.seq} ${toHex(record.id)}`)
      }
    })
    if (code === 'power') await this.restartBen()
    assert.equal(ben.conduct.reports.length, 0, 'somebody honest was reported')
    return code
  }

  async step(): Promise<void> {
    switch (this.below(10)) {
      case 0:
        return this.below(4) === 0 ? await this.restartAnn() : undefined
      case 1:
        return this.below(4) === 0 ? await this.restartBen() : undefined
      case 2:
        this.benStore.fail = this.below(2) === 0 ? 'before' : 'after'
        return
      case 3:
        this.clock.advance(this.below(20_000))
        return
      case 4:
      case 5: {
        const bytes = envelopeOf(this.ann, this.ben, 'live', { session: this.session.id, seq: ++this.seq, timeMs: this.clock.now() })
        this.heard.push(bytes)
        assert.equal(await this.receive(bytes), 'none', 'an honest live message was refused')
        return
      }
      case 6: {
        const msgId = this.random.bytes(16)
        const bytes = envelopeOf(this.ann, this.ben, 'stored', { msgId, timeMs: this.clock.now(), expiresMs: this.clock.now() + 86_400_000 })
        this.outbox.set(toHex(msgId), bytes)
        this.stored.add(toHex(msgId))
        this.heard.push(bytes)
        return
      }
      case 7: {
        await this.deliverAll()
        return
      }
      case 8: {
        const bytes = envelopeOf(this.ann, this.ben, 'record', {
          epoch: this.sequences.epoch,
          seq: this.sequences.next('test:topic'),
          timeMs: this.clock.now(),
        })
        this.heard.push(bytes)
        assert.equal(await this.receive(bytes), 'none', 'an honest record was refused')
        return
      }
      default: {
        const bytes = this.heard[this.below(this.heard.length)]
        if (bytes !== undefined) await this.receive(bytes)
      }
    }
  }

  /** Everything that was not answered for goes out again, twice at the same time. */
  async deliverAll(): Promise<void> {
    for (const [id, bytes] of [...this.outbox]) {
      const codes = await Promise.all([this.receive(bytes), this.receive(bytes)])
      for (const code of codes) assert.ok(code === 'none' || code === 'REPLAYED' || PASSING.has(code), `an honest stored message met ${code}`)
      if (codes.some((code) => code === 'none' || code === 'REPLAYED')) this.outbox.delete(id)
    }
  }
}

for (const seed of ['one', 'two', 'three', 'four']) {
  test(`messages of all classes, restarts and power cuts of both sides (${seed}), each accepted exactly once and nobody is to blame`, async () => {
    const play = new Play(`restarts ${seed}`)
    await play.restartAnn()
    await play.restartBen()
    for (let i = 0; i < 800; i++) await play.step()
    play.benStore.fail = undefined
    while (play.outbox.size > 0) await play.deliverAll()
    const inbox: string[] = []
    for await (const { key, value } of play.benStore.scan('test/inbox')) {
      assert.deepEqual(value, Uint8Array.of(1), 'a stored message was taken in twice')
      inbox.push(toHex(key))
    }
    assert.deepEqual(new Set(inbox), play.stored)
    // No pair of epoch and number came with two contents.
    const numbers = [...play.records].map((record) => record.slice(0, record.lastIndexOf(' ')))
    assert.equal(new Set(numbers).size, numbers.length)
  })
}

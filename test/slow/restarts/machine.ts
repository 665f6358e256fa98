import assert from 'node:assert/strict'
import type { ManualClock } from '../../../src/core/clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import type { Random } from '../../../src/core/random.ts'
import type { Store, WriteOptions } from '../../../src/core/store/types.ts'
import { createGossip } from '../../../src/gossip/gossip.ts'
import type { Gossip } from '../../../src/gossip/types.ts'
import { type Did, didPublicKey } from '../../../src/identity/did.ts'
import { nextBoot } from '../../../src/mesh/boot.ts'
import { Inbox } from '../../../src/mesh/mailbox/inbox.ts'
import { Outbox } from '../../../src/mesh/mailbox/outbox.ts'
import { MAILBOX_LIMITS } from '../../../src/mesh/mailbox/quotas.ts'
import { decodeEnvelope, type EnvelopeFields, signEnvelope } from '../../../src/mesh/messages/envelope.ts'
import { EquivocationIndex } from '../../../src/mesh/messages/equivocation.ts'
import { senderNamed } from '../../../src/mesh/messages/senders.ts'
import { RecordSequences } from '../../../src/mesh/messages/sequences.ts'
import type { Messages } from '../../../src/mesh/messages/types.ts'
import { verifiedRecord } from '../../../src/mesh/messages/verified.ts'
import { Disk, type Loss } from '../../../src/testing/disk.ts'
import { Scheduler } from '../../../src/testing/scheduler.ts'
import { type TestIdentity, testIdentity } from '../../mesh/fixtures.ts'
import { knownTo, outcome, type Station, station } from '../../messages/messages-support.ts'
import { FakeMesh, LIMITS } from './fake-mesh.ts'
import { numberOf } from './heard.ts'
import { type RunClock, runClock } from './run-clock.ts'

/**
 * # Two machines that restart all the time
 *
 * ```text
 * ann  <== link: live messages, mail, gossip streams ==>  ben         both sign, send, receive, crash and lose what was not durable
 *    ^                                                     ^
 *    +------------- eve: repeats what she heard -----------+
 * ```
 *
 * Real: signatures and their checks, the verifier with its sessions, windows and replay table, inbox and outbox with their batches, numbers of records, the whole of
 * gossip with its store, and a disk that forgets (`src/testing/disk.ts`). Not here: encryption of links and sealing of mail, which `test/sim/` plays with whole nodes.
 * The signature check of libsodium is a function of its bytes, so each distinct check is made once and its answer remembered for repetitions (`rememberChecks`).
 */
export const TOPIC = 'room:bulk'
/** Entries kept per topic; what is published between two comparisons of the two sides is far less. */
const KEPT_ENTRIES = 2_000

/** What a machine is while it runs. */
interface Run {
  readonly station: Station
  readonly store: Store
  readonly clock: RunClock
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly gossip: Gossip
  readonly watched: EquivocationIndex
  readonly mesh: FakeMesh
  /** Records that readers of this run were given. */
  readonly read: Set<number>
  /** Never resolves but with the end of the run. */
  readonly died: Promise<'crash'>
  readonly die: () => void
}

export class Machine {
  readonly name: string
  readonly identity: TestIdentity
  readonly disk: Disk = new Disk(new Scheduler())
  readonly #clock: ManualClock
  readonly #random: Random
  readonly #onRecord: (machine: Machine, number: number, own: boolean) => void
  #run: Run | undefined
  /** Another crash strikes at the next batch: before it is written or after. */
  trap: 'before' | 'after' | undefined
  runs = 0

  constructor(name: string, clock: ManualClock, random: Random, onRecord: (machine: Machine, number: number, own: boolean) => void) {
    this.name = name
    this.identity = testIdentity(name)
    this.#clock = clock
    this.#random = random
    this.#onRecord = onRecord
  }

  get did(): Did {
    return this.identity.chain.did
  }

  get running(): boolean {
    return this.#run !== undefined
  }

  get run(): Run {
    assert.ok(this.#run !== undefined, `${this.name} does not run`)
    return this.#run
  }

  async start(others: readonly Machine[]): Promise<void> {
    this.runs++
    this.trap = undefined
    const clock = runClock(this.#clock)
    const { promise: died, resolve } = Promise.withResolvers<'crash'>()
    let dead = false
    const die = (): void => {
      dead = true
      resolve('crash')
    }
    const store = this.#fragile(await this.disk.open())
    const boot = await nextBoot(store)
    const made = await station(this.name, { identity: this.identity, store, clock })
    made.limits = LIMITS
    for (const other of others) if (other.running) await knownTo(made, other.run.station)
    const inbox = await Inbox.open(store, MAILBOX_LIMITS)
    const outbox = await Outbox.open(store, clock, MAILBOX_LIMITS)
    const mesh = new FakeMesh()
    const yieldTurn = (): Promise<void> => new Promise((turned) => setImmediate(() => dead || turned()))
    const gossip = await createGossip({
      mesh: mesh.of(this.did),
      messages: recordsOf(made, new RecordSequences(boot, this.#random)),
      store,
      clock,
      random: this.#random,
      logger: silentLogger,
      conduct: made.conduct,
      onEquivocation: () => assert.fail('an honest machine is said to have signed two records under one number'),
      yieldTurn,
    })
    await gossip.define({ name: TOPIC, access: { kind: 'open' }, maxEntries: KEPT_ENTRIES })
    const read = new Set<number>()
    gossip.listen(TOPIC, ({ data, author }) => {
      const number = numberOf(data)
      assert.ok(!read.has(number), 'a reader was given a record twice')
      read.add(number)
      this.#onRecord(this, number, author === this.did)
    })
    await gossip.start()
    this.#run = { station: made, store, clock, inbox, outbox, gossip, watched: new EquivocationIndex(), mesh, read, died, die }
  }

  crash(): void {
    const { clock, die, station: made } = this.run
    const loss: Loss = (['nothing', 'undurable', 'some'] as const)[Math.floor(this.#random.unit() * 3)] ?? 'nothing'
    assert.equal(made.conduct.reports.length, 0, 'somebody honest was reported')
    this.#run = undefined
    clock.stop()
    die()
    made.node.device.close()
    this.disk.crash(loss, this.#random)
  }

  /** The work's outcome, or that the machine crashed in the middle of it. */
  async within<T>(work: (run: Run) => Promise<T>): Promise<T | 'crash'> {
    const { run } = this
    return await Promise.race([work(run), run.died])
  }

  #fragile(inner: Store): Store {
    const batch = async (operations: Parameters<Store['batch']>[0], options?: WriteOptions): Promise<void> => {
      const { trap } = this
      this.trap = undefined
      if (trap === 'before' && this.running) this.crash()
      await inner.batch(operations, options)
      if (trap !== 'after' || !this.running) return
      this.crash()
      await new Promise<never>(() => {})
    }
    return {
      get: (ns, key) => inner.get(ns, key),
      scan: (ns, options) => inner.scan(ns, options),
      close: () => inner.close(),
      batch,
      put: (ns, key, value, options) => batch([{ type: 'put', ns, key, value }], options),
      delete: (ns, key, options) => batch([{ type: 'delete', ns, key }], options),
    }
  }
}

/** What gossip asks of messages, made of the station's verifier. */
function recordsOf(made: Station, sequences: RecordSequences): Parameters<typeof createGossip>[0]['messages'] {
  const restoreRecord: Messages['restoreRecord'] = (bytes) => {
    const envelope = decodeEnvelope(bytes)
    const { did, device } = senderNamed(envelope)
    return verifiedRecord(envelope, did, device)
  }
  return {
    restoreRecord,
    readRecord: (bytes) => ({ ...pick(restoreRecord(bytes)) }),
    signRecord: ({ topic, type, payload }) => {
      const timeMs = made.clock.now()
      const fields = { class: 'record', topic, epoch: sequences.epoch, seq: sequences.next(topic), timeMs, type, payload } as const
      return restoreRecord(sign(made, fields))
    },
    verifyRecord: async (bytes, topic, carrier) => await outcome(() => made.verifier.record(bytes, topic, { carrier, suite: 'ed25519', protocol: 'record' })),
    fetchPapers: () => Promise.reject(new Error('nobody is asked')),
    showPapers: () => () => undefined,
  }
}

function pick(record: ReturnType<Messages['restoreRecord']>): ReturnType<Messages['readRecord']> {
  const { id, suite, from, device, timeMs, type, epoch, seq, payload, to } = record
  return { id, suite, from, device, timeMs, type, epoch, seq, payload, topic: to.kind === 'topic' ? to.topic : '' }
}

export type Unsigned = EnvelopeFields extends infer F ? (F extends unknown ? Omit<F, 'from' | 'device' | 'suite'> : never) : never

export function sign(made: Station, fields: Unsigned): Uint8Array {
  const { device } = made.node
  return signEnvelope({ suite: 'ed25519', from: didPublicKey(made.did), device: made.device, ...fields } as EnvelopeFields, {
    ed25519: device.linkSigner,
    mldsa: undefined,
  })
}

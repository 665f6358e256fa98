import assert from 'node:assert/strict'
import { toHex } from '../../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../../src/core/clock.ts'
import { type Random, seededRandom } from '../../../src/core/random.ts'
import type { Gossip } from '../../../src/gossip/types.ts'
import { encodeFrame } from '../../../src/gossip/wire.ts'
import { type Did, didPublicKey } from '../../../src/identity/did.ts'
import type { Session } from '../../../src/mesh/messages/sessions.ts'
import type { LiveMessage } from '../../../src/mesh/messages/types.ts'
import type { LinkStream } from '../../../src/transport/types.ts'
import { codeOf, knownTo, NOW, outcome, type Station, station } from '../../messages/messages-support.ts'
import { stream, Wire } from './fake-mesh.ts'
import { Heard, numberOf, payloadOf } from './heard.ts'
import { Machine, sign, TOPIC, type Unsigned } from './machine.ts'

/** Stored messages live so long: every one is delivered long before, and its mark does not stay for ever. */
const LIFE_MS = 240_000
/** Refusals that an honest message may meet and that end by themselves. */
const PASSING: ReadonlySet<string> = new Set(['REPLAY_PENDING', 'REPLAY_FULL', 'crash'])

export interface Figures {
  readonly attempts: number
  readonly live: number
  readonly stored: number
  readonly records: number
  readonly repetitions: number
  readonly restarts: number
  readonly refused: Readonly<Record<string, number>>
}

interface InFlight {
  readonly to: Machine
  readonly run: number
  readonly number: number
  readonly bytes: Uint8Array
}

/** Plays until so many messages have reached a verifier, then lets everything settle and looks at what is there. */
export class Play {
  readonly #random: Random
  readonly #clock: ManualClock = manualClock(NOW)
  readonly #ann: Machine
  readonly #ben: Machine
  readonly #heard: Heard
  readonly #eve: Station
  readonly #wanted: number
  /** By number of the message: how often handlers, inboxes and readers had it. */
  readonly #had: Uint8Array
  readonly #sessions: Map<Machine, Session> = new Map()
  readonly #sent: Map<Machine, number> = new Map()
  readonly #wires: Set<Wire> = new Set()
  /** Live messages of a link that was cut under them. */
  #inFlight: InFlight[] = []
  readonly #published: number[] = []
  readonly #stored: Set<number> = new Set()
  readonly #refused: Map<string, number> = new Map()
  #number = 0
  #attempts = 0
  #links = 0
  #live = 0
  #repetitions = 0

  private constructor(seed: string, wanted: number, eve: Station) {
    this.#random = seededRandom(seed)
    this.#wanted = wanted
    this.#had = new Uint8Array(wanted + 1_000)
    this.#heard = new Heard(this.#random)
    this.#eve = eve
    const onRecord = (_machine: Machine, number: number, own: boolean): void => {
      if (own) return
      this.#attempts++
      this.#had[number] = 1
    }
    this.#ann = new Machine('ann', this.#clock, this.#random, onRecord)
    this.#ben = new Machine('ben', this.#clock, this.#random, onRecord)
  }

  static async create(seed: string, wanted: number): Promise<Play> {
    const play = new Play(seed, wanted, await station('eve'))
    await play.#ann.start([])
    await play.#ben.start([play.#ann])
    await knownTo(play.#ann.run.station, play.#ben.run.station)
    await play.#link()
    return play
  }

  async run(): Promise<Figures> {
    while (this.#attempts < this.#wanted) {
      await this.#step()
      for (const machine of [this.#ann, this.#ben]) if (!machine.running) await this.#restart(machine)
    }
    await this.#settle()
    await this.#check()
    const { restarts } = this
    const refused = Object.fromEntries(this.#refused)
    return {
      attempts: this.#attempts,
      live: this.#live,
      stored: this.#stored.size,
      records: this.#published.length,
      repetitions: this.#repetitions,
      restarts,
      refused,
    }
  }

  get restarts(): number {
    return this.#ann.runs + this.#ben.runs - 2
  }

  #below(limit: number): number {
    return Math.floor(this.#random.unit() * limit)
  }

  #other(machine: Machine): Machine {
    return machine === this.#ann ? this.#ben : this.#ann
  }

  async #restart(machine: Machine): Promise<void> {
    const other = this.#other(machine)
    await machine.start([other])
    if (other.running) await knownTo(other.run.station, machine.run.station)
    await this.#link()
  }

  /** A new connection: another session, numbers from 1, other streams. What the old one carried is late or lost. */
  async #link(): Promise<void> {
    this.#wires.clear()
    const id = new Uint8Array(16)
    new DataView(id.buffer).setUint32(0, ++this.#links)
    for (const near of [this.#ann, this.#ben]) {
      if (!near.running) continue
      const far = this.#other(near)
      const before = this.#sessions.get(near)
      if (before !== undefined) near.run.station.sessions.end(before)
      const device = far.running ? far.run.station.device : near.run.station.device
      this.#sessions.set(near, near.run.station.sessions.open({ id, did: far.did, device, offsetMs: 0 }))
      this.#sent.set(near, 0)
    }
    if (!this.#ann.running || !this.#ben.running) return
    for (const near of [this.#ann, this.#ben]) {
      const far = this.#other(near)
      const { mesh } = near.run
      mesh.say('down', far.did, far.run.station.device)
      mesh.routes.set(far.did, () => this.#open(near, far))
      mesh.routes.set(this.#eve.did, () => stream(() => undefined))
    }
    for (const near of [this.#ann, this.#ben]) near.run.mesh.say('up', this.#other(near).did, this.#other(near).run.station.device)
    await this.#late()
  }

  #open(near: Machine, far: Machine): LinkStream {
    const outgoing = stream((bytes) => wire.chunks.push(bytes))
    const incoming = stream(() => undefined)
    const wire = new Wire(incoming)
    this.#wires.add(wire)
    far.run.mesh.accept(near.run.station, incoming)
    return outgoing
  }

  /** Lets gossip say what it has to say. */
  async #pump(): Promise<void> {
    for (let busy = true; busy; ) {
      await turn()
      await turn()
      busy = false
      for (const wire of [...this.#wires]) busy = wire.pump() || busy
    }
  }

  async #step(): Promise<void> {
    const dice = this.#random.unit()
    this.#clock.advance(this.#below(20))
    const near = this.#below(2) === 0 ? this.#ann : this.#ben
    const far = this.#other(near)
    if (dice < 0.03) await this.#sendLive(near, far)
    else if (dice < 0.045) await this.#storeMail(near, far)
    else if (dice < 0.06) await this.#publish(near)
    else if (dice < 0.075) await this.#deliverMail(near)
    else if (dice < 0.0755) await this.#link()
    else if (dice < 0.0757) near.trap = this.#below(2) === 0 ? 'before' : 'after'
    else if (dice < 0.0758) near.crash()
    else if (dice < 0.0763) await this.#read(near)
    else await this.#repeat(near)
  }

  async #sendLive(near: Machine, far: Machine): Promise<void> {
    const number = this.#number++
    const session = this.#sessions.get(near)
    const seq = (this.#sent.get(near) ?? 0) + 1
    this.#sent.set(near, seq)
    const timeMs = this.#clock.now()
    const fields = {
      class: 'live',
      to: didPublicKey(far.did),
      session: session?.id ?? new Uint8Array(16),
      seq,
      timeMs,
      type: 0x8001,
      payload: payloadOf(number),
    }
    const bytes = sign(near.run.station, fields as Unsigned)
    this.#heard.add(bytes)
    this.#live++
    // The link breaks under some of them; they come a little late, in whatever order.
    if (this.#below(200) === 0) this.#inFlight.push({ to: far, run: far.runs, number, bytes })
    else assert.equal(await this.#receive(far, near, bytes), 'none', 'an honest live message was refused')
  }

  /** What was on its way when the link ended: taken while the session is remembered, unless Eve was faster; a live message dies with the receiver's run. */
  async #late(): Promise<void> {
    const late = this.#inFlight
    this.#inFlight = []
    for (const { to, run, bytes, number } of late) {
      const code = await this.#receive(to, this.#other(to), bytes)
      if (to.runs === run) assert.equal(this.#had[number], 1, `a late live message met ${code}`)
      else assert.ok(code === 'SESSION_UNKNOWN' || code === 'crash', `a live message of an older run met ${code}`)
    }
  }

  async #storeMail(near: Machine, far: Machine): Promise<void> {
    const number = this.#number++
    const msgId = this.#random.bytes(16)
    const timeMs = this.#clock.now()
    const expiresMs = timeMs + LIFE_MS
    const payload = payloadOf(number)
    const envelope = sign(near.run.station, { class: 'stored', to: didPublicKey(far.did), msgId, timeMs, expiresMs, type: 0x8002, payload } as Unsigned)
    const message = { msgId, to: far.did, timeMs, expiresMs, type: 0x8002, bytes: payload.length, forwardSecret: true, envelope }
    // A machine that crashed in the middle promised nothing.
    if ((await near.within(({ outbox }) => outbox.add(message))) === 'crash') return
    this.#stored.add(number)
    this.#heard.add(envelope)
  }

  /** Brings everything that was not answered for, some of it twice at the same time. */
  async #deliverMail(near: Machine): Promise<void> {
    const far = this.#other(near)
    for (const cursor of near.run.outbox.unsettled(far.did)) {
      if (!near.running || !far.running) return
      const envelope = await near.within(({ outbox }) => outbox.envelope(cursor))
      if (envelope === 'crash' || envelope === undefined) return
      const twice = this.#below(4) === 0
      const codes = await Promise.all([this.#receive(far, near, envelope), ...(twice ? [this.#receive(far, near, envelope)] : [])])
      for (const code of codes) assert.ok(code === 'none' || code === 'REPLAYED' || PASSING.has(code), `an honest stored message met ${code}`)
      const answered = codes.some((code) => code === 'none' || code === 'REPLAYED')
      // Some answers are lost on their way back.
      if (!answered || this.#below(20) === 0 || !near.running) continue
      await near.within(({ outbox }) => outbox.change(cursor, { acked: [far.identity.chain.head], settled: true }))
    }
  }

  async #publish(near: Machine): Promise<void> {
    const number = this.#number++
    const entry = await near.within(({ gossip }) => gossip.publish(TOPIC, payloadOf(number)))
    if (entry !== 'crash') {
      this.#published.push(number)
      this.#heard.add(entry.record.bytes)
    }
    await this.#pump()
  }

  /** The owner reads and clears. */
  async #read(near: Machine): Promise<void> {
    const page = await near.within(({ inbox }) => inbox.list({ limit: 1_000 }))
    if (page === 'crash') return
    for (const { cursor, payload } of page.slice(0, -5)) {
      if (!near.running) return
      const number = numberOf(payload)
      // Noted only when it is gone for good: a machine that crashed in between shows it once more.
      if ((await near.within(({ inbox }) => inbox.delete(cursor))) !== 'crash') this.#had[number] = (this.#had[number] as number) + 1
      else this.#deleting.add(number)
    }
  }

  /** Deletions that a crash may have taken back or not. */
  readonly #deleting: Set<number> = new Set()

  /** Eve says again what she heard, to whom it was for or to somebody else. */
  async #repeat(near: Machine): Promise<void> {
    const bytes = this.#heard.any()
    if (bytes === undefined) return
    this.#repetitions++
    const code = await this.#receive(near, undefined, bytes)
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1)
  }

  async #receive(to: Machine, from: Machine | undefined, bytes: Uint8Array): Promise<string> {
    if (!to.running) return 'crash'
    this.#attempts++
    const { run } = to
    const device = from?.running === true ? from.run.station.device : this.#eve.device
    const arrival = { carrier: { peer: from?.did ?? this.#eve.did, device }, suite: 'ed25519', protocol: 'bulk' } as const
    const code = await to.within(() =>
      codeOf(async () => {
        if (bytes[1] === 1) this.#takeLive(to, bytes, arrival)
        else if (bytes[1] === 2) await this.#takeStored(to, bytes, arrival)
        else this.#pushRecord(to, bytes)
      }),
    )
    assert.equal(run.station.conduct.reports.length, 0, 'somebody honest was reported')
    return code
  }

  #takeLive(to: Machine, bytes: Uint8Array, arrival: { carrier: { peer: Did; device: Station['device'] }; suite: 'ed25519'; protocol: string }): void {
    const { station: made, watched } = to.run
    const session = this.#sessions.get(to) as Session
    try {
      const message = made.verifier.live(made.verifier.decode(bytes, 'live'), { ...arrival, session }) as LiveMessage
      const number = numberOf(message.payload)
      assert.equal(this.#had[number], 0, 'a live message was delivered twice')
      this.#had[number] = 1
    } finally {
      for (const seen of made.watched.splice(0))
        assert.equal(watched.observe(seen), undefined, 'an honest machine is said to have signed two messages under one number')
    }
  }

  async #takeStored(to: Machine, bytes: Uint8Array, arrival: Parameters<Station['verifier']['stored']>[1]): Promise<void> {
    const { station: made, inbox, store, clock } = to.run
    const check = await outcome(() => made.verifier.stored(bytes, arrival))
    try {
      // As the intake of mail does it: one batch for the rows of the inbox and the mark.
      inbox.admit(check.message.from, 'federated', check.message.payload.length)
      const write = inbox.prepare(check.message, { account: check.message.from, receivedMs: clock.now(), via: undefined })
      await store.batch([...write.operations, ...check.mark], { durable: true })
      check.commit()
      write.commit()
    } finally {
      check.release()
    }
  }

  /** Over a link of Eve's own. */
  #pushRecord(to: Machine, bytes: Uint8Array): void {
    const incoming = stream(() => undefined)
    to.run.mesh.accept(this.#eve, incoming)
    const frame = encodeFrame({ kind: 'push', envelope: bytes })
    incoming.onData(Buffer.from(frame), 0, frame.length)
  }

  /** Nothing fails any more: what is left arrives. */
  async #settle(): Promise<void> {
    for (const machine of [this.#ann, this.#ben]) {
      machine.trap = undefined
      if (!machine.running) await this.#restart(machine)
    }
    for (const near of [this.#ann, this.#ben]) {
      while (near.run.outbox.unsettled(this.#other(near).did).length > 0) await this.#deliverMail(near)
    }
    await this.#link()
    for (let seconds = 0; seconds < 120; seconds++) {
      await this.#pump()
      this.#clock.advance(1_000)
    }
    await this.#pump()
  }

  async #check(): Promise<void> {
    for (const machine of [this.#ann, this.#ben]) {
      const rows = await machine.run.inbox.list({ limit: 1_000 })
      for (let page = rows; page.length > 0; page = await machine.run.inbox.list({ limit: 1_000, after: page.at(-1)?.cursor ?? 0 })) {
        for (const { payload } of page) this.#had[numberOf(payload)] = (this.#had[numberOf(payload)] as number) + 1
      }
    }
    for (const number of this.#stored) {
      const times = this.#had[number] as number
      if (times === 0 && this.#deleting.has(number)) continue
      assert.equal(times, 1, `a stored message was taken in ${times} times`)
    }
    for (const number of this.#published) assert.equal(this.#had[number], 1, 'a record never reached the other side')
    const kept = await Promise.all([this.#ann, this.#ben].map(async ({ run }) => await this.#ids(run.gossip)))
    assert.deepEqual(kept[0], kept[1], 'the two keep different records')
  }

  async #ids(gossip: Gossip): Promise<readonly string[]> {
    const ids: string[] = []
    for (let after: Uint8Array | undefined; ; ) {
      const page = await gossip.entries(TOPIC, { limit: 1_000, ...(after === undefined ? {} : { after }) })
      ids.push(...page.map(({ id }) => toHex(id)))
      after = page.at(-1)?.id
      if (page.length < 1_000 || after === undefined) return ids
    }
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

import type { RemoteInfo } from 'node:dgram'
import type { DnsRecord, Question } from 'dns-packet'
import type { Clock, Timer } from '../../core/clock.ts'
import type { Random } from '../../core/random.ts'
import { TokenBucket } from '../admission-rate.ts'
import { type OwnRecords, parseService } from './records.ts'
import type { Port } from './sockets.ts'
import { encodeLegacyResponse, encodeQuery, encodeResponse, type Message, sameName } from './wire.ts'

/** Three probes, 250 ms apart; two announcements, a second apart (RFC 6762, 8). */
const PROBES = 3
const PROBE_MS = 250
const ANNOUNCEMENTS = 2
const ANNOUNCE_MS = 1_000
/** A record is multicast at most once a second on an interface; answers wait 20 to 120 ms for each other (RFC 6762, 6). */
const ANSWER_SPACING_MS = 1_000
const ANSWER_MIN_MS = 20
const ANSWER_SPREAD_MS = 100
/** After so many conflicts the next name is tried only every five seconds (RFC 6762, 8.1). */
const QUICK_CONFLICTS = 15
const SLOW_CONFLICT_MS = 5_000
const LEGACY_PER_SECOND = 20

type Kind = 'types' | 'ptr' | 'srv' | 'txt' | 'addresses'
const KINDS: readonly Kind[] = ['ptr', 'srv', 'txt', 'addresses']

interface PortState {
  readonly port: Port
  readonly pending: Set<Kind>
  timer: Timer | undefined
  lastAnswer: number
}

export interface ResponderParts {
  readonly clock: Clock
  readonly random: Random
  readonly multicastPort: number
  /** Own records on an interface under the label with this suffix; `undefined` when there is nothing to announce there. */
  readonly records: (port: Port, suffix: string) => OwnRecords | undefined
  readonly ports: () => readonly Port[]
}

/** Announces, answers and defends the node's own records. */
export class Responder {
  readonly #parts: ResponderParts
  readonly #states: WeakMap<Port, PortState> = new WeakMap()
  readonly #legacy: TokenBucket
  #conflicts = 0
  #suffix = ''
  /** Steps done since the last (re)start: probes, then announcements. */
  #step = 0
  #timer: Timer | undefined
  #stopped = true

  constructor(parts: ResponderParts) {
    this.#parts = parts
    this.#legacy = new TokenBucket(parts.clock, LEGACY_PER_SECOND, LEGACY_PER_SECOND)
  }

  /** Probes for the current name and announces it. Again whenever records change or an interface comes. */
  restart(): void {
    this.#stopped = false
    this.#step = 0
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.after(this.#parts.random.unit() * PROBE_MS, () => this.#next())
  }

  /** Withdraws what was announced (time to live 0). */
  goodbye(where: (port: Port) => boolean = () => true): void {
    if (!this.#announced) return
    for (const port of this.#parts.ports().filter(where)) {
      const records = this.#records(port)
      if (records === undefined) continue
      const gone = [records.ptr, records.srv, records.txt, ...records.addresses].map((record) => ({ ...record, ttl: 0 }))
      port.send(encodeResponse(gone, []))
    }
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    for (const port of this.#parts.ports()) this.#states.get(port)?.timer?.cancel()
  }

  /** Whether a name is the node's own. */
  owns(instance: string): boolean {
    return this.#parts.ports().some((port) => {
      const records = this.#records(port)
      return records !== undefined && sameName(records.instance, instance)
    })
  }

  onQuery(message: Message, from: RemoteInfo, port: Port): void {
    const records = this.#announced ? this.#records(port) : undefined
    if (records === undefined) return
    const kinds = new Set(message.questions.flatMap((question) => answered(question, records)))
    if (message.answers.some((known) => isKnown(known, records.ptr))) kinds.delete('ptr')
    if (kinds.size === 0) return
    if (from.port !== this.#parts.multicastPort) {
      if (this.#legacy.take()) port.answer(encodeLegacyResponse(message, ...answer(kinds, records)), from)
      return
    }
    const state = this.#state(port)
    for (const kind of kinds) state.pending.add(kind)
    if (state.timer !== undefined) return
    const wait = ANSWER_MIN_MS + this.#parts.random.unit() * ANSWER_SPREAD_MS
    const spaced = state.lastAnswer + ANSWER_SPACING_MS - this.#parts.clock.monotonic()
    state.timer = this.#parts.clock.after(Math.max(wait, spaced), () => this.#answer(state))
  }

  /** Somebody else's records under our name: take another name. */
  onResponse(message: Message, port: Port): void {
    const own = this.#stopped ? undefined : this.#records(port)
    if (own === undefined) return
    const mine = parseService(own.srv.data)
    for (const record of message.answers) {
      if (record.type !== 'SRV' || (record.ttl ?? 0) === 0 || !sameName(record.name, own.instance)) continue
      const theirs = parseService(record.data)
      if (theirs === undefined || (theirs.port === mine?.port && sameName(theirs.target, mine.target))) continue
      this.#rename()
      return
    }
  }

  get #announced(): boolean {
    return !this.#stopped && this.#step > PROBES
  }

  #records(port: Port): OwnRecords | undefined {
    return this.#parts.records(port, this.#suffix)
  }

  #next(): void {
    this.#step++
    for (const port of this.#parts.ports()) {
      const records = this.#records(port)
      if (records !== undefined) port.send(this.#step <= PROBES ? probe(records) : announcement(records))
    }
    if (this.#step >= PROBES + ANNOUNCEMENTS) return
    this.#timer = this.#parts.clock.after(this.#step <= PROBES ? PROBE_MS : ANNOUNCE_MS, () => this.#next())
  }

  #rename(): void {
    this.#conflicts++
    this.#suffix = `-${this.#conflicts + 1}`
    this.#step = 0
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.after(this.#conflicts > QUICK_CONFLICTS ? SLOW_CONFLICT_MS : PROBE_MS, () => this.#next())
  }

  #state(port: Port): PortState {
    const state = this.#states.get(port) ?? { port, pending: new Set<Kind>(), timer: undefined, lastAnswer: Number.NEGATIVE_INFINITY }
    this.#states.set(port, state)
    return state
  }

  #answer(state: PortState): void {
    state.timer = undefined
    const records = this.#announced ? this.#records(state.port) : undefined
    if (records !== undefined) {
      state.port.send(encodeResponse(...answer(state.pending, records)))
      state.lastAnswer = this.#parts.clock.monotonic()
    }
    state.pending.clear()
  }
}

function probe(records: OwnRecords): Buffer {
  const questions = [
    { name: records.instance, type: 'ANY' },
    { name: records.host, type: 'ANY' },
  ]
  const claimed = [records.srv, records.txt, ...records.addresses].map((record) => ({ ...record, flush: false }))
  return encodeQuery(questions, [], claimed)
}

function announcement(records: OwnRecords): Buffer {
  return encodeResponse([records.ptr, records.srv, records.txt, ...records.addresses], [])
}

function answered(question: Question, records: OwnRecords): Kind[] {
  const any = question.type === 'ANY'
  const kinds: Kind[] = []
  if ((any || question.type === 'PTR') && sameName(question.name, records.ptr.name)) kinds.push('ptr')
  if ((any || question.type === 'PTR') && sameName(question.name, records.types.name)) kinds.push('types')
  if (sameName(question.name, records.instance)) {
    if (any || question.type === 'SRV') kinds.push('srv')
    if (any || question.type === 'TXT') kinds.push('txt')
  }
  if ((any || question.type === 'A' || question.type === 'AAAA') && sameName(question.name, records.host)) kinds.push('addresses')
  return kinds
}

/** Answers, and what the asker will want next. */
function answer(kinds: ReadonlySet<Kind>, records: OwnRecords): [answers: DnsRecord[], additionals: DnsRecord[]] {
  const of = (kind: Kind): readonly DnsRecord[] => (kind === 'addresses' ? records.addresses : [records[kind]])
  const further = kinds.has('ptr') || kinds.has('srv') ? KINDS.filter((kind) => kind !== 'ptr' && !kinds.has(kind)) : []
  return [[...kinds].flatMap(of), further.flatMap(of)]
}

/** The asker has the record for at least half its life (RFC 6762, 7.1). */
function isKnown(known: DnsRecord, own: DnsRecord): boolean {
  return (
    known.type === own.type &&
    sameName(known.name, own.name) &&
    typeof known.data === 'string' &&
    sameName(known.data, String(own.data)) &&
    (known.ttl ?? 0) * 2 >= (own.ttl ?? 0)
  )
}

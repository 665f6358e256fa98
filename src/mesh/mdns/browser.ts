import type { DnsRecord, Question } from 'dns-packet'
import type { Clock, Timer } from '../../core/clock.ts'
import { announcedAddresses } from '../addresses.ts'
import type { FoundPeer } from '../discovery.ts'
import { parseIp } from '../ip.ts'
import { describe, parseService, parseText, type Service } from './records.ts'
import type { Port } from './sockets.ts'
import { encodeQuery, type Message, sameName } from './wire.ts'

/** The table never holds more peers, nor more of one source address. */
const MAX_PEERS = 1_000
const MAX_PEERS_PER_SOURCE = 32
const MAX_ADDRESSES = 8
/** How often what is missing of a peer is asked for, at growing intervals. */
const MAX_ASKS = 5
const MAX_LIFE_S = 4_500
/** A record is asked for again when this part of its life is over (RFC 6762, 5.2). */
const REFRESH_AT = 0.8
const TICK_MS = 5_000
const QUESTIONS_PER_TICK = 16
/** Time between questions for everyone: doubling from a second to five minutes. */
const FIRST_QUERY_MS = 1_000
const SLOWEST_QUERY_MS = 300_000

interface Entry {
  readonly instance: string
  readonly source: string
  service: Service | undefined
  text: ReadonlyMap<string, string> | undefined
  addresses: readonly string[]
  /** Monotonic times in ms. */
  refreshAt: number
  expiresAt: number
  asked: boolean
  asks: number
  askAt: number
  told: FoundPeer | undefined
}

export interface BrowserParts {
  readonly service: string
  readonly clock: Clock
  readonly ports: () => readonly Port[]
  readonly owns: (instance: string) => boolean
  readonly recognise: (id: string) => FoundPeer['did']
  readonly onPeer: (found: FoundPeer) => void
}

/** Asks who is there, and keeps the table of those who answered until they leave. */
export class Browser {
  readonly #parts: BrowserParts
  readonly #entries: Map<string, Entry> = new Map()
  readonly #perSource: Map<string, number> = new Map()
  #interval = FIRST_QUERY_MS
  #query: Timer | undefined
  #tick: Timer | undefined

  constructor(parts: BrowserParts) {
    this.#parts = parts
  }

  get size(): number {
    return this.#entries.size
  }

  /** Asks now, and again at growing intervals. */
  start(): void {
    this.stop()
    this.#interval = FIRST_QUERY_MS
    this.#ask()
    this.#tick = this.#parts.clock.after(TICK_MS, () => this.#maintain())
  }

  stop(): void {
    this.#query?.cancel()
    this.#tick?.cancel()
  }

  onResponse(message: Message, source: string): void {
    const records = [...message.answers, ...message.additionals]
    const touched = new Set<Entry>()
    for (const record of records) if (record.type === 'PTR') this.#pointer(record, source, touched)
    for (const record of records) if (record.type === 'SRV' || record.type === 'TXT') this.#detail(record, source, touched)
    for (const entry of this.#entries.values()) if (lacksAddresses(entry) && records.some((record) => isAddressOf(record, entry))) touched.add(entry)
    for (const entry of touched) {
      const target = entry.service?.target
      const found = target === undefined ? [] : records.filter((record) => isAddressOf(record, entry))
      const addresses = found.map(({ data }) => data).filter((data): data is string => typeof data === 'string' && parseIp(data) !== undefined)
      if (addresses.length > 0) entry.addresses = addresses.slice(0, MAX_ADDRESSES)
      else if (lacksAddresses(entry)) entry.addresses = this.#addressesOf(entry)
      this.#tell(entry, source)
    }
  }

  #pointer(record: DnsRecord, source: string, touched: Set<Entry>): void {
    if (!sameName(record.name, this.#parts.service) || typeof record.data !== 'string') return
    if ((record.ttl ?? 0) === 0) {
      this.#gone(record.data)
      return
    }
    const entry = this.#entry(record.data, source)
    if (entry === undefined) return
    touched.add(entry)
    if (entry.service === undefined) this.#live(entry, record.ttl ?? 0)
  }

  #detail(record: DnsRecord, source: string, touched: Set<Entry>): void {
    if ((record.ttl ?? 0) === 0) {
      this.#gone(record.name)
      return
    }
    const entry = this.#entry(record.name, source)
    if (entry === undefined) return
    touched.add(entry)
    if (record.type === 'TXT') {
      entry.text = parseText(record.data) ?? entry.text
      return
    }
    entry.service = parseService(record.data) ?? entry.service
    this.#live(entry, record.ttl ?? 0)
  }

  /** The entry of an instance of our service, made when there is room; never our own. */
  #entry(instance: string, source: string): Entry | undefined {
    const key = instance.toLowerCase()
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    if (!key.endsWith(`.${this.#parts.service}`) || instance.length > 255 || this.#parts.owns(instance)) return undefined
    const count = this.#perSource.get(source) ?? 0
    if (count >= MAX_PEERS_PER_SOURCE || this.#entries.size >= MAX_PEERS) return undefined
    const entry: Entry = {
      instance,
      source,
      service: undefined,
      text: undefined,
      addresses: [],
      refreshAt: 0,
      expiresAt: 0,
      asked: false,
      asks: 0,
      askAt: 0,
      told: undefined,
    }
    this.#live(entry, 0)
    this.#entries.set(key, entry)
    this.#perSource.set(source, count + 1)
    return entry
  }

  #live(entry: Entry, ttl: number): void {
    const life = Math.min(Math.max(ttl, 1), MAX_LIFE_S) * 1_000
    const now = this.#parts.clock.monotonic()
    entry.refreshAt = now + life * REFRESH_AT
    entry.expiresAt = now + life
    entry.asked = false
  }

  #tell(entry: Entry, source: string): void {
    if (entry.service === undefined || entry.text === undefined) return
    const described = describe(entry.text, entry.service, entry.addresses, this.#parts.recognise)
    const urls = announcedAddresses(described?.urls ?? [], source)
    if (described === undefined || urls.length === 0) return
    const found = { ...described, urls }
    if (same(found, entry.told)) return
    // The old description is withdrawn first when it named somebody else.
    if (entry.told !== undefined && entry.told.did !== found.did) this.#parts.onPeer({ ...entry.told, gone: true })
    entry.told = found
    this.#parts.onPeer(found)
  }

  #gone(instance: string): void {
    const key = instance.toLowerCase()
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    const count = (this.#perSource.get(entry.source) ?? 1) - 1
    if (count === 0) this.#perSource.delete(entry.source)
    else this.#perSource.set(entry.source, count)
    if (entry.told !== undefined) this.#parts.onPeer({ ...entry.told, gone: true })
  }

  #ask(): void {
    const now = this.#parts.clock.monotonic()
    const known = [...this.#entries.values()].filter(({ expiresAt }) => expiresAt > now).slice(0, QUESTIONS_PER_TICK)
    const answers = known.map(
      ({ instance, expiresAt }): DnsRecord => ({ name: this.#parts.service, type: 'PTR', ttl: Math.ceil((expiresAt - now) / 1_000), data: instance }),
    )
    this.#send([{ name: this.#parts.service, type: 'PTR' }], answers)
    this.#query = this.#parts.clock.after(this.#interval, () => this.#ask())
    this.#interval = Math.min(this.#interval * 2, SLOWEST_QUERY_MS)
  }

  /** Forgets who is over and asks again for those who soon will be, or whose records are not complete. */
  #maintain(): void {
    const now = this.#parts.clock.monotonic()
    const questions: Question[] = []
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt <= now) this.#gone(key)
      else if (questions.length < QUESTIONS_PER_TICK && this.#wants(entry, now)) {
        entry.asked = true
        if (entry.told === undefined) entry.askAt = now + FIRST_QUERY_MS * 2 ** ++entry.asks
        questions.push({ name: entry.instance, type: 'SRV' }, { name: entry.instance, type: 'TXT' })
        if (lacksAddresses(entry)) questions.push({ name: entry.service?.target ?? entry.instance, type: 'A' })
      }
    }
    if (questions.length > 0) this.#send(questions, [])
    this.#tick = this.#parts.clock.after(TICK_MS, () => this.#maintain())
  }

  /** What is about to run out, and what is not complete: a host leaves out what it has just said on the same network. */
  #wants({ asked, refreshAt, told, asks, askAt }: Entry, now: number): boolean {
    return told === undefined ? asks < MAX_ASKS && askAt <= now : !asked && refreshAt <= now
  }

  /** A host says its addresses once for all its services. */
  #addressesOf({ service, source }: Entry): readonly string[] {
    for (const other of this.#entries.values())
      if (
        other.source === source &&
        other.addresses.length > 0 &&
        service !== undefined &&
        other.service !== undefined &&
        sameName(other.service.target, service.target)
      )
        return other.addresses
    return []
  }

  #send(questions: readonly Question[], known: readonly DnsRecord[]): void {
    const packet = encodeQuery(questions, known)
    for (const port of this.#parts.ports()) port.send(packet)
  }
}

function lacksAddresses({ service, addresses }: Entry): boolean {
  return service !== undefined && addresses.length === 0
}

function isAddressOf(record: DnsRecord, { service }: Entry): boolean {
  return (record.type === 'A' || record.type === 'AAAA') && (record.ttl ?? 0) > 0 && service !== undefined && sameName(record.name, service.target)
}

function same(a: FoundPeer, b: FoundPeer | undefined): boolean {
  const key = (found: FoundPeer): string => JSON.stringify([found.did, found.name, found.urls, found.linkKey === undefined ? '' : [...found.linkKey]])
  return b !== undefined && key(a) === key(b)
}
